from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from allocentric.core.config import Settings, load_recipe
from allocentric.datasets import audit, chat
from allocentric.datasets.recipe import MakeRecipe, plan_of, set_folder
from allocentric.scenes import trajectory


@pytest.mark.parametrize("name", ["demo", "houses", "vsi_real"])
def test_shipped_recipes_are_valid(
    repository: Path, tmp_path: Path, write_rooms: Callable[[Path, int], Path], name: str
) -> None:
    overrides = [f"source.path={write_rooms(tmp_path, 2)}"] if name == "vsi_real" else []
    recipe = load_recipe(repository / "configs" / f"{name}.yaml", MakeRecipe, overrides)
    plan = plan_of(recipe, tmp_path / "set")
    assert len(plan.quotas) == len(recipe.types)
    assert plan.scene_ids
    assert not (tmp_path / "set").exists()


def test_folder_depends_on_every_part_and_not_on_defaults_being_written(repository: Path, tmp_path: Path) -> None:
    def folder(*overrides: str) -> Path:
        return set_folder(tmp_path, load_recipe(repository / "configs" / "demo.yaml", MakeRecipe, overrides))

    assert folder() == folder("walk.fps=10.0", "source.first_seed=0")
    different = [
        "seed=1", "walk.fps=5.0", "source.count=21", "renderer.shadows=false", "types.object_counting=41",
        "frames=31", "audit.max_mra=0.7", "splits={train: 1.0}", "answer=rationale",
    ]  # fmt: skip
    assert len({folder(), *(folder(override) for override in different)}) == len(different) + 1


@pytest.mark.parametrize("settings", [MakeRecipe, trajectory.Settings, audit.Settings, chat.Settings])
def test_every_key_is_documented(settings: type[Settings]) -> None:
    assert all(field.description for field in settings.model_fields.values())
