"""Squares with pillars: one of a colour, all in sight, the same from the same seed."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import SettingsError
from allocentric.core.geometry import boxes_overlap, camera_at
from allocentric.core.types import Camera
from allocentric.scenes.render import raster
from allocentric.scenes.sources.pillars import Settings, build, build_square

COLORS = ("red", "blue", "yellow", "black")


@pytest.mark.parametrize("pillars", [1, 2, 3, 4])
def test_pillars_differ_in_colour_and_stand_apart(pillars: int) -> None:
    for seed in range(20):
        scene = build_square(seed, COLORS, pillars)
        assert len(scene.objects) == pillars
        assert len({thing.label for thing in scene.objects}) == pillars
        for one, other in combinations(scene.objects, 2):
            assert not boxes_overlap(one.world_from_object, one.size_m, other.world_from_object, other.size_m)


def test_from_the_middle_every_pillar_is_seen_whole_and_at_the_horizon() -> None:
    scene = build_square(3, COLORS, 3)
    for x_m, y_m in ((0.0, 0.0), (0.5, 0.5), (-0.5, 0.5)):
        camera = Camera(
            model="equirectangular", world_from_camera=camera_at((x_m, y_m, 1.5), 0.4), width_px=256, height_px=128
        )
        with raster.build(scene, raster.Settings()) as renderer:
            ids = renderer.render(camera, ("rgb", "id")).id
            alone = renderer.silhouette_px(camera, [0, 1, 2])
        shown = [int((ids == index).sum()) for index in range(3)]
        assert all(seen >= 0.95 * whole for seen, whole in zip(shown, alone, strict=True))  # but for their edges
        assert set(ids[64]) >= {0, 1, 2}


def test_the_same_seed_gives_the_same_scene_and_others_differ() -> None:
    source = build(settings_from_mapping(Settings, {"count": 8}, where="source"))
    first = [source.load(name) for name in source.scene_ids()]
    again = [source.load(name) for name in source.scene_ids()]
    for one, other in zip(first, again, strict=True):
        assert [thing.label for thing in one.objects] == [thing.label for thing in other.objects]
        for a, b in zip(one.objects, other.objects, strict=True):
            assert np.array_equal(a.world_from_object, b.world_from_object)
    angles = {round(math.atan2(*scene.objects[0].world_from_object[1::-1, 3]), 6) for scene in first}
    assert len(angles) == 8


def test_too_few_colours_are_refused() -> None:
    with pytest.raises(SettingsError, match="3 pillars need as many different colours"):
        settings_from_mapping(Settings, {"colors": ["red", "blue"]}, where="source")
