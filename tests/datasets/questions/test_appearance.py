"""Orders of first appearance in hand-made views."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.core.types import Scene, View, Visibility
from allocentric.datasets.questions import obj_appearance_order as order

LABELS = ("lamp", "tv", "piano", "plant")


@pytest.fixture
def scene(object_of):
    return Scene(
        id="four",
        objects=tuple(object_of(label, 0, (k, 0.0), (0.3, 0.3, 0.3), 0.0) for k, label in enumerate(LABELS)),
        source="made_up",
        license="CC0-1.0",
    )


def film(starts, seconds=20, step_s=0.5, glimpses=None):
    """One view every half second; each label is shown from its start on."""
    views = []
    for frame in range(int(seconds / step_s)):
        now = frame * step_s
        visible = {f"{label}-0": Visibility(500, 0.5) for label, start in starts.items() if now >= start}
        for label, start in (glimpses or {}).items():
            if now >= start:
                visible.setdefault(f"{label}-0", Visibility(20, 0.01))
        views.append(View(time_s=now, visible=visible))
    return views


def test_order_is_that_of_the_first_good_view(scene):
    views = film({"piano": 1, "lamp": 3, "plant": 5.5, "tv": 9})
    (item,) = order.ask(scene, views, np.random.default_rng(0), "vsi")
    assert item.choices[item.gold.index] == "piano, lamp, plant, tv"
    assert [sorted(option.split(", ")) for option in item.choices] == [sorted(LABELS)] * 4
    assert min(item.evidence.frames) == 2


@pytest.mark.parametrize("late", [3.0, 3.5, 4.0])
def test_too_close_in_time_is_not_asked(scene, late):
    views = film({"piano": 1, "lamp": 3, "plant": late, "tv": 9})
    assert order.ask(scene, views, np.random.default_rng(0), "vsi") == []


def test_an_earlier_glimpse_makes_it_doubtful(scene):
    views = film({"piano": 1, "lamp": 3, "plant": 6, "tv": 9}, glimpses={"tv": 0.5})
    assert order.ask(scene, views, np.random.default_rng(0), "vsi") == []
    assert order.ask(scene, views, np.random.default_rng(0), order.Settings(glimpses_agree=False))


def test_a_category_seen_for_one_view_only_has_to_stay_in_the_strict_profile(scene):
    views = film({"piano": 1, "lamp": 4, "plant": 7, "tv": 19.5})
    assert len(order.ask(scene, views, np.random.default_rng(0), "vsi")) == 1
    assert order.ask(scene, views, np.random.default_rng(0), "revsi") == []


def test_views_without_times_ask_nothing(scene):
    views = [View(visible=view.visible) for view in film({"piano": 1, "lamp": 3, "plant": 5.5, "tv": 9})]
    assert order.ask(scene, views, np.random.default_rng(0), "vsi") == []
