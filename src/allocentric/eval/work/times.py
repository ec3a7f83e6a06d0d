"""How long each answer took, beside the answers and not among them.

samples.jsonl holds nothing that a clock says, so that two runs of the same recipe leave the same lines. times.jsonl is
not forced to the disk: it may lack its last lines after a crash.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_core import from_json

from allocentric.core.runlog import disk_errors

FILE = "times.jsonl"
_LINES = 256


class TimesLog:
    """Appends `{"key": content key, "seconds": wall time of the request}` lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        with disk_errors(folder):
            self._file = (folder / FILE).open("ab")
            if self._file.tell() and not _ends_a_line(folder / FILE):
                self._file.write(b"\n")

    def put(self, key: str, seconds: float | None) -> None:
        """Note one answer; nothing where its backend measures no time."""
        if seconds is None:
            return
        self._lines.append(f'{{"key":"{key}","seconds":{seconds:.6g}}}\n')
        if len(self._lines) >= _LINES:
            self._write()

    def _write(self) -> None:
        with disk_errors(self._folder):
            self._file.write("".join(self._lines).encode())
            self._file.flush()
        self._lines.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()
        self._file.close()


def read_times(folder: Path) -> Mapping[str, float]:
    """Seconds by content key; lines that a crash tore are left out."""
    path = folder / FILE
    times: dict[str, float] = {}
    if not path.exists():
        return times
    with path.open("rb") as file:
        for line in file:
            try:
                record = from_json(line)
                times[record["key"]] = float(record["seconds"])
            except (ValueError, KeyError, TypeError):
                continue
    return times


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
