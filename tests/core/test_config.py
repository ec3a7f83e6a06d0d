"""Recipes: what is accepted, what is refused, and how the refusal reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from allocentric.core.config import Settings, load_recipe, read_recipe, resolved, settings_hash
from allocentric.core.errors import SettingsError


class Walk(Settings):
    fps: float = 10.0
    sizes_px: tuple[int, int] = (640, 480)


class Recipe(Settings):
    name: str
    count: int = 3
    walk: Walk = Walk()
    folder: Path | None = None


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_yaml_lists_and_paths_become_typed_values(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "name: a\nwalk: {sizes_px: [320, 240], fps: 5}\nfolder: x/y\n"), Recipe)
    assert recipe.walk.sizes_px == (320, 240)
    assert recipe.walk.fps == 5.0
    assert recipe.folder == Path("x/y")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\ncuont: 4", ["unknown setting 'cuont'", "did you mean 'count'"]),
        ("name: a\nwalk: {fsp: 4}", ["unknown setting 'walk.fsp'", "did you mean 'fps'"]),
        ("name: a\ncount: many", ["count", "integer", '"many"']),
        ("name: a\ncount: '3'", ["count", "integer"]),
        ("count: 3", ["'name' is missing"]),
        ("- a\n- b", ["expected a mapping", "list"]),
        ("name: [", ["is not YAML"]),
    ],
)
def test_bad_recipes_give_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        load_recipe(path, Recipe)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


def test_missing_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.yaml")


def test_overrides_reach_nested_settings_and_list_entries(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\nwalk: {sizes_px: [320, 240]}\n")
    recipe = load_recipe(path, Recipe, ["walk.sizes_px.1=200", "count=7", "walk.fps=2.5"])
    assert (recipe.walk.sizes_px, recipe.count, recipe.walk.fps) == ((320, 200), 7, 2.5)


@pytest.mark.parametrize("override", ["count", "=3", "name.x=3", "walk.sizes_px.9=1"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    path = write(tmp_path, "name: a\nwalk: {sizes_px: [320, 240]}\n")
    with pytest.raises(SettingsError):
        load_recipe(path, Recipe, [override])


def test_hash_depends_on_values_only(tmp_path: Path) -> None:
    first = resolved(load_recipe(write(tmp_path, "name: a\ncount: 3"), Recipe))
    second = resolved(load_recipe(write(tmp_path, "count: 3\nname: a\nwalk: {fps: 10}"), Recipe))
    third = resolved(load_recipe(write(tmp_path, "name: a\ncount: 4"), Recipe))
    assert settings_hash(first) == settings_hash(second) != settings_hash(third)
