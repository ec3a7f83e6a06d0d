from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from allocentric.core.errors import SettingsError
from allocentric.datasets.supersensing._course import PERTURBATIONS, course, performed


@pytest.mark.parametrize("stretches", [5, 6, 17, 240])
def test_a_plain_course_walks_every_house_once_and_one_of_them_twice(stretches: int) -> None:
    for seed in range(20):
        stops = course(stretches, "plain", np.random.default_rng(seed))
        counts = Counter(stop.house for stop in stops)
        assert len(stops) == stretches
        assert sorted(counts.values()) == [1] * (stretches - 2) + [2]
        twice = counts.most_common(1)[0][0]
        first, second = (k for k, stop in enumerate(stops) if stop.house == twice)
        assert second - first >= 2


def test_revisited_houses_are_those_of_the_first_half_on_other_routes_in_another_order() -> None:
    stops = course(20, "revisit", np.random.default_rng(0))
    first, later = stops[:10], stops[10:]
    assert {stop.passing for stop in first} == {0}
    assert {stop.passing for stop in later} == {1}
    assert Counter(stop.house for stop in first) == Counter(stop.house for stop in later)
    assert [stop.house for stop in first] != [stop.house for stop in later]
    assert {stop.route for stop in first} == {0}
    assert {stop.route for stop in later} == {1}


def test_repeating_plays_the_course_twice_and_shuffling_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    assert performed("abc", "repeat", rng) == tuple("abcabc")
    assert performed("abc", "plain", rng) == performed("abc", "revisit", rng) == tuple("abc")
    shuffled = performed(range(30), "shuffle", rng)
    assert sorted(shuffled) == list(range(30))
    assert shuffled != tuple(range(30))
    assert len(course(20, "repeat", rng)) == 10


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_too_short_a_course_is_refused_with_the_numbers(perturbation: str) -> None:
    with pytest.raises(SettingsError, match="4 stretches are too few"):
        course(4, perturbation, np.random.default_rng(0))


def test_an_odd_course_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="even number"):
        course(11, "repeat", np.random.default_rng(0))
