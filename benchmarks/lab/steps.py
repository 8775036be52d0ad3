"""What is done on one board: copy, info, build, verify, profile; each once, also over several runs.

The folder of a board keeps what it answered and ``state.json``, which names the steps that are done. A later
run goes on after the last of them, as long as bundle, plan and place are the same.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime import strict_json
from ...runtime.errors import ReportError
from ...runtime.files import replacing
from ..report.read import number, read_json, read_report
from .plan import Board, LabPlan
from .ssh import Answer, BoardError, Ssh, last_line

STATE = "state.json"
PROFILE = "profile.json"
MAX_STATE_BYTES = 1 << 20
SHORT_S = 60.0
"""The most that a command may take which only looks."""

Say = Callable[[str], None]


@dataclass
class BoardRun:
    """One board with its folder here; :meth:`run` does what is left to do."""

    board: Board
    plan: LabPlan
    sha256: str
    """Of the bundle."""
    folder: Path
    say: Say

    @property
    def key(self) -> str:
        """Tells one job from another: the bundle, and what the plan says of this board."""
        board = self.board
        asked = [board.name, str(board.place), dict(board.tags), board.python, board.folder, board.build]
        return strict_json.digest([self.sha256, asked, dict(self.plan.profile)])

    def finished(self) -> bool:
        """Whether an earlier run did all steps, and what it measured can be read."""
        state = self.state()
        if not set(STEPS) <= set(state["done"]):
            return False
        try:
            read_report(self.folder / PROFILE)
        except ReportError:
            return False
        return True

    def state(self) -> dict[str, Any]:
        """Return what ``state.json`` says of this job; nothing is done where it says nothing of it."""
        nothing: dict[str, Any] = {"key": self.key, "place": None, "done": {}}
        try:
            state = read_json(self.folder / STATE, MAX_STATE_BYTES)
        except ReportError:  # none yet, or damaged
            return nothing
        done = state.get("done")
        sound = (
            isinstance(done, dict)
            and all(isinstance(step, dict) and isinstance(step.get("note"), str) for step in done.values())
            and all(number(step.get("seconds")) is not None for step in done.values())
            and isinstance(state.get("place"), str)
        )
        return state if sound and state.get("key") == self.key else nothing

    def run(self, ssh: Ssh) -> dict[str, Any]:
        """Do the steps that are left, and return the state.

        Raises:
            BoardError: one failed; those before it stay done.
            OutputError: the folder cannot be written.
        """
        state = self.state()
        if state["place"] != str(ssh.place):  # another board: it has none of what is done
            state = {"key": self.key, "place": str(ssh.place), "done": {}}
        for name, step in STEPS.items():
            if name in state["done"] and not (name == "profile" and not self.finished()):
                continue
            self.say(name)
            began = time.monotonic()
            try:
                note = step(self, ssh)
            except BoardError as error:
                raise BoardError(f"{name}: {error}") from error
            state["done"][name] = {"seconds": round(time.monotonic() - began, 1), "note": note}
            self._write(STATE, json.dumps(state, indent=2))
        return state

    @property
    def there(self) -> str:
        """The folder on the board, quoted; bundles do not get into each other's way."""
        return shlex.quote(f"{self.board.folder}/{self.sha256[:16]}")

    def command(self, ssh: Ssh, *words: str, codes: tuple[int, ...] = (0,)) -> Answer:
        """Run a command of the bundle on the board, log its messages here, and return its answer.

        Raises:
            BoardError: it exits with another code than ``codes``.
        """
        line = shlex.join([self.board.python, "model.bundle", *words])
        answer = ssh.run(f"cd {self.there} && exec {line}", seconds=self.plan.minutes * 60)
        self._write(f"{words[0]}.log", answer.messages)
        if answer.code not in codes:
            reason = last_line(answer.messages) or f"exit code {answer.code}"
            raise BoardError(f"{line}: {reason}")
        return answer

    def keep(self, name: str, answer: Answer) -> dict[str, Any]:
        """Write an answer in JSON into the board's folder, and return it.

        Raises:
            BoardError: it is none.
        """
        self._write(name, answer.output.decode("utf-8", "replace"))
        try:
            return (
                read_report(self.folder / name) if name == PROFILE else read_json(self.folder / name, 1 << 26)
            )
        except ReportError as error:
            raise BoardError(f"the board's answer: {error}") from error

    def _write(self, name: str, text: str) -> None:
        with replacing(self.folder / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def _copy(run: BoardRun, ssh: Ssh) -> str:
    there, bundle = run.there, f"{run.there}/model.bundle"
    look = f"sha256sum {bundle} 2>/dev/null"
    if ssh.run(f"{look} || true", seconds=SHORT_S).output.count(run.sha256.encode()):
        return "was there"
    send = f"mkdir -p {there} && cat > {there}/.partial && mv {there}/.partial {bundle} && sha256sum {bundle}"
    answer = ssh.run(send, seconds=run.plan.minutes * 60, stdin=run.plan.bundle)
    if answer.code or not answer.output.count(run.sha256.encode()):
        raise BoardError(last_line(answer.messages) or "the copy has another SHA-256 than the bundle")
    return ""


def _info(run: BoardRun, ssh: Ssh) -> str:
    facts = run.keep("info.json", run.command(ssh, "info", "--json"))
    if not isinstance(facts.get("missing_for_build"), list):
        raise BoardError("the board's answer: missing_for_build: expected a list")
    return ""


def _build(run: BoardRun, ssh: Ssh) -> str:
    if run.board.build == "never":
        return "no engine was built: the plan says never"
    missing = read_json(run.folder / "info.json", 1 << 26).get("missing_for_build")
    if missing:
        reason = "; ".join(map(str, missing))
        if run.board.build == "required":
            raise BoardError(f"TensorRT engines cannot be built: {reason}")
        return f"no engine was built: {reason}"
    run.keep("build.json", run.command(ssh, "build", "--json", "--overwrite"))
    return ""


def _verify(run: BoardRun, ssh: Ssh) -> str:
    answer = run.command(ssh, "verify", "--json", codes=(0, 1))
    rows = run.keep("verify.json", answer).get("artifacts")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BoardError("the board's answer: artifacts: expected a list")
    wrong = [f"{row.get('path')}: {row.get('reason')}" for row in rows if row.get("state") != "verified"]
    if wrong or answer.code:  # what is over budget is not worth its time
        raise BoardError("; ".join(wrong) or "a check failed")
    return ""


def _profile(run: BoardRun, ssh: Ssh) -> str:
    options = [f"--{name}={value}" for name, value in run.plan.profile.items()]
    words = ("profile", "--json", "--overwrite", "--out", PROFILE, *options)
    run.keep(PROFILE, run.command(ssh, *words))
    return ""


STEPS: dict[str, Callable[[BoardRun, Ssh], str]] = {
    "copy": _copy,
    "info": _info,
    "build": _build,
    "verify": _verify,
    "profile": _profile,
}
"""In this order. Each returns a note, or nothing to say."""
