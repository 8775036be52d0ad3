"""The log of a training run: one table of steps, one of validations, and both as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ...runtime.files import replacing

STEPS = ("step", "loss", "learning_rate", "gradient_norm", "seconds")
VALIDATIONS = ("step", "blurred_psnr_db", "restored_psnr_db")


class Table:
    """A CSV file that rows are added to; a kill can lose its last row, never the table."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Use ``path`` with ``columns``, the first of which is the step."""
        self.path, self.columns = path, tuple(columns)

    def rows(self) -> list[list[float]]:
        """Return all whole rows of numbers."""
        if not self.path.exists():
            return []
        rows = []
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                try:
                    numbers = [float(cell) for cell in row]
                except ValueError:
                    continue  # the heading, or a row cut short by a kill
                if len(numbers) == len(self.columns):
                    rows.append(numbers)
        return rows

    def begin(self, step: int) -> None:
        """Keep the rows up to ``step``: those after it are about to be made again."""
        kept = [row for row in self.rows() if row[0] <= step]
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows([int(row[0]), *row[1:]] for row in kept)

    def add(self, step: int, *values: float) -> None:
        """Add a row."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([step, *(f"{value:.6g}" for value in values)])


def draw(steps: Table, validations: Table, path: Path) -> bool:
    """Draw loss and PSNR over the steps as a PNG; ``False`` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    taken = steps.rows()
    above.plot(
        [r[0] for r in taken], [r[1] for r in taken], color="0.75", linewidth=0.6, label="each logged step"
    )
    smooth = _smoothed([r[1] for r in taken])
    above.plot([r[0] for r in taken], smooth, color="C0", label="running mean")
    above.set(yscale="log", ylabel="training loss")
    above.legend()
    seen = validations.rows()
    below.plot([r[0] for r in seen], [r[2] for r in seen], color="C1", marker=".", label="restored")
    below.plot([r[0] for r in seen], [r[1] for r in seen], color="0.5", linestyle="--", label="blurred input")
    below.set(xlabel="step", ylabel="PSNR on held-out photos, dB")
    below.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    return True


def _smoothed(values: Sequence[float], keep: float = 0.95) -> list[float]:
    smooth: list[float] = []
    for number, value in enumerate(values):
        share = min(keep, number / (number + 1))
        smooth.append(value if not smooth else share * smooth[-1] + (1 - share) * value)
    return smooth
