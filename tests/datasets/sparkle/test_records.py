"""Sets as files: the same bytes from the same seed, balance, splits apart, and what evaluation and training read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from allocentric.core.config import load_recipe
from allocentric.core.errors import UserError
from allocentric.core.records import item_from_record, parse_json
from allocentric.core.types import Choice, Item, Number, Order
from allocentric.datasets import chat
from allocentric.datasets.sparkle.board import Settings as BoardSettings
from allocentric.datasets.sparkle.records import BASIC, TASKS, Recipe, Split, write_set
from allocentric.datasets.sparkle.steps import replay
from allocentric.eval.benchmarks import sparkle
from allocentric.eval.frames import FramesPolicy
from allocentric.train.data import questions
from allocentric.train.recipe import DataSettings

BOTH = ("choice", "open")
SMALL = Recipe(
    splits={
        "easy": Split(boards=8, tasks=("localisation",), forms=("open",), points=(1, 2)),
        "train": Split(boards=24, tasks=BASIC, forms=BOTH),
        "test": Split(boards=24, forms=BOTH),
        "every": Split(boards=4, forms=("choice", "open", "all")),
    },
    board=BoardSettings(cells=8, cell_px=16, points=(5, 6), roads=False, axes=False),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sparkle") / "set"
    write_set(SMALL, made)
    return made


def items_of(file: Path) -> list[Item]:
    return [item_from_record(parse_json(line)) for line in file.read_text().splitlines()]


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_set(SMALL, tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((folder / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)
    with pytest.raises(UserError, match="other settings"):
        write_set(SMALL.model_copy(update={"seed": 1}), tmp_path)


def test_letters_words_and_lengths_are_balanced_and_say_nothing_of_each_other(folder: Path) -> None:
    items = items_of(folder / "test.jsonl")
    for task in TASKS:
        places = Counter(item.gold.index for item in items if item.kind == task and isinstance(item.gold, Choice))
        assert dict(places) == {0: 8, 1: 8, 2: 8}
    for kind in ("direction", "direction_open"):
        words = Counter(item.evidence.label for item in items if item.kind == kind)
        assert set(words.values()) == {3}
        assert len(words) == 8
    lengths = Counter(item.evidence.label for item in items if item.kind == "distance_open")
    assert max(lengths.values()) - min(lengths.values()) <= 1


def test_splits_share_no_board_and_hold_their_tasks(folder: Path) -> None:
    train, test = items_of(folder / "train.jsonl"), items_of(folder / "test.jsonl")
    assert not {item.scene_id for item in train} & {item.scene_id for item in test}
    assert {item.kind.removesuffix("_open") for item in train} == set(BASIC)
    assert {item.kind for item in test} == {*TASKS, *(f"{task}_open" for task in TASKS if "sales" not in task)}
    assert len({item.id for item in train + test}) == len(train + test)
    easy = items_of(folder / "easy.jsonl")
    assert {len(item.extra["points"]) for item in easy} == {1, 2}


def test_the_benchmark_asks_them_with_and_without_pictures(folder: Path) -> None:
    benchmark = sparkle.build(sparkle.Settings(dataset=str(folder / "test.jsonl")))
    items = benchmark.items()
    profile = benchmark.profiles[0]
    assert all(view.image.is_file() for item in items for view in item.views if isinstance(view.image, Path))
    assert all(benchmark.score(item, _right(item), profile).value == 1 for item in items)
    assert benchmark.chance(items[0]) == pytest.approx(1 / 3)
    for count in (0, 1):
        data = {"benchmark": {"name": "sparkle", "dataset": str(folder / "test.jsonl")}}
        asked = questions(DataSettings(**data, frames=FramesPolicy(count=count)), seed=0)  # type: ignore[arg-type]
        assert all(len(asked.prompt(item).views) == count for item in asked.items)
        assert all(asked.score(item, asked.answer(item)).value == 1 for item in asked.items)


def test_steps_hold_on_the_board_and_end_in_the_answer(folder: Path) -> None:
    items = items_of(folder / "every.jsonl")
    assert {item.kind for item in items} >= {"localisation_all", "travelling_salesman"}
    for item in items:
        steps, points = item.evidence.steps, item.extra["points"]
        assert replay(steps, points) == [step.output for step in steps]
        end = steps[-1].output
        match item.kind:
            case "direction" | "localisation":
                told = [(step.inputs["text"], step.output) for step in steps if step.op == "says"]
                assert isinstance(item.gold, Choice)
                assert told == [(text, False) for text in item.choices[: item.gold.index]] + [
                    (item.evidence.label, True)
                ]
            case "direction_open":
                assert end == item.evidence.label
            case "distance" | "shortest_path" | "travelling_salesman":
                assert isinstance(item.gold, Choice)
                assert " - ".join(end) == item.choices[item.gold.index]
            case "distance_open":
                assert isinstance(item.gold, Number)
                assert round(end, 1) == item.gold.value
            case "shortest_path_open":
                assert isinstance(item.gold, Order)
                assert end == pytest.approx(sum(map(math.dist, *_legs(item.gold.labels, points))))
            case _:
                assert [step.output for step in steps] == [points[name] for name in item.evidence.object_ids]


def _legs(
    names: Sequence[str], points: Mapping[str, Sequence[int]]
) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    cells = [points[name] for name in names]
    return cells[:-1], cells[1:]


def test_reasoned_answers_are_asked_alike_in_training_and_evaluation_and_score_one(folder: Path) -> None:
    benchmark = {"name": "sparkle", "dataset": str(folder / "every.jsonl")}
    asked = questions(DataSettings(benchmark=benchmark, profile=sparkle.REASONED, answer="steps"), seed=0)
    evaluated = sparkle.build(sparkle.Settings(dataset=str(folder / "every.jsonl")))
    for item in asked.items:
        assert asked.wording(item) == evaluated.prompt_text(item, sparkle.REASONED)
        said = asked.answer(item)
        assert said.startswith(("A: ", item.evidence.object_ids[-1], *item.evidence.object_ids[:1]))
        assert asked.score(item, said).value == evaluated.score(item, said, sparkle.REASONED).value == 1
    item = next(item for item in asked.items if item.kind == "direction_open")
    seen, origin = item.evidence.object_ids
    cells = {name: f"{name} ({x}, {y})" for name, (x, y) in item.extra["points"].items()}
    assert chat.answer_text(item, "steps").startswith(f"{cells[origin]} {cells[seen]} (")


@pytest.mark.parametrize("answer", ["rationale", "steps"])
def test_items_of_a_file_are_learnt_with_their_derivation(answer: Literal["rationale", "steps"], folder: Path) -> None:
    asked = questions(DataSettings(items=folder / "every.jsonl", answer=answer), seed=0)
    for item in asked.items:
        said = asked.answer(item)
        assert asked.wording(item).endswith(chat.request_of(item, answer))
        assert asked.score(item, said).value == 1
        assert asked.score(item, f"<think>{chat.answer_text(item, 'steps')}").value == 0  # it never came to an end
        if isinstance(item.gold, Choice):  # the steps are right, what they end in is not
            right, wrong = "ABC"[item.gold.index], "BCA"[item.gold.index]
            ends = {"rationale": f"<answer>{right}", "steps": f"The answer is {right}"}
            assert ends[answer] in said
            assert asked.score(item, said.replace(ends[answer], ends[answer][:-1] + wrong)).value == 0


def _right(item: Item) -> str:
    from allocentric.agents.models.scripted import text_from_answer

    return text_from_answer(item.gold)


def test_without_a_set_the_benchmark_says_how_to_make_one() -> None:
    with pytest.raises(UserError, match="make-sparkle"):
        sparkle.build(sparkle.Settings())


def test_what_no_board_can_offer_is_refused_in_one_line(tmp_path: Path) -> None:
    wanted = Recipe(splits={"test": Split(boards=1)}, options=6, board=BoardSettings(points=(3, 3)))
    with pytest.raises(UserError, match="no board in"):
        write_set(wanted, tmp_path)
    assert not (tmp_path / "recipe.yaml").exists()


@pytest.mark.parametrize("name", ["sparkle", "sparkle_tiny"])
def test_shipped_recipes_hold(name: str, repository: Path) -> None:
    load_recipe(repository / "configs" / f"{name}.yaml", Recipe)
