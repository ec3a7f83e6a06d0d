"""Imports go one way: core < scenes < datasets | envs, core < sparse_attn < agents, all < eval < train < cli."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED = {
    "core": set(),
    "scenes": {"core"},
    "sparse_attn": {"core"},
    "datasets": {"core", "scenes"},
    "envs": {"core", "scenes"},
    "agents": {"core", "sparse_attn"},
    "eval": {"core", "scenes", "sparse_attn", "datasets", "envs", "agents"},
    "train": {"core", "scenes", "sparse_attn", "datasets", "envs", "agents", "eval"},
}


def imported_parts(source: str) -> Iterator[str]:
    """First-level parts of the package that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("allocentric.") and name != "allocentric.__version__":
                yield name.split(".")[1]


def package_files() -> list[Path]:
    return sorted((Path(__file__).resolve().parent.parent / "src" / "allocentric").rglob("*.py"))


@pytest.mark.parametrize("path", package_files(), ids=lambda path: "/".join(path.parts[path.parts.index("src") + 2 :]))
def test_imports_point_down(path: Path) -> None:
    part = path.parts[path.parts.index("src") + 2]
    if part not in ALLOWED:
        return  # __init__.py and the command line may import everything
    wrong = set(imported_parts(path.read_text())) - ALLOWED[part] - {part}
    assert not wrong, f"{part} may import {sorted(ALLOWED[part])}, but {path.name} imports {sorted(wrong)}"


def test_the_check_sees_a_wrong_import() -> None:
    assert set(imported_parts("def f():\n    from allocentric.eval import run")) == {"eval"}
