"""Tell Gymnasium which environments there are.

A file in this folder that assigns `IDS = {"Name-v0": "ClassName"}` at top level is listed here by reading its source,
so listing imports nothing heavy.
"""

from __future__ import annotations

import ast
from pathlib import Path

NAMESPACE = "allocentric"


def environment_ids() -> dict[str, str]:
    """Gymnasium id -> entry point ("module:Class"), sorted by id."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        for name, class_name in _ids_in(path.read_text(encoding="utf-8")).items():
            found[f"{NAMESPACE}/{name}"] = f"allocentric.envs.{path.stem}:{class_name}"
    return dict(sorted(found.items()))


def register_all() -> tuple[str, ...]:
    """Register every environment that Gymnasium does not know yet; returns all ids."""
    import gymnasium

    ids = environment_ids()
    for name, entry_point in ids.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=entry_point)
    return tuple(ids)


def _ids_in(source: str) -> dict[str, str]:
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "IDS" for target in targets):
            assert isinstance(node, ast.Assign)
            ids = ast.literal_eval(node.value)
            assert isinstance(ids, dict)
            return ids
    return {}
