"""The rules of hstar-v1 and strict-v1, and the defects of the original that only the first one has."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from allocentric.agents.actions_text import HeadAction, parse_action
from allocentric.core.errors import DataError
from allocentric.core.types import Unreadable
from allocentric.envs.panorama.protocols import Heading, HstarV1, StrictV1, Verdict, distance_to_view
from allocentric.envs.panorama.tasks import Annotation, Task, tasks_of, write_scene
from allocentric.envs.panorama.views import ViewGeometry
from allocentric.envs.panorama_search import NOTHING, PanoramaSearch

VIEW = ViewGeometry(width_px=160, height_px=90, horizontal_fov_rad=math.radians(100.0))


def task(yaw: tuple[float, float], pitch: tuple[float, float] | None = None, start: float = 0.0) -> Task:
    annotation = Annotation(task="find it", yaw=yaw, pitch=pitch, initial_yaw=(start,), level=(0,))
    return tasks_of("scene", Path("panorama.png"), [annotation])[0]


def submitted(protocol: HstarV1 | StrictV1, yaw: float, pitch: float) -> Verdict:
    verdict = protocol.submit(math.radians(yaw), math.radians(pitch))
    assert isinstance(verdict, Verdict)
    return verdict


def begun(kind: type[HstarV1] | type[StrictV1], at: Task) -> HstarV1 | StrictV1:
    protocol = kind(VIEW)
    protocol.begin(at)
    return protocol


def test_defect_a_a_perfect_episode_pays_half() -> None:
    at = task((80, 100), (-10, 10), start=90)
    assert submitted(begun(HstarV1, at), 90, 0).reward == 0.5
    assert submitted(begun(StrictV1, at), 90, 0).reward == 1.0


def test_defect_b_a_window_over_the_seam_forgets_the_pitch() -> None:
    at = task((-5, 5), (-5, 5))
    hstar = begun(HstarV1, at)
    assert (hstar.window_yaw, hstar.window_pitch) == ((330.0, 30.0), (-20.0, 20.0))
    assert submitted(hstar, 0, 90).success
    strict = begun(StrictV1, at)
    strict.rotate(0.0, math.radians(90))
    assert not submitted(strict, 0, 90).success
    assert submitted(begun(StrictV1, at), 0, 19.9).success
    for yaw in (330, 350, 0, 29.9, -29.9):
        assert submitted(begun(StrictV1, at), yaw, 0).success


def test_defect_c_the_claim_is_judged_not_the_head() -> None:
    at = task((80, 100), (-10, 10))
    away = begun(HstarV1, at)
    assert submitted(away, 90, 0).success
    strict = submitted(begun(StrictV1, at), 90, 0)
    assert (strict.success, strict.claim_in_window, strict.claim_in_view) == (False, True, False)
    looking = begun(StrictV1, at)
    looking.rotate(math.radians(45), 0.0)
    assert submitted(looking, 90, 0).success


def test_defect_d_a_path_task_narrows_the_object_tasks_after_it() -> None:
    path, thing = task((100, 110)), task((-5, 5), (-5, 5))
    hstar = HstarV1(VIEW)
    hstar.begin(thing)
    assert hstar.window_yaw == (330.0, 30.0)
    hstar.begin(path)
    hstar.begin(thing)
    assert hstar.window_yaw == (350.0, 10.0)
    strict = StrictV1(VIEW)
    for at in (path, thing):
        strict.begin(at)
    assert submitted(strict, 25, 0).success


def test_defect_e_magnitudes_and_fractions() -> None:
    huge, fraction = (
        "<think>a</think><answer>rotate(100000,0)</answer>",
        "<think>a</think><answer>rotate(-30.5,0)</answer>",
    )
    at = task((80, 100), (-10, 10))
    action = parse_action(huge, "hstar-v1")
    assert isinstance(action, HeadAction)
    hstar, strict = begun(HstarV1, at), begun(StrictV1, at)
    assert hstar.rotate(action.yaw_rad, action.pitch_rad) is None
    assert math.degrees(hstar.heading.yaw_rad) == pytest.approx(100000 % 360)
    assert strict.rotate(action.yaw_rad, action.pitch_rad) == "the yaw of an action lies within ±360°, got 100000°"
    assert strict.heading.yaw_rad == 0.0
    assert isinstance(parse_action(fraction, "hstar-v1"), Unreadable)
    action = parse_action(fraction, "strict-v1")
    assert isinstance(action, HeadAction)
    assert strict.rotate(action.yaw_rad, action.pitch_rad) is None
    assert math.degrees(strict.heading.yaw_rad) == pytest.approx(329.5)


def test_defect_f_an_answer_without_a_thought_counts() -> None:
    text = "<answer>submit(90,0)</answer>"
    assert isinstance(parse_action(text, "hstar-v1"), HeadAction)
    assert isinstance(parse_action(text, "strict-v1"), Unreadable)


def test_defect_g_turns_without_end(panorama_folder: Path) -> None:
    nothing = {"kind": NOTHING, "angles_rad": np.zeros(2)}
    small = {"width_px": 32, "height_px": 18}
    hstar = PanoramaSearch(panorama_folder, protocol="hstar-v1", **small)
    hstar.reset(seed=0)
    assert not any(hstar.step(nothing)[2] or hstar.step(nothing)[3] for _ in range(50))
    strict = PanoramaSearch(panorama_folder, **small)
    strict.reset(seed=0)
    assert [strict.step(nothing)[3] for _ in range(10)] == [False] * 9 + [True]


@pytest.mark.parametrize("protocol", ["hstar-v1", "strict-v1"])
def test_defect_h_a_broken_picture_is_an_error_not_a_failed_task(tmp_path: Path, protocol: str) -> None:
    folder = write_scene(tmp_path, "one", np.zeros((64, 128, 3), dtype=np.uint8), [task((0, 9), (0, 9)).annotation])
    env = PanoramaSearch(tmp_path, protocol=protocol, width_px=32, height_px=18)
    whole = (folder / "panorama.png").read_bytes()
    (folder / "panorama.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"panorama\.png is not a complete picture"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("yaw", "pitch", "window_yaw", "window_pitch"),
    [
        ((100.0, 120.0), (0.0, 10.0), (80.0, 140.0), (-15.0, 25.0)),
        ((100.0, 170.0), (0.0, 50.0), (100.0, 170.0), (0.0, 50.0)),
        ((100.0, 160.0), (60.0, 88.0), (100.0, 160.0), (54.0, 90.0)),
        ((300.0, 40.0), (-80.0, -75.0), (300.0, 40.0), (-90.0, -57.5)),
        ((100.0, 110.0), None, (95.0, 115.0), (-90.0, 90.0)),
        ((100.0, 120.0), None, (100.0, 120.0), (-90.0, 90.0)),
    ],
)
def test_windows_have_the_published_widths(yaw, pitch, window_yaw, window_pitch) -> None:
    hstar, strict = begun(HstarV1, task(yaw, pitch)), begun(StrictV1, task(yaw, pitch))
    assert isinstance(hstar, HstarV1)
    assert (hstar.window_yaw, hstar.window_pitch) == (window_yaw, window_pitch)
    width = (window_yaw[1] - window_yaw[0]) % 360
    middle = sum(window_pitch) / 2
    target = strict.target()
    assert math.degrees(target.yaw_rad) == pytest.approx((window_yaw[0] + width / 2) % 360)
    assert math.degrees(target.pitch_rad) == pytest.approx(middle)
    for off, inside in ((width / 2 - 0.01, True), (width / 2 + 0.01, False)):
        for side in (-1, 1):
            claim = (math.degrees(target.yaw_rad) + side * off) % 360
            strict.begin(task(yaw, pitch, start=claim))
            strict.rotate(0.0, math.radians(middle))
            assert submitted(strict, claim, middle).success == inside


def test_distance_to_a_view_agrees_with_a_search_over_its_pixels() -> None:
    rng = np.random.default_rng(1)
    heading = Heading(1.0, 0.4)
    longitude, latitude = VIEW.directions(heading.pitch_rad)
    yaw = longitude + heading.yaw_rad
    points = np.stack([np.cos(latitude) * np.sin(yaw), np.sin(latitude), np.cos(latitude) * np.cos(yaw)], axis=-1)
    for _ in range(200):
        x = rng.normal(size=3)
        x /= np.linalg.norm(x)
        nearest = math.acos(min(1.0, float((points @ x).max())))
        direction = Heading(math.atan2(x[0], x[2]), math.asin(x[1]))
        assert distance_to_view(VIEW, heading, direction) == pytest.approx(nearest, abs=math.radians(0.6))


def test_pitch_stops_at_the_poles_and_nothing_infinite_moves_the_head() -> None:
    for kind in (HstarV1, StrictV1):
        protocol = begun(kind, task((80, 100), (-10, 10)))
        for _ in range(3):
            assert protocol.rotate(0.0, math.radians(50)) is None
        assert protocol.heading.pitch_rad == pytest.approx(math.pi / 2)
        for bad in (math.nan, math.inf):
            assert isinstance(protocol.rotate(bad, 0.0), str)
            assert isinstance(protocol.submit(0.0, bad), str)


@pytest.mark.parametrize("kind", [HstarV1, StrictV1])
def test_chance_is_the_rate_of_uniform_directions(kind) -> None:
    rng = np.random.default_rng(0)
    for at in (task((350, 10), (-5, 5)), task((80, 100), (10, 70)), task((10, 15)), task((0, 359.5), (-90, 90))):
        protocol = begun(kind, at)
        hits = 0
        for yaw_rad, height in zip(rng.uniform(0, 2 * np.pi, 4000), rng.uniform(-1, 1, 4000), strict=True):
            protocol.begin(at)
            if isinstance(protocol, StrictV1):
                protocol.rotate(yaw_rad - protocol.heading.yaw_rad, math.asin(height))
            verdict = protocol.submit(yaw_rad, math.asin(height))
            hits += isinstance(verdict, Verdict) and verdict.success
        chance = protocol.chance()
        assert hits / 4000 == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 4000) + 1e-9)
