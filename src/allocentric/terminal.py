"""What people see in a terminal: tables, progress with ETA, one-line errors.

stdout carries the result, stderr the talk. On a terminal progress is a bar; piped it is a plain line now and then.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

_PLAIN_INTERVAL_S = 10.0


def say(text: str) -> None:
    """One line of talk."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object as the result."""
    print(json.dumps(value, indent=None, ensure_ascii=False, sort_keys=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, notes: Sequence[str] = ()) -> None:
    """A table as the result: drawn on a terminal, tab-separated lines when piped."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            print("\t".join(row))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold")
        for index, column in enumerate(columns):
            numeric = index > 0 and all(_looks_numeric(row[index]) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
    for note in notes:
        print(note)


def _looks_numeric(cell: str) -> bool:
    return not cell or cell[0] in "0123456789-+.–" or cell == "n/a"


class TerminalProgress:
    """`core.progress.Progress` on stderr: a Rich bar on a terminal, plain lines every ten seconds when piped."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._done = 0
        self._text = ""
        self._status = ""
        self._started_s = 0.0
        self._last_line_s = 0.0

    def start(self, total: int, text: str) -> None:
        """Begin a stretch of `total` steps; one that was running ends."""
        self.stop()
        self._total, self._done, self._text, self._status = total, 0, text, ""
        self._started_s = self._last_line_s = time.monotonic()
        if sys.stderr.isatty():
            self._open_bar()
        else:
            say(f"{text}: 0/{total}")

    def advance(self, count: int = 1, status: str = "") -> None:
        """Count `count` steps and show `status`."""
        self._done += count
        self._status = status or self._status
        if self._bar is not None:
            self._bar.update(self._task, advance=count, status=self._status)
        elif time.monotonic() - self._last_line_s >= _PLAIN_INTERVAL_S and self._done < self._total:
            self._last_line_s = time.monotonic()
            say(self._line())

    def stop(self) -> None:
        """End the stretch."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._text:
            say(self._line())
        self._text = ""

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Eta

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("ETA"), Eta(), TextColumn("{task.fields[status]}"), console=Console(stderr=True),
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(self._text, total=self._total, status="")

    def _line(self) -> str:
        elapsed_s = time.monotonic() - self._started_s
        line = f"{self._text}: {self._done}/{self._total} in {elapsed_s:.0f} s"
        if 0 < self._done < self._total:
            line += f", ETA {elapsed_s / self._done * (self._total - self._done):.0f} s"
        return f"{line}  {self._status}".rstrip()
