"""Checks compare our numbers with published records. A file with `check(...)` at top level is one.

Its parameters become options of `allocentric check NAME`; it returns a `CheckResult`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What a check found, for a table and for programs."""

    columns: Sequence[str]
    """Headings of the table."""
    rows: Sequence[Sequence[str]]
    """Its lines."""
    notes: Sequence[str] = field(default=())
    """Lines below the table: disagreements, explanations."""
    as_json: Mapping[str, Any]
    """The same figures as JSON values."""
    ok: bool
    """Whether everything that must agree does."""
