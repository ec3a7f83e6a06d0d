"""Walkers without a model, on guides made by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from allocentric.agents.navigators import (
    DOWN,
    FORWARD,
    LEFT,
    RIGHT,
    STOP,
    UP,
    FullSweep,
    GeodesicFollower,
    GreedySaliency,
    RandomNavigator,
    StopAtOnce,
)  # fmt: skip


class Told(NamedTuple):
    near: bool
    success: bool
    bearing_rad: float
    ahead_m: NDArray[np.float64]


class Guide:
    def __init__(self, **told: object) -> None:
        values = {"near": False, "success": False, "bearing_rad": 0.0, "ahead_m": np.zeros(8)} | told
        self.told = Told(**values)  # type: ignore[arg-type]

    def lookahead(self) -> Told:
        return self.told

    def survey(self) -> Told:
        return self.told._replace(ahead_m=self.told.ahead_m[::-1])


@pytest.mark.parametrize(("best", "move"), [(0, FORWARD), (1, LEFT), (3, LEFT), (5, RIGHT), (7, RIGHT)])
def test_the_follower_turns_the_short_way_to_the_best_heading(best: int, move: int) -> None:
    ahead = np.full(8, 2.0)
    ahead[best] = 1.8
    assert GeodesicFollower(Guide(ahead_m=ahead)).act(None) == move


def test_of_equal_headings_the_one_with_fewer_turns_is_taken() -> None:
    ahead = np.full(8, 2.0)
    ahead[[3, 7]] = 1.8
    assert GeodesicFollower(Guide(ahead_m=ahead)).act(None) == RIGHT


def test_the_follower_stops_where_that_succeeds_and_else_looks_for_a_near_goal() -> None:
    assert GeodesicFollower(Guide(near=True, success=True)).act(None) == STOP
    assert GeodesicFollower(Guide(near=True, bearing_rad=1.0)).act(None) == LEFT
    assert GeodesicFollower(Guide(near=True, bearing_rad=-1.0)).act(None) == RIGHT
    facing = GeodesicFollower(Guide(near=True, bearing_rad=0.1))
    assert [facing.act(None) for _ in range(7)] == [DOWN, DOWN, UP, UP, UP, UP, STOP]
    facing.reset(0)
    assert facing.act(None) == DOWN


def test_chance_repeats_with_the_seed_and_stops_as_often_as_told() -> None:
    walker = RandomNavigator(mean_steps=50.0)
    moves = []
    for _ in range(2):
        walker.reset(5)
        moves.append([walker.act(None) for _ in range(20_000)])
    assert moves[0] == moves[1]
    counts = np.bincount(moves[0], minlength=4)
    assert counts[STOP] == pytest.approx(400, abs=80)
    assert counts[FORWARD] == pytest.approx(9800, abs=300)
    walker.reset(6)
    assert [walker.act(None) for _ in range(50)] != moves[0][:50]
    assert StopAtOnce().act(None) == STOP


def test_the_sweep_asks_for_the_way_over_the_floor_not_to_the_goal() -> None:
    ahead = np.array([1.0, 2.0, 2.0, 2.0])
    assert GeodesicFollower(Guide(ahead_m=ahead)).act(None) == FORWARD
    assert FullSweep(Guide(ahead_m=ahead)).act(None) == RIGHT
    assert FullSweep(Guide(near=True, success=True)).act(None) == STOP
    assert FullSweep(Guide(near=True, bearing_rad=1.0)).act(None) == LEFT


def lamp(column: int) -> dict[str, NDArray[np.uint8]]:
    """Noise with one bright disc."""
    picture = np.random.default_rng([3]).integers(100, 110, (96, 192, 3), dtype=np.uint8)
    rows, columns = np.indices((96, 192))
    picture[np.hypot(rows - 48, columns - column) < 6] = 250
    return {"rgb": picture}


@pytest.mark.parametrize(("column", "turns", "move"), [(170, 2, RIGHT), (96, 0, FORWARD), (22, 2, LEFT)])
def test_what_is_salient_is_turned_to_and_walked_to(column: int, turns: int, move: int) -> None:
    walker = GreedySaliency(horizontal_fov_rad=np.radians(79.0), turn_rad=np.radians(15.0))
    # (170.5 - 96) / 96 of half the width: 32.6 degrees, two turns of 15
    assert [walker.act(lamp(column)) for _ in range(turns + 1)] == [move] * turns + [FORWARD]


def test_three_glances_then_the_walker_stops_earlier_where_it_is_blocked() -> None:
    walker = GreedySaliency(horizontal_fov_rad=np.radians(79.0), turn_rad=np.radians(15.0))
    for _ in range(2):
        walker.reset(0)
        assert [walker.act(lamp(96)) for _ in range(4)] == [FORWARD] * 3 + [STOP]  # the picture never changes
    walker.reset(0)
    moves = [walker.act(lamp(94 + k % 3)) for k in range(25)]
    assert moves == [FORWARD] * 24 + [STOP]
