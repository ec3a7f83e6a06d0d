"""Focus: the published rules against plain transcriptions, seams, poles, several pictures, and wrong input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from allocentric.agents.focus import carve, vicrop, visual_funnel
from allocentric.agents.focus.contract import Crop, Field, Maps, cut
from allocentric.core.catalog import FOCUS
from allocentric.core.errors import DataError, SettingsError

QUESTION = "What is there?"


class Peaks:
    """An oracle: attention to the question stands around given places of the pictures, over an uneven ground."""

    layers = 2

    def __init__(self, at: Sequence[tuple[float, float] | None], grid: tuple[int, int], *, sink: float = 20.0) -> None:
        self.at, self.grid, self.sink, self.width = at, grid, sink, 0.06
        self.asked: list[str] = []

    def __call__(self, pictures: Sequence[Any], text: str, *, steps: int = 1) -> tuple[Maps, ...]:
        assert len(pictures) == len(self.at)
        self.asked.append(text)
        rows, columns = self.grid
        x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
        ground = 0.02 * (1 + (np.hypot(x - 0.1, y - 0.1) < 0.15) * self.sink)  # a sink that every prompt looks at
        maps = []
        for place in self.at:
            here = ground.copy()
            if place is not None and "general description" not in text:
                across = np.abs(x - place[0])
                here += np.exp(-(np.minimum(across, 1 - across) ** 2 + (y - place[1]) ** 2) / (2 * self.width**2))
            maps.append(np.stack([ground, here]))
        return (tuple(maps),) * min(steps, 3)


SETTINGS: dict[str, Any] = {
    "vicrop": vicrop.Settings(layer=1, window_px=64),
    "visual_funnel": visual_funnel.Settings(layer=-1, base_px=64.0),
    "carve": carve.Settings(layers=(1,), steps=2, share=0.2, regions=1),
}


def method(name: str) -> Any:
    return FOCUS.load(name).build(SETTINGS[name])


def test_the_catalog_is_what_is_tested() -> None:
    assert FOCUS.names() == sorted(SETTINGS)


# ----------------------------------------------------------------------------------------- published rules by loops


def window_by_loops(attention: np.ndarray, size: tuple[int, int], window: float, ratios: Sequence[float]) -> Any:
    """The published search of ViCrop, window by window."""
    width, height = size
    rows, columns = attention.shape
    cell = width / columns, height / rows
    found = []
    for ratio in ratios:
        w, h = min(int(window * ratio / cell[0]), columns), min(int(window * ratio / cell[1]), rows)
        if w >= columns and h >= rows:
            if ratio == 1:
                return (0, 0, width, height)
            continue
        sums = {
            (x, y): attention[y : y + h, x : x + w].sum() for x in range(columns - w + 1) for y in range(rows - h + 1)
        }
        (x, y), peak = max(sums.items(), key=lambda entry: entry[1])
        near = [sums[place] for place in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)) if place in sums]
        found.append(((peak - np.mean(near)) / (w * h), ratio, x, y, w, h))
    _, ratio, x, y, w, h = max(found, key=lambda entry: entry[0])
    half = window * ratio // 2
    cx = min(max(int(x * cell[0] + cell[0] * w / 2), half), width - half)
    cy = min(max(int(y * cell[1] + cell[1] * h / 2), half), height - half)
    return tuple(
        round(v) for v in (max(0, cx - half), max(0, cy - half), min(width, cx + half), min(height, cy + half))
    )


@pytest.mark.parametrize("seed", range(12))
def test_vicrop_is_the_published_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attention = rng.gamma(0.5, size=(int(rng.integers(4, 14)), int(rng.integers(4, 14))))
    size = int(rng.integers(200, 900)), int(rng.integers(200, 900))
    rows, columns = attention.shape  # a window has a cell at least: the published one of none is 0 / 0
    window = max(float(rng.integers(60, 260)), size[0] / columns, size[1] / rows)
    ratios = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
    field = Field(attention_RC=attention, width_px=size[0], height_px=size[1])
    assert vicrop.best_window(field, window, ratios).box_px == window_by_loops(attention, size, window, ratios)


def test_vicrop_takes_the_whole_of_a_small_picture() -> None:
    field = Field(attention_RC=np.random.default_rng(0).random((6, 6)), width_px=100, height_px=90)
    assert vicrop.best_window(field, 120, (1.0, 1.2)).box_px == (0, 0, 100, 90)


@pytest.mark.parametrize("seed", range(6))
def test_visual_funnel_has_the_published_sizes_and_centres(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attention = rng.gamma(0.3, size=(9, 12))
    settings = visual_funnel.Settings(base_px=80.0)
    width, height = 480, 360
    share = attention / attention.sum()
    entropy = -sum(p * math.log(p + 1e-12) for p in share.ravel()) / math.log(share.size)
    boxes: list[tuple[int, ...]] = []
    for edge in (80.0, 80 * (1.2 + 0.6 * entropy), 80 * (1.6 + 1.2 * entropy)):
        cells = [
            ((c + 0.5) * 40, (r + 0.5) * 40, share[r, c])
            for r in range(9)
            for c in range(12)
            if not boxes
            or (boxes[-1][0] <= (c + 0.5) * 40 < boxes[-1][2] and boxes[-1][1] <= (r + 0.5) * 40 < boxes[-1][3])
        ]
        total = sum(weight for *_, weight in cells)
        box: list[float] = []
        for axis, limit in ((0, width), (1, height)):
            centre = sum(cell[axis] * cell[2] for cell in cells) / total
            start = min(max(centre - edge / 2, 0), limit - edge)
            box += [round(start), round(start + edge)]
        boxes.append((int(box[0]), int(box[2]), int(box[1]), int(box[3])))
    field = Field(attention_RC=attention, width_px=width, height_px=height)
    assert list(visual_funnel.portfolio(field, settings)) == boxes


def test_entropy_is_0_for_one_cell_and_1_for_all() -> None:
    one = np.zeros((4, 5))
    one[2, 3] = 1
    assert visual_funnel.normalised_entropy(one) == pytest.approx(0, abs=1e-9)
    assert visual_funnel.normalised_entropy(np.full((4, 5), 0.05)) == pytest.approx(1, abs=1e-9)


def regions_by_flood(values: np.ndarray, share: float, count: int) -> np.ndarray:
    """The published mask of CARVE by flooding."""
    on = values >= np.percentile(values, 100 * (1 - share))
    left = {(int(r), int(c)) for r, c in np.argwhere(on)}
    found = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            r, c = edge.pop()
            region.add((r, c))
            for place in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if place in left:
                    left.remove(place)
                    edge.append(place)
        found.append((sum(values[place] for place in region), region))
    found.sort(key=lambda entry: -entry[0])
    mask = np.zeros(values.shape, dtype=bool)
    for _, region in found[: max(count, int(len(found) * share))]:
        for place in region:
            mask[place] = True
    return mask


@pytest.mark.parametrize(("seed", "share", "count"), [(0, 0.2, 3), (1, 0.6, 2), (2, 0.3, 1), (3, 0.2, 100)])
def test_carve_keeps_the_strongest_regions(seed: int, share: float, count: int) -> None:
    values = np.random.default_rng(seed).random((24, 31))
    (mask,) = carve.strongest_regions([Field(attention_RC=values, width_px=31, height_px=24)], share, count)
    np.testing.assert_array_equal(mask, regions_by_flood(values, share, count))


def test_carve_sums_layers_and_counts_later_steps_more() -> None:
    rng = np.random.default_rng(5)
    asked = tuple((rng.random((3, 2, 2)),) for _ in range(4))
    general = tuple((rng.random((3, 2, 2)),) for _ in range(3))
    (found,) = carve.contrast(asked, general, carve.Settings(layers=(0, 2), damping=0.5))
    wanted = sum((t + 1) * asked[t][0][layer] / (general[t][0][layer] + 0.5) for t in range(3) for layer in (0, 2))
    np.testing.assert_allclose(found, wanted)


# --------------------------------------------------------------------------------------------------- all the methods


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.parametrize("place", [(0.7, 0.6), (0.5, 0.8), (0.82, 0.5)])
def test_crops_contain_what_is_looked_at(name: str, place: tuple[float, float]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    # only the contrast with a general prompt is deaf to what every prompt looks at
    oracle = Peaks([place], (16, 20), sink=0.0 if name == "visual_funnel" else 20.0)
    found = method(name).look(oracle, [picture], QUESTION)
    assert found.question == QUESTION
    assert any(QUESTION in asked for asked in oracle.asked)
    wanted = 3 if name == "visual_funnel" else 1
    assert len(found.crops) == wanted
    crop = found.crops[-1]
    assert crop.contains(place[0] * 320, place[1] * 256)
    x0, y0, x1, y1 = crop.box_px
    assert 0 <= x0 < x1 <= 320
    assert 0 <= y0 < y1 <= 256
    assert (x1 - x0) * (y1 - y0) < 0.6 * 320 * 256
    if name != "carve":
        np.testing.assert_array_equal(crop.image, picture[y0:y1, x0:x1])


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_of_several_pictures_the_one_that_is_looked_at_is_cropped(name: str) -> None:
    pictures = [np.full((128, 160, 3), k, dtype=np.uint8) for k in range(3)]
    found = method(name).look(Peaks([None, (0.6, 0.6), None], (8, 10)), pictures, QUESTION)
    assert {crop.picture for crop in found.crops} == {1}
    assert len(found.maps) == 3


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.parametrize("pitch", [0.5, 0.68])
def test_turning_a_panorama_turns_the_crops(name: str, pitch: float) -> None:
    """Windows know no seam: a target on it is found like one in the middle."""
    picture = np.random.default_rng(1).integers(0, 256, (160, 320, 3), dtype=np.uint8)
    boxes = []
    for turns in range(0, 20, 5):
        rolled = np.roll(picture, 16 * turns, axis=1)
        place = ((0.515 + turns / 20) % 1.0, pitch)
        found = method(name).look(Peaks([place], (10, 20), sink=0.0), [rolled], QUESTION, panorama=True)
        crop = found.crops[0]
        assert crop.contains(place[0] * 320, place[1] * 160, wrap_px=320)
        boxes.append(((crop.box_px[0] - 16 * turns) % 320, crop.box_px[2] - crop.box_px[0], *crop.box_px[1::2]))
        x0, y0, x1, y1 = crop.box_px
        if name != "carve":
            np.testing.assert_array_equal(crop.image, cut(rolled, (x0, y0, x1, y1), panorama=True))
    spread = np.ptp(np.array(boxes), axis=0)
    assert spread.max() <= 2, boxes  # rounding of pixels


def test_polar_rows_count_for_what_they_cover() -> None:
    """An even glow at a pole fills more cells than the same solid angle at the horizon, and must not win."""
    attention = np.full((18, 36), 0.01)
    attention[0] = 0.5  # the whole row at the pole: 36 cells, but little of the sphere
    attention[8:10, 20:23] = 0.45
    flat = Field(attention_RC=attention, width_px=360, height_px=180)
    sphere = Field(attention_RC=attention, width_px=360, height_px=180, panorama=True)
    (by_area,) = carve.strongest_regions([sphere], 0.02, 1)
    (by_cells,) = carve.strongest_regions([flat], 0.02, 1)
    assert by_cells[0].all()
    assert by_area[9, 21]
    assert not by_area[0].any()
    y0, y1 = vicrop.best_window(sphere, 30, (1.0,)).box_px[1::2]
    assert y0 <= 85 < y1
    centre = visual_funnel.portfolio(sphere, visual_funnel.Settings(base_px=30.0))[0]
    assert centre[1] <= 85


def test_crops_of_a_panorama_are_narrowed_by_their_pitch() -> None:
    picture = np.zeros((180, 360, 3), dtype=np.uint8)
    assert cut(picture, (350, 80, 390, 100), panorama=True).shape == (20, 40, 3)
    assert cut(picture, (350, 20, 430, 40), panorama=True).shape == (20, 40, 3)  # 60 degrees up


def test_regions_that_meet_over_the_seam_are_one() -> None:
    values = np.zeros((10, 20))
    values[4:6, [0, 1, 18, 19]] = 1.0
    values[4:6, 8:11] = 0.9
    sphere = Field(attention_RC=values, width_px=20, height_px=10, panorama=True)
    (mask,) = carve.strongest_regions([sphere], 0.08, 1)
    assert mask.sum() == 8
    crop = carve._crop(0, np.full((10, 20, 3), 200, dtype=np.uint8), mask, panorama=True)
    assert crop.box_px == (18, 4, 22, 6)


# ------------------------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_wrong_input_is_said(name: str) -> None:
    focus = method(name)
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="at least one picture"):
        focus.look(Peaks([], (8, 8)), [], QUESTION)
    with pytest.raises(DataError, match="expected pictures"):
        focus.look(Peaks([None], (8, 8)), [picture[..., 0]], QUESTION)
    deep = FOCUS.load(name).build(FOCUS.load(name).Settings())
    with pytest.raises(SettingsError, match=r"layer 2[02] was asked for, and the model has 2"):
        deep.look(Peaks([(0.5, 0.5)], (8, 8)), [picture], QUESTION)

    def broken(pictures: Any, text: str, *, steps: int = 1) -> Any:
        return ((np.full((2, 8, 8), np.nan),),)

    with pytest.raises(DataError, match="finite attention map"):
        focus.look(broken, [picture], QUESTION)


def test_boxes_know_the_seam() -> None:
    crop = Crop(picture=0, name="crop", box_px=(90, 0, 110, 10), image=np.zeros((1, 1, 3), dtype=np.uint8))
    assert crop.contains(95, 5, wrap_px=100)
    assert crop.contains(5, 5, wrap_px=100)
    assert not crop.contains(15, 5, wrap_px=100)
    assert not crop.contains(5, 5)
