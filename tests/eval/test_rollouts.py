"""Runs of environments: the table beside chance and baselines, resumed after any death; wrong input in one line."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from allocentric.agents.rollout import play
from allocentric.core.catalog import Catalog
from allocentric.core.config import Settings, settings_from_mapping
from allocentric.core.errors import SettingsError, UserError
from allocentric.core.records import episode_from_record
from allocentric.core.runlog import RunLog, read_samples
from allocentric.core.types import Choice, Episode, Item, Number, Order, Prompt, Response, View
from allocentric.eval.arenas import arena, drawn
from allocentric.eval.episodes import episode_record, read_table, rows_for_people, table_from_records
from allocentric.eval.play.game import make_game
from allocentric.eval.play.results import Results
from allocentric.eval.rollouts import RolloutRecipe, load_rollout_recipe, run_rollouts

CHILD = Path(__file__).parent / "rollout_child.py"
BASELINES = ["random", "submit at start", "greedy saliency", "full sweep", "oracle"]


class ReplySettings(Settings):
    """A model of one sentence."""

    say: str = "<think></think><answer>submit(0,0)</answer>"
    """Every time."""
    fail_every: int = 0
    """Every so manyth prompt fails."""


class Reply:
    name = "reply"
    calls = 0

    def __init__(self, settings: ReplySettings) -> None:
        self._settings = settings

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        out = []
        for _ in batch:
            Reply.calls += 1
            failing = self._settings.fail_every and Reply.calls % self._settings.fail_every == 0
            error = Response(text="", finish_reason="error", error="gone")
            out.append(error if failing else Response(text=self._settings.say, prompt_tokens=9, completion_tokens=3))
        return out


@pytest.fixture(autouse=True)
def reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend `reply` in the catalog of models."""
    module = SimpleNamespace(Settings=ReplySettings, build=lambda settings, items: Reply(settings))
    load, resolve = Catalog.load, Catalog.resolve
    monkeypatch.setattr(Catalog, "load", lambda self, name: module if name == "reply" else load(self, name))
    monkeypatch.setattr(Catalog, "resolve", lambda self, name: name if name == "reply" else resolve(self, name))
    Reply.calls = 0


@pytest.fixture
def make(panorama_folder: Path):
    """recipe(env={...}, models=[...], ...)."""

    def recipe(env: dict[str, Any] | None = None, **values: Any) -> RolloutRecipe:
        base = {"id": "ObjectSearch-v0", "folder": str(panorama_folder), "width_px": 64, "height_px": 36}
        return settings_from_mapping(
            RolloutRecipe, {"name": "test", "env": {**base, **(env or {})}, **values}, where="test"
        )

    return recipe


def test_models_stand_beside_the_baselines_and_chance(make: Any, tmp_path: Path) -> None:
    recipe = make(models=[{"name": "reply", "label": "always ahead"}], pictures=True)
    result = run_rollouts(recipe, tmp_path)
    rows = {row["policy"]: row for row in result.results["policies"]}
    assert list(rows) == ["always ahead", *BASELINES]
    assert [row["baseline"] for row in rows.values()] == [False] + [True] * 5
    assert (result.exit_code, result.played) == (0, 36)
    # one target at the seam from four sides, where straight ahead is right but in view from 0 only; a lamp twice
    assert rows["always ahead"]["overall"]["n"] == 6
    assert rows["always ahead"]["levels"]["easy"]["score"] == 100.0
    assert rows["always ahead"]["levels"]["hard"]["score"] == 0.0
    assert rows["oracle"]["overall"]["score"] == 100.0
    assert rows["oracle"]["overall"]["low"] < 100.0 == rows["oracle"]["overall"]["high"]
    assert rows["oracle"]["overall"]["steps"] == 2.0
    seam = 60 / 360 * math.sin(math.radians(20))
    lamp = 70 / 360 * (math.sin(math.radians(20)) + math.sin(math.radians(30))) / 2
    assert result.results["chance"]["easy"] == pytest.approx(100 * seam)
    assert result.results["chance"]["overall"] == pytest.approx(100 * (4 * seam + 2 * lamp) / 6)
    columns, shown = rows_for_people(result.results)
    assert columns[:3] == ["policy", "success [95 %]", "easy"]
    assert [row[0] for row in shown] == ["always ahead", *[f"{name} (baseline)" for name in BASELINES], "chance"]
    assert all(len(row) == len(columns) for row in shown)
    for name in ("config.yaml", "env.json", "samples.jsonl", "results.json"):
        assert (result.folder / name).is_file()
    samples = list(read_samples(result.folder).values())
    assert len(samples) == 36
    for sample in samples:
        episode = episode_from_record(sample["episode"])
        assert episode.outcome["steps"] == len(episode.steps)
        assert all((result.folder / turn.observation["view"].path).is_file() for turn in episode.steps)
    assert read_table(result.folder)["policies"] == result.results["policies"]


def test_a_finished_run_plays_nothing_and_its_config_is_its_recipe(make: Any, tmp_path: Path) -> None:
    recipe = make(models=[{"name": "reply"}], episodes=3)
    first = run_rollouts(recipe, tmp_path)
    asked = Reply.calls
    again = run_rollouts(recipe, tmp_path)
    assert (again.played, again.results, Reply.calls) == (0, first.results, asked)
    from_config = run_rollouts(load_rollout_recipe(first.folder / "config.yaml"), tmp_path)
    assert (from_config.folder, from_config.played) == (first.folder, 0)
    other = run_rollouts(make(models=[{"name": "reply"}], episodes=3, window=1), tmp_path)
    assert other.folder != first.folder


def test_failed_episodes_are_no_results_and_are_played_again(make: Any, tmp_path: Path) -> None:
    recipe = make(models=[{"name": "reply", "fail_every": 3}], batch_size=2)
    first = run_rollouts(recipe, tmp_path)
    row = first.results["policies"][0]
    assert (row["failed"], row["overall"]["n"]) == (2, 4)
    assert (first.exit_code, first.results["state"]) == (2, "finished-with-failures")
    second = run_rollouts(recipe, tmp_path)
    assert (second.played, second.results["policies"][0]["failed"]) == (2, 0)
    assert second.exit_code == 0
    with pytest.raises(UserError, match="failed 2 times in a row, last: gone; episodes so far are kept"):
        run_rollouts(make(models=[{"name": "reply", "fail_every": 1}], stop_after_failures=2), tmp_path)


def child(folder: Path, runs: Path, point: int = -1, length: int = 0) -> int:
    command = [sys.executable, str(CHILD), str(folder), str(runs), str(point), str(length)]
    return subprocess.run(command, timeout=60, check=False).returncode


def without_clock(folder: Path) -> Any:
    results = json.loads((folder / "results.json").read_text())
    for row in results["policies"]:
        for cell in (row["overall"], *row["levels"].values()):
            del cell["seconds"]
    return results


@pytest.mark.slow
def test_killed_at_writes_and_continued_gives_the_same(panorama_folder: Path, tmp_path: Path) -> None:
    assert child(panorama_folder, tmp_path / "whole") == 0
    (whole,) = (tmp_path / "whole").iterdir()
    runs = tmp_path / "killed"
    for point, length in [(4, 300), (10, 1)]:
        assert child(panorama_folder, runs, point, length) == -signal.SIGKILL
    assert child(panorama_folder, runs) == 0
    (folder,) = runs.iterdir()
    assert folder.name == whole.name
    assert without_clock(folder) == without_clock(whole)
    assert (folder / "samples.jsonl").read_bytes().count(b"\n") == 5 * 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"env": {"id": "ObjectSearch"}}, "unknown environment 'ObjectSearch'; did you mean"),
        ({"env": {"protocol": "hstar-v1"}}, "no turn limit of their own; set max_turns"),
        ({"env": {"widht_px": 3}}, "unknown setting 'widht_px'"),
        ({"reader": "strict"}, "unknown action parser 'strict'"),
        ({"form": "tools", "reader": "hstar-v1"}, "unknown tool-call parser 'hstar-v1'"),
        ({"baselines": False}, "names no models and has baselines: false"),
        ({"models": [{"name": "reply"}, {"name": "reply"}]}, "two models are called 'reply'"),
        ({"models": [{"name": "reply"}], "budget": {"context_tokens": 200}}, "an episode does not fit the context"),
        ({"models": [{"name": "reply"}], "budget": {"context_tokens": 9, "family": "qwen"}}, "unknown family 'qwen'"),
    ],
)
def test_wrong_recipes_are_one_line(make: Any, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run_rollouts(make(**values), tmp_path)
    assert "\n" not in str(caught.value)


def test_hstar_is_played_with_a_limit_and_plans_are_logged(make: Any, tmp_path: Path) -> None:
    recipe = make(
        env={"protocol": "hstar-v1"}, max_turns=4, reader="hstar-v1", models=[{"name": "reply", "say": "?"}],
        budget={"context_tokens": 32768}, max_new_tokens=64,
    )  # fmt: skip
    result = run_rollouts(recipe, tmp_path)
    row = result.results["policies"][0]
    assert (row["overall"]["steps"], row["overall"]["completed"], row["overall"]["unreadable"]) == (4.0, 0.0, 24)
    assert result.results["adapter"] == "head/text/hstar-v1"
    assert "3 pictures of 64x36 at" in (result.folder / "log.txt").read_text()
    assert result.results["chance"]["overall"] > 0


def test_walks_and_questions_have_their_own_baselines(tmp_path: Path) -> None:
    env = {"id": "Explore-v0", "scenes": {"name": "procedural", "rooms": [2, 2]}, "sensors": ["position"]}
    recipe = settings_from_mapping(RolloutRecipe, {"name": "walk", "env": env, "episodes": 3}, where="test")
    result = run_rollouts(recipe, tmp_path)
    rows = {row["policy"]: row["overall"] for row in result.results["policies"]}
    assert list(rows) == ["stop at start", "random", "full sweep", "oracle"]
    assert (rows["oracle"]["score"], rows["full sweep"]["score"], rows["stop at start"]["score"]) == (
        100.0,
        100.0,
        0.0,
    )
    assert rows["oracle"]["means"]["spl"] > 85.0 > rows["full sweep"]["means"]["spl"] > 10.0
    assert rows["stop at start"]["means"]["spl"] < 10.0
    assert result.results["chance"] == {}
    assert result.results["left_out"] == {"greedy saliency": "needs the sensor rgb"}
    columns, shown = rows_for_people(result.results)
    assert shown[-2] == ["greedy saliency (left out: needs the sensor rgb)", *["-"] * (len(columns) - 1)]


def test_where_there_are_pictures_the_most_salient_is_walked_to(tmp_path: Path) -> None:
    env = {"id": "Explore-v0", "scenes": {"name": "procedural", "rooms": [1, 1]}, "width_px": 64, "height_px": 48}
    recipe = settings_from_mapping(RolloutRecipe, {"name": "walk", "env": env, "episodes": 1}, where="test")
    results = run_rollouts(recipe, tmp_path).results
    rows = {row["policy"]: row["overall"] for row in results["policies"]}
    assert list(rows) == ["stop at start", "random", "greedy saliency", "full sweep", "oracle"]
    assert rows["greedy saliency"]["completed"] == 100.0
    assert results["left_out"] == {}


QUESTION_BASELINES = ["random", "constant", "frequency", "oracle"]


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """A set of 300 streams with one question each, of four options, the first of them right most often."""
    views = [(View(image=np.zeros((8, 16, 3), np.uint8), time_s=0.0),) for _ in range(300)]
    rng = np.random.default_rng(0)
    items = [
        Item(
            id=f"i{k}",
            kind="k",
            prompt="Which?",
            choices=("a", "b", "c", "d"),
            gold=Choice(int(rng.choice(4, p=[0.1, 0.1, 0.7, 0.1]))),
            scene_id=f"procedural-{k:06d}",
            source="test",
            views=views[k],
        )
        for k in range(300)
    ]
    monkeypatch.setattr("allocentric.eval.arenas._items_of", lambda folder: items if folder else ())
    return items


def test_streams_have_blind_answers_and_the_oracle_beside_chance(choices: list[Item], tmp_path: Path) -> None:
    env = {"id": "StreamQA-v0", "items": "set", "width_px": 16, "height_px": 8, "frames_per_turn": 1}
    recipe = settings_from_mapping(RolloutRecipe, {"name": "stream", "env": env}, where="test")
    results = run_rollouts(recipe, tmp_path).results
    rows = {row["policy"]: row["overall"] for row in results["policies"]}
    assert list(rows) == QUESTION_BASELINES
    assert results["chance"] == {"overall": 25.0}
    assert rows["random"]["low"] < 25.0 < rows["random"]["high"]
    assert rows["random"]["n"] == 300
    right = [100 * float(np.mean([item.gold == Choice(k) for item in choices])) for k in (0, 2)]
    assert [rows["constant"]["score"], rows["frequency"]["score"]] == pytest.approx(right)
    assert (rows["oracle"]["score"], rows["oracle"]["means"]["score"]) == (100.0, 100.0)
    assert (results["adapter"], results["left_out"]) == (None, {})
    _, shown = rows_for_people(results)
    assert [row[0] for row in shown] == [*[f"{name} (baseline)" for name in QUESTION_BASELINES], "chance"]


def test_a_stream_is_a_success_where_all_of_it_is_right(choices: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    views = choices[0].views
    order = replace(choices[1], id="order", gold=Order(("x", "y")), choices=())
    shared = [replace(item, scene_id="s", views=views) for item in (*choices[:2], order)]
    monkeypatch.setattr("allocentric.eval.arenas._items_of", lambda folder: shared[:2] if folder == "two" else shared)
    place = arena({"id": "StreamQA-v0", "items": "two"})
    (start,) = place.starts(None, 0)
    assert place.chance(start) == 1 / 16
    env = place.make()
    policies = place.baselines(env)
    assert place.turn_limit is not None
    outcomes = {name: play(policies[name], env, start, max_turns=place.turn_limit).outcome for name in policies}
    assert (outcomes["oracle"]["success"], outcomes["oracle"]["score"], outcomes["oracle"]["steps"]) == (True, 1.0, 2)
    half = outcomes["constant"]["score"]
    assert half == np.mean([item.gold == Choice(0) for item in shared[:2]])
    assert outcomes["constant"]["success"] == (half == 1.0)
    assert outcomes["random"]["scene_id"] == "s"
    mixed = arena({"id": "StreamQA-v0", "items": "three"})
    assert mixed.chance(mixed.starts(None, 0)[0]) is None
    assert list(mixed.baselines(mixed.make())) == QUESTION_BASELINES


def test_questions_of_walkers_are_asked_once_each_and_answered_blindly(choices: list[Item], tmp_path: Path) -> None:
    del choices[6:]
    choices[5] = replace(choices[5], kind="n", choices=(), gold=Number(3.0))
    env = {"id": "Explore-v0", "scenes": {"name": "procedural", "rooms": [1, 1]}, "sensors": [], "task": "question"}
    recipe = settings_from_mapping(RolloutRecipe, {"name": "ask", "env": {**env, "items": "set"}}, where="test")
    result = run_rollouts(recipe, tmp_path)
    rows = {row["policy"]: row["overall"] for row in result.results["policies"]}
    assert list(rows) == QUESTION_BASELINES
    assert (result.results["levels"], result.results["chance"]) == (["k", "n"], {"k": 25.0})
    assert (rows["oracle"]["score"], rows["oracle"]["n"], rows["oracle"]["steps"]) == (100.0, 6, 1.0)
    oracle = [r["episode"] for r in read_samples(result.folder).values() if r["policy"] == "oracle"]
    told = [episode_from_record(episode).steps[-1].info["goal"] for episode in oracle]
    assert sorted(told) == sorted(item.id for item in choices)


def test_players_of_streams_see_the_baselines_too(choices: list[Item], tmp_path: Path) -> None:
    game = make_game("StreamQA", {"items": "set", "width_px": 16, "height_px": 8}, episodes=2, seed=0)
    with RunLog(tmp_path / "run", {"env": "StreamQA"}) as log:
        results = Results(log, game)
        while (state := results.advance())["missing"]:
            pass
    assert [row["policy"] for row in state["table"]["policies"]] == QUESTION_BASELINES
    assert state["table"]["policies"][-1]["overall"]["score"] == 100.0
    assert state["table"]["chance"] == {"overall": 25.0}


def test_episodes_are_drawn_without_replacement() -> None:
    assert drawn(5, None, 0) == drawn(5, 9, 0) == [0, 1, 2, 3, 4]
    chosen = drawn(1000, 100, 3)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 100
    assert chosen == drawn(1000, 100, 3) != drawn(1000, 100, 4)
    assert set(drawn(1000, 50, 3)) < set(chosen)  # more episodes keep those that were played


def record(policy: str, number: int, success: bool, scene: str, **outcome: Any) -> dict[str, Any]:
    facts = {"success": success, "completed": True, "steps": 2, "scene_id": scene, **outcome}
    episode = Episode(steps=(), seed=0, outcome=facts)
    return episode_record(policy=policy, env="e", number=number, episode=episode, seconds=1.0)


def test_episodes_of_one_scene_are_not_independent() -> None:
    alone = table_from_records([record("a", k, k % 2 == 0, f"scene-{k}") for k in range(40)])
    shared = table_from_records([record("a", k, k < 20, f"scene-{k // 10}") for k in range(40)])
    widths = [
        table["policies"][0]["overall"]["high"] - table["policies"][0]["overall"]["low"] for table in (alone, shared)
    ]
    assert [table["policies"][0]["overall"]["score"] for table in (alone, shared)] == [50.0, 50.0]
    assert widths[0] == pytest.approx(2 * 15.1, abs=1.0)  # Wilson, 20 of 40
    assert widths[1] > 2 * widths[0]


def test_means_do_not_mislead_where_some_episodes_were_cut_off() -> None:
    cut = table_from_records([record("a", 0, True, "x", spl=1.0, soft_spl=0.9), record("a", 1, False, "y")])
    assert cut["policies"][0]["overall"]["means"] == {"spl": 50.0}
    with pytest.raises(SettingsError, match="expected the `id` of an environment"):
        arena({})
