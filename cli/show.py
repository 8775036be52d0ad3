"""Tables, JSON and progress bars. Results go to stdout; all else goes to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..runtime.program import put
from ..runtime.progress import Progress
from ..runtime.strict_json import printable
from .log import LOG

if TYPE_CHECKING:
    from rich.table import Table

Step = Progress
"""Called with progress: steps done, steps in total, message."""

PIPED_WIDTH = 140
_STATE_STYLES = {"verified": "green", "failed": "bold red", "unverified": "yellow", "unavailable": "yellow"}


def as_json(value: Mapping[str, Any]) -> None:
    """Print ``value`` as JSON on stdout: letters as they are where stdout can show them, else as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    put(text)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout; a column whose name ends in ``#`` holds numbers, aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    # Text, not str, throughout: a path or a word of a file with [brackets] in it is not markup.
    grid = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    for name in columns:
        number = name.endswith("#")
        header = Text(printable(name.rstrip("#")))
        grid.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(cell), style=_STATE_STYLES.get(cell, "")) for cell in row))
    _print(grid)


def facts(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line, on stdout."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(
        title=Text(printable(title)),
        title_justify="left",
        title_style="bold",
        show_header=False,
        box=None,
        padding=(0, 2, 0, 0),
    )
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(
            Text(printable(name), style="dim"), Text(printable(value), style=_STATE_STYLES.get(value, ""))
        )
    _print(grid)


def line(text: str) -> None:
    """Print one line for people on stdout."""
    put(printable(text))


def _print(grid: Table) -> None:
    from rich.console import Console

    # Into a pipe or file it is wide enough that tables need not fold.
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED_WIDTH
    console = Console(width=width)
    with console.capture() as captured:
        console.print(grid)
    # Written by us, since rich makes a reader who leaves early (`| head`) an error.
    put(captured.get(), end="")


@contextlib.contextmanager
def working(what: str, *, slow: bool = False) -> Iterator[Step]:
    """Show a progress bar on stderr while the block runs, and keep stdout for the result.

    The block is handed a :data:`Step` to report with. Libraries print to stdout as they please, also from
    C++; inside the block all of that goes to stderr. Without a terminal, each new step is one plain line;
    with ``slow``, where seconds pass before the first step, ``what`` is printed at once.
    """
    with _stdout_to_stderr():
        if sys.stderr.isatty():
            with _bar(what) as step:
                yield _logged(step)
        else:
            yield _logged(_lines(what if slow else ""))


def _logged(step: Step) -> Step:
    """Return a step that also logs each message when it is first given."""
    last = ""

    def log(done: int, total: int, now: str) -> None:
        nonlocal last
        if now and now != last:
            last = now
            LOG.info("[%d/%d] %s", done, total, now)
        step(done, total, now)

    return log


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(what, total=None)

        def step(done: int, total: int, now: str) -> None:
            progress.update(task, completed=done, total=total, description=printable(now) or what)

        yield step


def _lines(what: str) -> Step:
    last = what

    def say(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(text, file=sys.stderr, flush=True)

    def step(done: int, total: int, now: str) -> None:
        nonlocal last
        if now and now != last:
            last = now
            say(f"[{done}/{total}] {printable(now)}")

    if what:
        say(what)
    return step


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # a closed or replaced stdout has no file descriptor to redirect
            saved = os.dup(1)
            stack.callback(os.close, saved)
            os.dup2(2, 1)
            stack.callback(os.dup2, saved, 1)
        yield
