"""Errors meant for people: printed as one line without a traceback.

A `UserError` says what was got, what was expected and what to do. Anything else that escapes is a defect of ours and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input, missing file, missing package ... `exit_code` is what the command line ends with."""

    exit_code = 1


class SettingsError(UserError):
    """A recipe or an override is wrong."""


class DataError(UserError):
    """A file, record or scene is not what it should be. Names the file and the field."""


class MissingPackageError(UserError):
    """An optional package is absent."""

    def __init__(self, package: str, *, needed_for: str, extra: str | None = None, command: str | None = None) -> None:
        command = command or (f"pip install 'allocentric[{extra}]'" if extra else f"pip install {package}")
        super().__init__(f"{needed_for} needs the package {package!r}, which is not installed; run: {command}")


def suggestion(unknown: str, known: Iterable[str]) -> str:
    """A closing phrase for an unknown name: '; did you mean 'x'?' or '; known: a, b'."""
    names = sorted(known)
    close = difflib.get_close_matches(unknown, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
