"""Exercises against plain readings of their own tokens: what is asked can be answered, and only from where it says."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.geometry import VIDEO
from allocentric.sparse_attn.recall import mqar, spatial_needle
from allocentric.sparse_attn.recall.spatial_needle import ATTRIBUTES, VARIANTS


def test_mqar_answers_follow_from_the_pairs() -> None:
    settings = mqar.Settings(length=96, pairs=6, queries=8, words=20, power=0.5)
    drawn = mqar.draw(settings, 50, np.random.default_rng(0))
    for row in range(50):
        tokens = drawn.tokens_NL[row].tolist()
        memory = dict(zip(tokens[0:12:2], tokens[1:12:2], strict=True))
        assert len(memory) == 6
        for place, answer, gap in zip(drawn.place_NA[row], drawn.answers[row], drawn.gap_NA[row], strict=True):
            assert tokens[place] in memory
            assert memory[tokens[place]] == answer == tokens[place + 1]
            # The nearest earlier place where the value stands right after its key.
            nearest = max(k for k in range(1, place) if tokens[k - 1] == tokens[place] and tokens[k] == answer)
            assert gap == place - nearest


def test_mqar_gaps_follow_the_power_law() -> None:
    """With few queries, slot s (from 1) is chosen in proportion to s ** (power - 1)."""
    settings = mqar.Settings(length=44, pairs=2, queries=1, words=8, power=0.3)
    drawn = mqar.draw(settings, 40_000, np.random.default_rng(1))
    slot = (drawn.place_NA[:, 0] - 4) // 2
    law = np.arange(1, 21.0) ** -0.7
    expected = 40_000 * law / law.sum()
    chi2 = (((np.bincount(slot, minlength=20) - expected) ** 2) / expected).sum()
    assert chi2 < 43.8  # 99.9 % point of chi-squared with 19 degrees of freedom


def walk_of(row: list[int], settings: spatial_needle.Settings) -> list[dict[str, int]]:
    """Reads a walk back from tokens: one object per visit."""
    visits, objects, depths = settings.visits, settings.objects, settings.depths
    first_object = 3 * settings.rooms
    per_visit = settings.frames * settings.frame_tokens
    found = []
    for visit in range(visits):
        tokens = row[visit * per_visit : (visit + 1) * per_visit]
        shown = [k for k, token in enumerate(tokens) if first_object <= token < first_object + objects]
        assert len(shown) == 1
        assert visit == 0 or tokens[0] > found[-1]["time"], "the clock runs on"
        depth = tokens[shown[0] + 1] - first_object - objects
        assert 0 <= depth < depths
        found.append(
            {
                "time": tokens[0],
                "room": tokens[1] - settings.rooms,
                "object": tokens[shown[0]] - first_object,
                "depth": depth,
                "place": visit * per_visit + shown[0],
            }
        )
    return found


@pytest.mark.parametrize("frames", [1, 3])
def test_needle_answers_follow_from_the_first_sight(frames: int) -> None:
    settings = spatial_needle.Settings(visits=10, rooms=13, frames=frames)
    drawn = spatial_needle.draw(settings, 60, np.random.default_rng(2))
    assert drawn.tokens_NL.max() < settings.vocabulary
    visits, objects, depths = settings.visits, settings.objects, settings.depths
    walls = 3 * settings.rooms
    first = {"time": 0, "room": settings.rooms, "depth": walls + objects}
    for row in range(60):
        tokens = drawn.tokens_NL[row].tolist()
        walk = walk_of(tokens, settings)
        variant = VARIANTS[drawn.group_NA[row, 0] // len(ATTRIBUTES)]
        rooms = [visit["room"] for visit in walk]
        half = visits // 2
        assert (len(set(rooms)) == visits) == (variant == "plain")
        if variant == "repeat":
            same = ("room", "object", "depth")
            assert [[v[key] for key in same] for v in walk[:half]] == [[v[key] for key in same] for v in walk[half:]]
        else:
            assert len({visit["object"] for visit in walk}) == visits
        for k, place in enumerate(drawn.place_NA[row]):
            attribute = ATTRIBUTES[tokens[place - 1] - walls - objects - depths]
            sights = [visit for visit in walk if visit["object"] == tokens[place] - walls]
            assert tokens[place + 1] == first[attribute] + sights[0][attribute] == drawn.answers[row, k]
            nearest = (sights[0] if attribute == "time" else sights[-1])["place"]
            for earlier in drawn.place_NA[row, :k]:
                if tokens[earlier - 1 : earlier + 1] == tokens[place - 1 : place + 1]:
                    nearest = earlier + 1
            assert drawn.gap_NA[row, k] == place - nearest


def test_needle_geometry_marks_the_patches() -> None:
    settings = spatial_needle.Settings(visits=4, questions=2, frames=2)
    drawn = spatial_needle.draw(settings, 3, np.random.default_rng(0))
    geometry = drawn.geometry
    assert geometry.length == settings.length == drawn.tokens_NL.shape[1]
    is_patch = (geometry.modality_BL[0] == VIDEO).numpy()
    clocks_and_rooms = drawn.tokens_NL[:, ~is_patch][:, : 2 * 8]
    assert (clocks_and_rooms < 2 * settings.rooms).all()
    assert int(geometry.frame_BL.max()) == 7


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="different keys"):
        mqar.Settings(pairs=9, words=8)
    with pytest.raises(SettingsError, match="take 48 tokens, got 40"):
        mqar.Settings(length=40, pairs=12, queries=12)
    with pytest.raises(SettingsError, match="even"):
        spatial_needle.Settings(visits=5)
