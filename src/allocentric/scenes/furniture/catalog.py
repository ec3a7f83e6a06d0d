"""All categories of all families, found by listing the folder's files."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path

from allocentric.scenes.furniture.model import Category


@lru_cache(maxsize=1)
def categories() -> dict[str, Category]:
    """Label -> category over every family file that has a `CATEGORIES` table, in alphabetical order of labels."""
    found: dict[str, Category] = {}
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = importlib.import_module(f"allocentric.scenes.furniture.{file.stem}")
        table: dict[str, Category] = getattr(module, "CATEGORIES", {})
        repeated = found.keys() & table.keys()
        assert not repeated, f"{file.name} repeats {sorted(repeated)}"
        found.update(table)
    return dict(sorted(found.items()))
