"""What the policies do with an observation, without any environment."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from allocentric.agents.search_baselines import (
    ROTATE,
    SUBMIT,
    FullSweep,
    GreedySaliency,
    Oracle,
    SubmitAtStart,
    UniformDirection,
    saliency,
    turn_to,
)

FOV_RAD = math.radians(100.0)


def seen(yaw: float, pitch: float, view: np.ndarray | None = None) -> dict[str, Any]:
    blank = np.full((90, 160, 3), 128, dtype=np.uint8)
    return {"view": blank if view is None else view, "heading_rad": np.radians([yaw, pitch]), "instruction": "find it"}


def moved(observation: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    assert action["kind"] == ROTATE
    yaw, pitch = np.degrees(observation["heading_rad"] + action["angles_rad"])
    return seen(yaw % 360, pitch)


def test_turns_take_the_shorter_way() -> None:
    np.testing.assert_allclose(
        np.degrees(turn_to(np.radians([350, 10]), (math.radians(20), 0.0))["angles_rad"]), [30, -10]
    )


def test_submit_at_start_and_oracle() -> None:
    action = SubmitAtStart().act(seen(30, 0))
    assert action["kind"] == SUBMIT
    np.testing.assert_allclose(np.degrees(action["angles_rad"]), [30, 0])
    oracle = Oracle(lambda: (math.radians(200), math.radians(-20)))
    oracle.reset(0)
    there = moved(seen(30, 0), oracle.act(seen(30, 0)))
    np.testing.assert_allclose(np.degrees(there["heading_rad"]), [200, -20])
    last = oracle.act(there)
    assert last["kind"] == SUBMIT
    np.testing.assert_allclose(np.degrees(last["angles_rad"]), [200, -20])


def test_uniform_directions_cover_the_sphere_evenly_and_repeat_with_the_seed() -> None:
    policy, heights, yaws = UniformDirection(), [], []
    for seed in range(2000):
        policy.reset(seed)
        where = moved(seen(0, 0), policy.act(seen(0, 0)))
        assert policy.act(where)["kind"] == SUBMIT
        yaws.append(float(where["heading_rad"][0]))
        heights.append(math.sin(where["heading_rad"][1]))
    for sample, high in ((yaws, 2 * np.pi), (np.array(heights) + 1, 2.0)):
        counts, _ = np.histogram(sample, bins=10, range=(0, high))
        assert ((counts - 200) ** 2 / 200).sum() < 30  # chi square, 9 degrees of freedom
    policy.reset(5)
    first = policy.act(seen(0, 0))["angles_rad"]
    policy.reset(5)
    np.testing.assert_array_equal(policy.act(seen(0, 0))["angles_rad"], first)


def test_the_sweep_sees_every_direction() -> None:
    headings = []
    policy = FullSweep(lambda: None)
    policy.reset(0)
    now = seen(37, 0)
    for _ in range(12):
        headings.append(now["heading_rad"])
        now = moved(now, policy.act(now))
    rng = np.random.default_rng(0)
    for _ in range(500):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        if abs(direction[1]) < math.sin(math.radians(75)):
            assert any(shown(direction, heading) for heading in headings)
    found = FullSweep(lambda: (1.0, 0.2)).act(seen(0, 0))
    assert found["kind"] == SUBMIT
    np.testing.assert_allclose(found["angles_rad"], [1.0, 0.2])


def shown(direction: np.ndarray, heading: np.ndarray) -> bool:
    """In a 16:9 view; direction is (right, up, ahead) of yaw 0."""
    yaw, pitch = heading
    about_y, _ = cv2.Rodrigues(np.array([0.0, yaw, 0.0]))
    about_x, _ = cv2.Rodrigues(np.array([-pitch, 0.0, 0.0]))
    x, y, z = (about_y @ about_x).T @ direction
    half = math.tan(FOV_RAD / 2)
    return bool(z > 0 and abs(x) <= half * z and abs(y) <= half * 9 / 16 * z)


@pytest.mark.parametrize(("row", "column"), [(20, 120), (70, 30), (45, 80)])
def test_greedy_saliency_turns_to_the_spot_that_stands_out(row: int, column: int) -> None:
    view = np.full((90, 160, 3), 128, dtype=np.uint8)
    cv2.circle(view, (column, row), 5, (255, 40, 40), -1)
    map_ = saliency(view)
    peak = np.array(np.unravel_index(int(map_.argmax()), map_.shape)) * 160 / 96
    np.testing.assert_allclose(peak, [row, column], atol=6)
    action = GreedySaliency().act(seen(10, 0, view))
    if (row, column) == (45, 80):
        assert action["kind"] == SUBMIT
        return
    focal = 80 / math.tan(FOV_RAD / 2)
    yaw = math.atan((column - 80) / focal)
    pitch = math.atan2((45 - row) / focal, math.hypot(1, (column - 80) / focal))
    np.testing.assert_allclose(action["angles_rad"], [yaw, pitch], atol=math.radians(5))


def test_greedy_saliency_ends() -> None:
    policy, view = GreedySaliency(), np.full((90, 160, 3), 128, dtype=np.uint8)
    view[10:14, 10:14] = 255
    policy.reset(0)
    kinds = [policy.act(seen(0, 0, view))["kind"] for _ in range(4)]
    assert kinds == [ROTATE, ROTATE, ROTATE, SUBMIT]
