"""Dialogues: turns in order, the model's own answers in the history, a failed turn ends its dialogue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allocentric.core.errors import DataError
from allocentric.core.types import Prompt, Response
from allocentric.eval.benchmarks import ost_bench
from allocentric.eval.dialogues import ask_dialogues, dialogues, write_responses

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

    def __init__(self, fails: str = "") -> None:
        self.batches: list[list[Prompt]] = []
        self.fails = fails

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        self.batches.append(list(batch))
        return [self._answer(prompt) for prompt in batch]

    def _answer(self, prompt: Prompt) -> Response:
        if prompt.item_id == self.fails:
            return Response(text="", finish_reason="error", error="HTTP 500")
        return Response(text=f"said at {prompt.item_id}")


def test_turns_follow_each_other_with_the_models_own_answers(benchmark: Any) -> None:
    model = Recorder()
    asked = [item.id for item, _ in ask_dialogues(model, benchmark, benchmark.profiles[0])]
    assert asked == ["a/0", "b/0", "a/1", "b/1", "a/2"]
    last = model.batches[2][0]
    assert last.text == (
        "User: a: turn 0?\nAssistant: said at a/0\nUser: a: turn 1?\nAssistant: said at a/1\nUser: a: turn 2?"
    )
    assert [view.image.name for view in last.views] == ["0.jpg", "1.jpg", "2.jpg"]  # type: ignore[union-attr]
    assert model.batches[0][0].text == "a: turn 0?"
    assert last.system == "You walk."
    assert benchmark.prompt_text(benchmark.items()[0], benchmark.profiles[0]) == "You walk.\na: turn 1?"
    assert [len(view) for view in (model.batches[0][0].views, model.batches[1][1].views)] == [1, 2]


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


def test_a_failed_turn_ends_its_dialogue_alone(benchmark: Any, tmp_path: Path) -> None:
    model = Recorder(fails="a/1")
    path = tmp_path / "answers.jsonl"
    count = write_responses(path, "m", ask_dialogues(model, benchmark, benchmark.profiles[0]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a/0", "b/0", "b/1"]
    assert count == 3
    assert lines[0] == {"id": "a/0", "model": "m", "response": "said at a/0"}


def test_a_response_file_is_scored(benchmark: Any, tmp_path: Path) -> None:
    from allocentric.eval.scored import score

    class Right(Recorder):
        def _answer(self, prompt: Prompt) -> Response:
            return Response(text=str(int(prompt.item_id[-1]) + 1))

    path = tmp_path / "answers.jsonl"
    write_responses(path, "right", ask_dialogues(Right(), benchmark, benchmark.profiles[0]))
    settings = {"name": "ost_bench", "dataset": str(tmp_path / "OST_bench.json"), "partial": True}
    row = score(path, benchmark=settings)["models"][0]["profiles"][benchmark.profiles[0]]
    assert row["overall"]["score"] == 100


def test_items_without_turns_are_refused(benchmark: Any) -> None:
    item = benchmark.items()[0]
    with pytest.raises(DataError, match="has no turn"):
        dialogues([SimpleNamespace(id="x", extra={}, scene_id="s")])  # type: ignore[list-item]
    with pytest.raises(DataError, match="two items have the same turn"):
        dialogues([item, item])
