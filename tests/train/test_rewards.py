"""Rewards are scores: against values worked out by hand, and the scorer of the leaderboard."""

from __future__ import annotations

from typing import Any

import pytest

from allocentric.core import parsing, scoring
from allocentric.core.types import Boxes, Choice, Item, Number, Order, Path2D, Score, Text, Unreadable
from allocentric.datasets.chat import answer_text
from allocentric.train.rewards import Rewards, RewardSettings, group_shares, has_form, text_of


def item(gold: Any, choices: tuple[str, ...] = (), kind: str = "k") -> Item:
    return Item(id="a", kind=kind, prompt="?", choices=choices, gold=gold, scene_id="s", source="test")


def core_score(asked: Item, text: str) -> Score:
    return scoring.score(parsing.read_answer(text, asked), asked.gold, option_count=len(asked.choices) or None)


def rewards_of(items: list[Item], *, group: int = 2, tags: bool = False, **settings: Any) -> Rewards:
    return Rewards(RewardSettings(**settings), items=items, score=core_score, tags=tags, group=group)


ITEMS = [
    item(Choice(1), ("left", "right")),
    item(Number(2.0, "m")),
    item(Boxes(((0, 0, 10, 10),))),
    item(Order(("bed", "lamp", "door"))),
    item(Path2D(((0.0, 0.0), (1.0, 0.0)))),
    item(Text("blue")),
]


@pytest.mark.parametrize("asked", ITEMS, ids=lambda one: type(one.gold).__name__)
def test_the_answer_that_is_learnt_is_paid_in_full(asked: Item) -> None:
    said = [[{"role": "assistant", "content": answer_text(asked)}]]
    assert rewards_of([asked]).correct(said, [0]) == [1.0]


def test_partial_answers_are_paid_in_part() -> None:
    by_hand = {
        (1, "2.4"): 0.7,  # off by a fifth (but for rounding): within the tolerances 0.5, 0.45 ... 0.2
        (1, "2.3"): 0.8,  # off by 0.15, which rounds below 1 - 0.85
        (2, "[5, 0, 15, 10]"): 50 / 150,
        (2, "[0, 0, 10, 10], [20, 20, 30, 30]"): 0.5,
        (2, "no box"): 0.0,
        (3, "bed, door, lamp"): 0.0,
        (0, "left or right"): 0.0,
    }
    for (index, text), value in by_hand.items():
        assert rewards_of(ITEMS).correct([text], [index]) == [pytest.approx(value)], text


def test_a_path_is_paid_less_the_further_it_strays() -> None:
    paths = ["(0, 0), (1, 0)", "(0, 0.5), (1, 0.5)", "(0, 2), (1, 2)"]
    paid = rewards_of(ITEMS).correct(paths, [4, 4, 4])
    # Each of two way points is off by 0, 0.5 and 2 m: exp(-mean distance / 1 m).
    assert paid == pytest.approx([1.0, 0.60653, 0.13534], abs=1e-5)


def test_boxes_and_paths_are_read_from_what_models_write() -> None:
    assert parsing.read_boxes("<think>[1,1,1,1]</think> at [0, 1, 2.5, 3] and (4,4,5,5)") == Boxes(
        ((0.0, 1.0, 2.5, 3.0), (4.0, 4.0, 5.0, 5.0))
    )
    assert isinstance(parsing.read_boxes("[5, 0, 1, 1]"), Unreadable)
    assert parsing.read_path("go (0, -1) then (2.5, 3)") == Path2D(((0.0, -1.0), (2.5, 3.0)))
    assert isinstance(parsing.read_path("(a, b)"), Unreadable)


def test_weights_kinds_and_thresholds() -> None:
    items = [item(Choice(0), ("a", "b"), "easy"), item(Number(10.0), kind="hard")]
    paid = rewards_of(items, kinds={"hard": 3.0}, format=0.5)
    assert paid.weights == [1.0, 0.5]
    assert paid.correct(["A", "10"], [0, 1]) == [1.0, 3.0]
    assert rewards_of(items, threshold=0.5).correct(["A", "11", "40"], [0, 1, 1]) == [1.0, 1.0, 0.0]
    only_form = rewards_of(items, correct=0.0, format=1.0)
    assert [function.__name__ for function in only_form.functions] == ["format", "correct"]
    assert only_form.weights == [1.0, 0.0]
    with pytest.raises(ValueError, match="every reward has the weight 0"):
        RewardSettings(correct=0.0)
    with pytest.raises(ValueError, match="free_tokens 9 must be below most_tokens 9"):
        RewardSettings(length=1.0, free_tokens=9, most_tokens=9)


def test_length_is_free_then_falls_to_minus_one() -> None:
    paid = rewards_of(ITEMS, length=1.0, free_tokens=10, most_tokens=20)
    assert paid.length([[0] * n for n in (0, 10, 15, 20, 99)]) == [0.0, 0.0, -0.5, -1.0, -1.0]


def test_the_form_is_tags_or_one_short_line() -> None:
    assert has_form("<think>a</think><answer>B</answer>", tags=True)
    assert not has_form("B", tags=True)
    for text in ("B", " 3.5 ", "front-left"):
        assert has_form(text, tags=False), text
    for text in ("", "a\nb", "<answer>B"):
        assert not has_form(text, tags=False), text


def test_groups_that_teach_nothing_are_counted() -> None:
    values = [1, 1, 0, 0, 0.5, 0.5, 0, 1]
    unreadable = [False, False, True, True, False, False, True, False]
    assert group_shares(values, unreadable, 2) == {
        "equal": 0.75, "all_right": 0.25, "all_wrong": 0.25, "all_unreadable": 0.25,
    }  # fmt: skip
    seen: dict[str, float] = {}
    items = [item(Choice(0), ("a", "b"), "x"), item(Choice(1), ("a", "b"), "y")]
    rewards_of(items).correct(["A", "B", "??", "A"], [0, 0, 1, 1], log_metric=seen.__setitem__)
    assert seen == {
        "score/x": 0.5, "score/y": 0.0, "unreadable": 0.25,
        "groups/equal": 0.5, "groups/all_right": 0.0, "groups/all_wrong": 0.5, "groups/all_unreadable": 0.0,
    }  # fmt: skip


def test_completions_come_as_text_or_messages() -> None:
    assert text_of("a") == text_of([{"role": "assistant", "content": "a"}]) == "a"
    assert text_of([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]) == "ab"
    assert text_of([]) == ""
