"""The score of the lowering over PyTorch's own operator samples.

``python -m fdikp_edge.benchmarks.studies.operators`` takes the samples that ship in the torch wheel
through :func:`fdikp_edge.export.lower` and holds each lowered program against PyTorch eager in float64
(:mod:`.judge`). The exit status is 1 when any sample is wrong or crashes.

``--record FILE`` keeps each verdict as a line of JSON: a run that was ended goes on there, and several runs
with ``--shard`` can share one file.

Needs ``expecttest``, which torch's testing package imports (in the ``dev`` extra).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from ...runtime.errors import BadInputError
from .judge import GROUPS, PROFILES, Judgement, Verdict, judge_all, operator_names, samples


def score(judgements: Iterable[Judgement]) -> dict[str, Verdict]:
    """One verdict per operator: the worst of its samples, ``UNJUDGED`` only where none was judged."""
    order = [Verdict.CRASH, Verdict.WRONG, Verdict.REFUSED, Verdict.RIGHT, Verdict.UNJUDGED]
    verdicts: dict[str, Verdict] = {}
    for judgement in judgements:
        known = verdicts.get(judgement.operator, Verdict.UNJUDGED)
        verdicts[judgement.operator] = min(known, judgement.verdict, key=order.index)
    return verdicts


def table(judged: dict[str, list[Judgement]]) -> str:
    """The score of each group as a Markdown table: operators, then samples."""
    lines = ["| samples | right | refused | wrong or crashed | not judged |", "|---|---|---|---|---|"]

    def row(title: str, verdicts: Iterable[Verdict]) -> str:
        count = Counter(verdicts)
        faults = count[Verdict.WRONG] + count[Verdict.CRASH]
        return (
            f"| {title} | {count[Verdict.RIGHT]} | {count[Verdict.REFUSED]} | {faults} "
            f"| {count[Verdict.UNJUDGED]} |"
        )

    titles = {"fft": "`torch.fft.*`", "stft": "`stft`, `istft`", "complex": "other operators of complex64"}
    for group, judgements in judged.items():
        lines.append(row(f"{titles[group]}, each sample", (j.verdict for j in judgements)))
        lines.append(row(f"{titles[group]}, each operator in all its samples", score(judgements).values()))
    return "\n".join(lines)


class Record:
    """Verdicts kept in a file of JSON lines; the first line names the versions they are of."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there.

        Raises:
            BadInputError: a file that is no record, or one of another torch.
        """
        self._path = path
        self._known: dict[tuple[str, str, int, str], Judgement] = {}
        header = {"torch": torch.__version__}
        if path is None:
            return
        if not path.exists():
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        try:
            first, *lines = path.read_text(encoding="utf-8").splitlines()
            recorded = json.loads(first)
            for line in lines:
                operator, dtype, index, profile, verdict, detail = json.loads(line)
                judgement = Judgement(operator, dtype, index, profile, Verdict(verdict), detail)
                self._known[operator, dtype, index, profile] = judgement
        except (OSError, ValueError, TypeError) as error:
            raise BadInputError(f"{path}: no record of verdicts ({error})") from error
        if recorded != header:
            raise BadInputError(f"{path}: verdicts of {recorded}, this is {header}; name another file")

    def judge(self, group: str, operator: str, profile: str, limit: int | None) -> Iterator[Judgement]:
        """The verdicts of an operator's samples: those kept, then the others, which are kept too."""
        chosen = list(samples(group, operators=[operator], limit=limit))
        keys = [(sample.operator, sample.dtype, sample.index, profile) for sample in chosen]
        yield from (self._known[key] for key in keys if key in self._known)
        others = [sample for sample, key in zip(chosen, keys, strict=True) if key not in self._known]
        for judgement in judge_all(others, profile):
            self._keep(judgement)
            yield judgement

    def _keep(self, judgement: Judgement) -> None:
        if self._path is not None:
            row = [judgement.operator, judgement.dtype, judgement.index, judgement.profile]
            with self._path.open("a", encoding="utf-8") as file:  # one write: several runs may share it
                file.write(json.dumps([*row, judgement.verdict.value, judgement.detail]) + "\n")


def _shard(text: str) -> tuple[int, int]:
    which, _, count = text.partition("/")
    if not (which.isdigit() and count.isdigit() and 1 <= int(which) <= int(count)):
        raise argparse.ArgumentTypeError("write it as 1/4: the first of four")
    return int(which) - 1, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="fdikp_edge.benchmarks.studies.operators", description=__doc__)
    parser.add_argument("--group", action="append", choices=GROUPS, help="default: every group")
    parser.add_argument("--operator", action="append", help="only this operator, by torch's name")
    parser.add_argument("--profile", default="onnx", choices=PROFILES, help="planner profile")
    parser.add_argument("--limit", type=int, help="at most this many samples of an operator and dtype")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the verdicts; go on where it ends")
    parser.add_argument(
        "--shard", type=_shard, default=(0, 1), help="judge part of the operators, such as 1/4"
    )
    parser.add_argument("--verbose", action="store_true", help="print each sample that is not right")
    given = parser.parse_args(arguments)
    judged: dict[str, list[Judgement]] = {}
    try:
        record = Record(given.record)
    except BadInputError as error:
        parser.error(str(error))
    for group in given.group or GROUPS:
        judged[group] = []
        chosen = [name for name in operator_names(group) if not given.operator or name in given.operator]
        for name in chosen[given.shard[0] :: given.shard[1]]:
            for judgement in record.judge(group, name, given.profile, given.limit):
                judged[group].append(judgement)
                if judgement.verdict.is_fault or (given.verbose and judgement.verdict is not Verdict.RIGHT):
                    print(judgement, file=sys.stderr, flush=True)
    with contextlib.suppress(BrokenPipeError):
        print(table(judged))
    return int(any(j.verdict.is_fault for judgements in judged.values() for j in judgements))


if __name__ == "__main__":
    raise SystemExit(main())
