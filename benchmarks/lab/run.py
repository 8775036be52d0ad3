"""All boards of a plan at once; what one of them does, or does not, stops no other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...runtime.device.bundle import check_bundle
from ...runtime.device.entry import sha256_of
from ...runtime.errors import FdikpEdgeError
from ...runtime.files import making_folder, output_error, replacing
from ...runtime.progress import Progress
from ..report.merge import merge, write_merged
from . import places
from .plan import Board, LabPlan, read_plan
from .ssh import Ssh
from .steps import PROFILE, STATE, STEPS, BoardRun

SUMMARY = "lab.json"
MERGED = "merged"
BOARDS = "boards"
DONE, FAILED = "done", "failed"


def run_lab(
    file: Path,
    out: Path,
    *,
    ssh_config: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a bundle on every board of a plan, and merge what they measured.

    A later call with the same folder goes on: boards that are done are not asked again, the others continue
    after their last step. The bundle is code that runs on the boards, and their answers are data here.

    Args:
        file: ``lab.yaml``, see :mod:`.plan`.
        out: folder for the results; made if missing.
        ssh_config: a configuration of SSH to use instead of the user's own.
        overwrite: forget what earlier calls did.
        progress: called with (boards that ended, boards, message), one call at a time.

    Returns:
        What is also in ``lab.json``: ``bundle``, ``bundle_sha256``, ``boards`` (``name``, ``state`` done or
        failed, ``place``, ``reason``, ``steps`` with seconds and notes), ``merged`` (the folder of the merged
        report, ``None`` where fewer than two boards are done), and ``notes``.

    Raises:
        BadInputError: the plan cannot be used.
        BundleError: nor can the bundle.
        OutputError: the folder cannot be written.
        TargetUnavailableError: PyYAML is not installed.
    """
    plan = read_plan(file)
    check_bundle(plan.bundle)
    sha256 = sha256_of(plan.bundle)
    job = _Job(plan, sha256, out, ssh_config, progress)
    with making_folder(out):
        if overwrite:
            _forget(plan, out)
        rows = job.run()
        summary = {
            "bundle": plan.bundle.name,
            "bundle_sha256": sha256,
            "boards": rows,
            **_merged(rows, out),
        }
        with replacing(out / SUMMARY) as temporary:
            text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return summary


class _Job:
    """The boards of one call."""

    def __init__(
        self, plan: LabPlan, sha256: str, out: Path, ssh_config: Path | None, progress: Progress | None
    ) -> None:
        self.plan, self.sha256, self.out, self.ssh_config = plan, sha256, out, ssh_config
        self.progress = progress
        self.ended = 0
        self.lock = threading.Lock()
        self.connections: list[Ssh] = []
        self.stopped = False

    def run(self) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(self.plan.boards)) as pool:
            try:
                return list(pool.map(self.one, self.plan.boards))
            except BaseException:  # Ctrl-C: the threads end with their connections, and give places back
                with self.lock:
                    self.stopped = True
                    for ssh in self.connections:
                        ssh.stop()
                raise

    def one(self, board: Board) -> dict[str, Any]:
        """Run one board and return its row of the summary; what fails there is in the row."""
        folder = self.out / BOARDS / board.name
        run = BoardRun(board, self.plan, self.sha256, folder, lambda text: self.say(f"{board.name}: {text}"))
        state, row = run.state(), {"name": board.name, "state": DONE, "reason": ""}
        try:
            if not run.finished():
                with making_folder(folder), self.connected(board) as ssh:
                    state = run.run(ssh)
        except FdikpEdgeError as error:
            row |= {"state": FAILED, "reason": str(error)}
            state = run.state()
        with self.lock:
            self.ended += 1
        self.say(f"{board.name}: {row['state']}")
        return {
            **row,
            "place": state["place"],
            "steps": {n: state["done"][n] for n in STEPS if n in state["done"]},
        }

    @contextlib.contextmanager
    def connected(self, board: Board) -> Iterator[Ssh]:
        """Yield a connection to a board: to its place, or to one that labgrid has with its tags."""
        with contextlib.ExitStack() as stack:
            place = board.place
            if place is None:
                self.say(f"{board.name}: waiting for a place")
                wait_s = self.plan.wait_minutes * 60
                place = stack.enter_context(
                    places.acquired(
                        str(self.plan.coordinator), board.tags, wait_s=wait_s, stopped=lambda: self.stopped
                    )
                )
            ssh = Ssh(place, self.ssh_config)
            with self.lock:
                self.connections.append(ssh)
                if self.stopped:
                    ssh.stop()
            yield ssh

    def say(self, text: str) -> None:
        with self.lock:
            if self.progress is not None:
                self.progress(self.ended, len(self.plan.boards), text)


def _merged(rows: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Merge the reports of the boards that are done; those that failed are named in the report's notes."""
    done = [row["name"] for row in rows if row["state"] == DONE]
    failed = [f"{row['name']}: not in this report: {row['reason']}" for row in rows if row["state"] == FAILED]
    if len(done) < 2:
        return {"merged": None, "notes": ["fewer than two boards are done, so there is nothing to merge"]}
    joined = merge([out / BOARDS / name / PROFILE for name in done], done)
    joined.report["notes"] = [*failed, *joined.report["notes"]]
    notes = write_merged(joined, out / MERGED, overwrite=True)
    return {"merged": str(out / MERGED), "notes": notes}


def _forget(plan: LabPlan, out: Path) -> None:
    """Remove what says that a board is done; nothing else."""
    for board in plan.boards:
        file = out / BOARDS / board.name / STATE
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(file, error) from error
