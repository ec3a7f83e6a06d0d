"""Dialogues: turns in order, the model's own answers in the history, a failed turn ends its dialogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allocentric.core.catalog import MODELS, Catalog
from allocentric.core.config import Settings, settings_from_mapping
from allocentric.core.errors import DataError, UserError
from allocentric.core.progress import SilentProgress
from allocentric.core.runlog import read_samples
from allocentric.core.types import Prompt, Response
from allocentric.eval.benchmarks import ost_bench
from allocentric.eval.dialogues import dialogues
from allocentric.eval.honesty.rows import check_run
from allocentric.eval.recipe import EvalRecipe, plan
from allocentric.eval.run import evaluate
from allocentric.eval.work.crew import Workers

KIND = "Agent_visible_info-quantity(Counting)"


def record(scan: str, turn: int) -> dict[str, Any]:
    return {
        "scan_id": scan, "turn": turn, "new_observations": [f"{scan}/{turn}.jpg"], "type": KIND, "option": [],
        "user_message": f"{scan}: turn {turn}?", "answer": turn + 1, "system_prompt": "You walk.",
    }  # fmt: skip


@pytest.fixture
def benchmark(tmp_path: Path) -> Any:
    rows = [record("a", 1), record("b", 0), record("a", 0), record("a", 2), record("b", 1)]
    media = tmp_path / "images"
    for row in rows:
        path = media / row["new_observations"][0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = tmp_path / "OST_bench.json"
    path.write_text(json.dumps(rows))
    return ost_bench.build(ost_bench.Settings(dataset=str(path), media=media))


class Recorder:
    name = "recorder"

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.fails = ""
        self.built = 0

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        self.prompts += batch
        return [self._answer(prompt) for prompt in batch]

    def _answer(self, prompt: Prompt) -> Response:
        if prompt.item_id == self.fails:
            return Response(text="", finish_reason="error", error="HTTP 500")
        return Response(text=str(int(prompt.item_id[-1]) + 1))

    @property
    def asked(self) -> list[str]:
        return [prompt.item_id for prompt in self.prompts]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The backend "recorder", which answers every question of `record` right and notes what it was asked."""
    recorder = Recorder()

    def build(settings: Settings, *, items: Any) -> Recorder:
        del settings, items
        recorder.built += 1
        return recorder

    module = SimpleNamespace(Settings=Settings, build=build)
    load, resolve = Catalog.load, Catalog.resolve
    monkeypatch.setattr(Catalog, "load", lambda s, n: module if s is MODELS and n == "recorder" else load(s, n))
    monkeypatch.setattr(Catalog, "resolve", lambda s, n: n if s is MODELS and n == "recorder" else resolve(s, n))
    return recorder


@pytest.fixture
def recipe(benchmark: Any, tmp_path: Path) -> Callable[..., EvalRecipe]:
    dataset = {"dataset": str(tmp_path / "OST_bench.json"), "media": str(tmp_path / "images"), "partial": True}

    def make(dialogue: bool = True, **values: Any) -> EvalRecipe:
        asked = {"name": "ost_bench", "dialogue": dialogue, **dataset}
        base = {"name": "ost", "benchmark": asked, "models": [{"name": "recorder"}], "baselines": False}
        return settings_from_mapping(EvalRecipe, {**base, "replicates": 100, **values}, where="test")

    return make


Make = Callable[..., EvalRecipe]


def test_turns_follow_each_other_with_the_models_own_answers(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    result = evaluate(recipe(), tmp_path / "runs")
    assert model.asked == ["a/0", "b/0", "a/1", "b/1", "a/2"]
    assert model.built == 1
    last = model.prompts[-1]
    assert last.text == "User: a: turn 0?\nAssistant: 1\nUser: a: turn 1?\nAssistant: 2\nUser: a: turn 2?"
    assert [view.image.name for view in last.views] == ["0.jpg", "1.jpg", "2.jpg"]  # type: ignore[union-attr]
    assert model.prompts[0].text == "a: turn 0?"
    assert last.system == "You walk."
    assert [len(prompt.views) for prompt in model.prompts] == [1, 1, 2, 2, 3]
    lines = list(read_samples(result.folder).values())
    assert {line["item"]: line["prompt"] for line in lines}["a/2"] == last.text
    assert (result.exit_code, result.asked) == (0, 5)
    summary = result.results["models"][0]["profiles"][result.results["profile"]]
    assert summary["overall"]["score"] == 100


def test_the_same_questions_alone_are_another_run(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    together = evaluate(recipe(), tmp_path / "runs")
    model.prompts.clear()
    alone = evaluate(recipe(dialogue=False), tmp_path / "runs")
    assert alone.folder != together.folder
    assert model.prompts[-1].text.startswith("You walk.")
    assert not any("Assistant:" in prompt.text for prompt in model.prompts)
    assert model.prompts[0].system is None


def test_a_failed_turn_ends_its_dialogue_and_the_same_command_goes_on(
    recipe: Make, model: Recorder, tmp_path: Path
) -> None:
    model.fails = "a/1"
    hit = evaluate(recipe(), tmp_path / "runs")
    assert model.asked == ["a/0", "b/0", "a/1", "b/1"]
    assert hit.exit_code == 2
    model.fails = ""
    model.prompts.clear()
    assert evaluate(recipe(), tmp_path / "runs").exit_code == 0
    assert model.asked == ["a/1", "a/2"]
    model.prompts.clear()
    assert evaluate(recipe(), tmp_path / "runs").asked == 0
    calm = evaluate(recipe(), tmp_path / "calm")
    assert (hit.folder / "results.json").read_bytes() == (calm.folder / "results.json").read_bytes()


def test_a_dialogue_cut_by_a_crash_continues(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    calm = evaluate(recipe(), tmp_path / "runs")
    samples = calm.folder / "samples.jsonl"
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    (calm.folder / "results.json").unlink()
    model.prompts.clear()
    assert evaluate(recipe(), tmp_path / "runs").asked == 2
    assert model.asked == ["b/1", "a/2"]
    assert samples.read_bytes() == b"".join(lines)


def test_another_earlier_answer_asks_the_later_turns_again(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    """What was said before is part of the question, so of its key."""
    calm = evaluate(recipe(), tmp_path / "runs")
    samples = calm.folder / "samples.jsonl"
    lines = samples.read_text().splitlines(keepends=True)
    samples.write_text(
        "".join(line.replace('"text":"1"', '"text":"7"') if '"a/0"' in line else line for line in lines)
    )
    (calm.folder / "results.json").unlink()
    model.prompts.clear()
    evaluate(recipe(), tmp_path / "runs")
    assert model.asked == ["a/1", "a/2"]
    assert "Assistant: 7" in model.prompts[-1].text


def test_progress_of_dialogues_adds_up(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    class Count(SilentProgress):
        total = done = 0

        def start(self, total: int, label: str) -> None:
            self.total = total

        def advance(self, count: int = 1, status: str = "") -> None:
            self.done += count

    count = Count()
    two = [{"name": "recorder"}, {"name": "scripted", "policy": "oracle"}]
    evaluate(recipe(models=two), tmp_path / "runs", count)
    assert (count.total, count.done) == (10, 10)


@pytest.mark.slow
def test_processes_answer_dialogues_as_one_does(recipe: Make, tmp_path: Path) -> None:
    asked = recipe(models=[{"name": "scripted", "policy": "oracle"}], baselines=True)
    one = evaluate(asked, tmp_path / "one")
    two = evaluate(asked, tmp_path / "two", workers=Workers(count=2))
    assert sorted((one.folder / "samples.jsonl").read_bytes().splitlines()) == sorted(
        (two.folder / "samples.jsonl").read_bytes().splitlines()
    )


def test_what_would_tear_a_dialogue_apart_is_refused(recipe: Make, model: Recorder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tears dialogues apart"):
        plan(recipe(limit=2))
    folder = evaluate(recipe(), tmp_path / "runs").folder
    with pytest.raises(UserError, match="asked as dialogues"):
        check_run(recipe(), folder)
    settings = ost_bench.Settings(dataset="x", dialogue=True, system_prompt=tmp_path / "prompt.txt")
    with pytest.raises(UserError, match="bring their own system prompt"):
        ost_bench.build(settings)


def test_turns_that_only_show_pictures_are_not_asked(tmp_path: Path) -> None:
    rows = [record("a", 0) | {"type": "None"}, record("a", 1)]
    path = tmp_path / "OST_bench.json"
    path.write_text(json.dumps(rows))
    (tmp_path / "a").mkdir()
    for turn in (0, 1):
        (tmp_path / "a" / f"{turn}.jpg").touch()
    (item,) = ost_bench.build(ost_bench.Settings(dataset=str(path), media=tmp_path)).items()
    assert item.id == "a/1"
    assert len(item.views) == 2


def test_items_without_turns_are_refused(benchmark: Any) -> None:
    item = benchmark.items()[0]
    with pytest.raises(DataError, match="has no turn"):
        dialogues([SimpleNamespace(id="x", extra={}, scene_id="s")])  # type: ignore[list-item]
    with pytest.raises(DataError, match="two items have the same turn"):
        dialogues([item, item])
