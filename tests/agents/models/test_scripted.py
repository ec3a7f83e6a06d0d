"""Baselines say what they promise, whatever else is asked."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from allocentric.agents.models import scripted
from allocentric.core.scoring import mean_relative_accuracy
from allocentric.core.types import Answer, Choice, Direction, Item, Number, Order, Prompt, Span, Text


def item(item_id: str, gold: Answer, *, kind: str = "k", choices: tuple[str, ...] = ()) -> Item:
    return Item(id=item_id, kind=kind, prompt="?", choices=choices, gold=gold, scene_id="s", source="test")


def answers(policy: Any, items: list[Item], **settings: Any) -> list[str]:
    known = {one.id: one for one in items}
    model = scripted.build(scripted.Settings(policy=policy, **settings), items=known)
    responses = model.generate([Prompt(item_id=one.id, text="?") for one in items])
    assert not any(response.error for response in responses)
    return [response.text for response in responses]


OPTIONS = ("sofa", "bed", "lamp", "rug")
CHOICES = [item(f"c{k}", Choice((k * k) % 4), choices=OPTIONS) for k in range(400)]
COUNTS = [item(f"n{k}", Number(float(2 + k % 5)), kind="count") for k in range(200)]
LENGTHS = [item(f"l{k}", Number(0.7 + 0.1 * k, "m"), kind="length") for k in range(60)]


def test_oracle_writes_the_gold() -> None:
    golds = [Choice(1), Number(3.4), Number(5.0), Number(1e-7), Number(0.1 + 0.2), Number(12345678.0), Text("sofa")]
    golds += [Order(("chair", "table")), Direction(0.5, -1.0), Span(1.0, 2.5)]
    expected = ["B", "3.4", "5", "0.0000001", "0.30000000000000004", "12345678", "sofa"]
    expected += ["chair, table", "0.5, -1", "1, 2.5"]
    assert answers("oracle", [item(str(k), gold, choices=OPTIONS) for k, gold in enumerate(golds)]) == expected


def test_random_options_are_uniform_and_numbers_span_the_golds() -> None:
    counts = Counter(answers("random", CHOICES))
    assert set(counts) == set("ABCD")
    assert all(65 <= count <= 135 for count in counts.values())  # 100 expected, 4 standard deviations
    assert set(answers("random", COUNTS)) == {"2", "3", "4", "5", "6"}
    drawn = [float(text) for text in answers("random", LENGTHS)]
    assert 0.7 <= min(drawn) < 1.5 < 5.5 < max(drawn) <= 6.6
    texts = [item(str(k), Text(("left", "right")[k % 2])) for k in range(40)]
    assert set(answers("random", texts)) == {"left", "right"}


def test_random_depends_on_seed_and_id_only() -> None:
    everything = CHOICES + COUNTS + LENGTHS
    first = dict(zip((one.id for one in everything), answers("random", everything, seed=7), strict=True))
    backwards = everything[::-1]
    assert [first[one.id] for one in backwards] == answers("random", backwards, seed=7)
    assert answers("random", CHOICES, seed=7) != answers("random", CHOICES, seed=8)
    model = scripted.build(scripted.Settings(policy="random", seed=7), items={one.id: one for one in everything})
    assert model.generate([Prompt(item_id="c5", text="?")])[0].text == first["c5"]


def test_constant() -> None:
    assert set(answers("constant", CHOICES)) == {"A"}
    assert set(answers("constant", CHOICES, option=2)) == {"C"}
    assert answers("constant", [item("a", Choice(0), choices=("yes", "no"))], option=3) == ["B"]
    assert set(answers("constant", COUNTS, number=2.5)) == {"2.5"}
    texts = [item(str(k), Text(("right", "left", "right")[k % 3])) for k in range(9)]
    assert set(answers("constant", texts)) == set(answers("constant", texts[::-1])) == {"left"}
    directions = [item("a", Direction(0.5, 0.0)), item("b", Direction(0.25, 0.0), kind="other")]
    assert answers("constant", directions) == answers("oracle", directions)  # each the only one of its kind


def test_frequency_is_the_best_single_answer_of_each_kind() -> None:
    mixed = [item(f"x{k}", Choice(3), kind="other", choices=OPTIONS) for k in range(3)]
    counts = Counter(chr(ord("A") + one.gold.index) for one in CHOICES if isinstance(one.gold, Choice))
    texts = answers("frequency", CHOICES + mixed)
    assert set(texts[:400]) == {counts.most_common(1)[0][0]}
    assert set(texts[400:]) == {"D"}
    golds = np.random.default_rng(0).lognormal(1, 1, 70)
    lengths = [item(str(k), Number(value), kind="length") for k, value in enumerate(golds)]
    said = set(answers("frequency", lengths))
    assert len(said) == 1

    def worth(constant: float) -> float:
        return sum(mean_relative_accuracy(constant, gold) for gold in golds)

    assert worth(float(said.pop())) == pytest.approx(max(worth(gold) for gold in golds))
    assert answers("frequency", [item(str(k), Number(k - 2.0)) for k in range(5)]) == ["0"] * 5


def test_ties_and_unhashable_order_do_not_matter() -> None:
    golds: list[Answer] = [Text("b"), Text("a"), Text("c"), Text("a"), Text("b")]
    assert {scripted.most_frequent(list(order)) for order in itertools.permutations(golds)} == {Text("a")}


def test_an_unknown_item_is_an_error_of_that_prompt() -> None:
    model = scripted.build(scripted.Settings(policy="oracle"), items={"a": item("a", Number(1.0))})
    good, bad = model.generate([Prompt(item_id="a", text="?"), Prompt(item_id="z", text="?")])
    assert good.text == "1"
    assert bad.error == "the oracle baseline was not given the item 'z'"
