"""The environments by Gymnasium's contract, alone and in vectors; a real photograph from end to end."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from allocentric.core.errors import DataError, SettingsError
from allocentric.envs import register_all
from allocentric.envs.panorama.tasks import Annotation, write_scene
from allocentric.envs.panorama.views import PanoramaStore
from allocentric.envs.panorama_search import NOTHING, ROTATE, SUBMIT, EpisodeOverError, PanoramaSearch

SMALL = {"width_px": 64, "height_px": 36}
IDS = ("allocentric/ObjectSearch-v0", "allocentric/PathSearch-v0")
PROTOCOLS = ("hstar-v1", "strict-v1")

register_all()


def action(kind: int, yaw: float = 0.0, pitch: float = 0.0) -> dict[str, Any]:
    return {"kind": kind, "angles_rad": np.radians([yaw, pitch])}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in ("view", "heading_rad", "instruction"))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gymnasiums_checks_pass(panorama_folder: Path, name: str, protocol: str) -> None:
    made = gymnasium.make(name, folder=panorama_folder, protocol=protocol, render_mode="rgb_array", **SMALL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(made.unwrapped)
    others = [str(one.message) for one in caught if "Box action space" not in str(one.message)]
    assert not others


def test_importing_the_package_registers_nothing_and_the_module_does() -> None:
    code = (
        "import gymnasium, allocentric.envs as e; print([k for k in gymnasium.registry if k.startswith('allo')]); "
        "import allocentric.envs.registered; e.register_all(); print([k for k in gymnasium.registry if 'allo' in k])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    none, some = done.stdout.splitlines()
    assert none == "[]"
    assert all(name in some for name in IDS)


def test_each_id_plays_its_kind(panorama_folder: Path) -> None:
    for name, kind, count in zip(IDS, ("object", "path"), (6, 8), strict=True):
        env = gymnasium.make(name, folder=panorama_folder, **SMALL)
        tasks = env.unwrapped.tasks
        assert len(tasks) == count
        assert {task.annotation.kind for task in tasks} == {kind}


def episode(env: Any, seed: int) -> list[Any]:
    observation, info = env.reset(seed=seed)
    env.action_space.seed(seed)
    out = [(observation, 0.0, False, False, info)]
    while not (out[-1][2] or out[-1][3]) and len(out) < 12:
        out.append(env.step(env.action_space.sample()))
    return out


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_same_seed_same_bytes(panorama_folder: Path, protocol: str) -> None:
    first, second = (PanoramaSearch(panorama_folder, protocol=protocol, **SMALL) for _ in range(2))
    episode(second, seed=99)  # what was played before does not matter
    chosen = set()
    for seed in range(5):
        played, again = episode(first, seed), episode(second, seed)
        assert len(played) == len(again)
        for (a, *rest_a), (b, *rest_b) in zip(played, again, strict=True):
            assert same(a, b)
            assert rest_a == rest_b
        chosen.add(played[0][4]["index"])
    assert len(chosen) > 1


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", IDS)
def test_vectors_play_the_episodes_of_single_environments(panorama_folder: Path, mode: str, name: str) -> None:
    options = {"folder": str(panorama_folder), "max_turns": 3, **SMALL}
    vector = gymnasium.make_vec(name, num_envs=3, vectorization_mode=mode, **options)
    singles = [gymnasium.make(name, **options) for _ in range(3)]
    observations, _ = vector.reset(seed=7)
    alone = [env.reset(seed=7 + index)[0] for index, env in enumerate(singles)]
    over = [False] * 3
    rng = np.random.default_rng(0)
    try:
        for _ in range(12):
            for index in range(3):
                assert same({key: value[index] for key, value in observations.items()}, alone[index])
            actions = [action(int(rng.choice([ROTATE, ROTATE, SUBMIT])), *rng.uniform(-90, 90, 2)) for _ in range(3)]
            stacked = {key: np.stack([one[key] for one in actions]) for key in ("kind", "angles_rad")}
            observations, rewards, terminated, truncated, _ = vector.step(stacked)
            for index, env in enumerate(singles):
                if over[index]:  # the next step starts the next episode
                    alone[index], over[index] = env.reset()[0], False
                    assert rewards[index] == 0
                    continue
                alone[index], reward, *ends, _ = env.step(actions[index])
                assert (rewards[index], terminated[index], truncated[index]) == (reward, *ends)
                over[index] = any(ends)
    finally:
        vector.close()


def test_seeds_number_the_tasks_of_hstar_and_options_choose_in_both(panorama_folder: Path) -> None:
    hstar = PanoramaSearch(panorama_folder, protocol="hstar-v1", **SMALL)
    count = len(hstar.tasks)
    assert [hstar.reset(seed=seed)[1]["index"] for seed in range(count + 2)] == [*range(count), 0, 1]
    strict = PanoramaSearch(panorama_folder, **SMALL)
    assert [strict.reset(options={"task": k})[1]["index"] for k in range(count)] == list(range(count))
    with pytest.raises(SettingsError, match="there is no task 99; the folder holds 14"):
        strict.reset(options={"task": 99})


def test_turning_and_submitting(panorama_folder: Path) -> None:
    env = PanoramaSearch(panorama_folder, **SMALL)
    observation, info = env.reset(options={"task": 2})  # find the clé, from behind
    assert observation["instruction"] == "find the clé"
    assert (info["scene_id"], info["kind"], info["level"], info["protocol"]) == ("one", "object", 2, "strict-v1")
    _, reward, terminated, _, info = env.step(action(ROTATE, 170))
    assert (reward, terminated, info["valid"], info["turns"]) == (0.0, False, True, 1)
    observation, *_, info = env.step(action(NOTHING))
    assert (info["valid"], info["problem"]) == (False, "no action")
    np.testing.assert_allclose(np.degrees(observation["heading_rad"]), [350, 0])
    _, reward, terminated, truncated, info = env.step(action(SUBMIT, 0, 0))
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    with pytest.raises(EpisodeOverError, match="the episode is over"):
        env.step(action(ROTATE, 10))


def test_the_cross_marks_the_centre(panorama_folder: Path) -> None:
    with_cross = PanoramaSearch(panorama_folder, **SMALL).reset(options={"task": 0})[0]["view"]
    without = PanoramaSearch(panorama_folder, cross=False, **SMALL).reset(options={"task": 0})[0]["view"]
    changed = np.argwhere((with_cross != without).any(axis=-1))
    assert {tuple(pixel) for pixel in changed} <= {(18, c) for c in range(22, 43)} | {(r, 32) for r in range(8, 29)}
    assert tuple(with_cross[18, 32]) == (0, 255, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "hstar"}, "unknown protocol 'hstar'; did you mean 'hstar-v1'"),
        ({"protocol": "hstar-v1", "max_turns": 5}, "hstar-v1 has no max_turns"),
        ({"widht_px": 5}, "unknown setting 'widht_px'; did you mean 'width_px'"),
        ({"height_px": 2}, "height_px: input should be greater than or equal to 16, got 2"),
    ],
)
def test_wrong_settings_are_one_line(panorama_folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        PanoramaSearch(panorama_folder, **settings)


def test_wrong_actions_and_folders_are_one_line(panorama_folder: Path, tmp_path: Path) -> None:
    env = PanoramaSearch(panorama_folder, **SMALL)
    with pytest.raises(EpisodeOverError, match="call reset"):
        env.step(action(ROTATE))
    env.reset(seed=0)
    for wrong in ({"kind": 0}, {"kind": 7, "angles_rad": (0, 0)}, {"kind": 0, "angles_rad": (0,)}, "rotate(1,2)"):
        with pytest.raises(SettingsError, match="action"):
            env.step(wrong)
    with pytest.raises(SettingsError, match="needs the folder"):
        gymnasium.make(IDS[0])
    write_scene(tmp_path, "x", np.zeros((64, 128, 3), dtype=np.uint8), [Annotation(task="go", yaw=(1, 2))])
    with pytest.raises(DataError, match="holds no object task"):
        gymnasium.make(IDS[0], folder=tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_real_photograph_from_end_to_end(shared_data: Path, tmp_path: Path, protocol: str) -> None:
    photograph = shared_data / "panorama" / "examplepano.jpg"
    if not photograph.is_file():
        pytest.skip(f"{photograph} is not here")
    sun = Annotation(task="look at the sky", yaw=(-10, 20), pitch=(50, 90), level=(1, 2, 2, 2))
    behind = Annotation(task="turn round", yaw=(170, 190), initial_yaw=(0,), level=(3,))
    write_scene(tmp_path, "example", photograph, [sun, behind])
    store = PanoramaStore()
    env = PanoramaSearch(tmp_path, protocol=protocol, store=store, width_px=320, height_px=240)
    for index in range(len(env.tasks)):
        observation, _ = env.reset(options={"task": index})
        assert 20 < observation["view"].mean() < 235
        target, heading = env.target(), observation["heading_rad"]
        turn = np.array([math.remainder(target.yaw_rad - heading[0], 2 * np.pi), target.pitch_rad])
        env.step({"kind": ROTATE, "angles_rad": turn})
        _, reward, terminated, _, info = env.step({"kind": SUBMIT, "angles_rad": np.array(target)})
        assert (terminated, info["success"], info["claim_in_view"]) == (True, True, True)
        assert reward == (0.5 if protocol == "hstar-v1" else 1.0)
