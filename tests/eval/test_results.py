"""Summaries: what is counted, what is left out, what chance is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from allocentric.core.stats import cluster_weights, percentile_interval
from allocentric.core.types import Response, Score, Unreadable
from allocentric.eval import results
from allocentric.eval.results import Bootstrap, ScoredRow, cell_names, score_row, summaries

PROFILE = "first-letter@0"
SETTINGS = Bootstrap(replicates=300)


@pytest.fixture
def benchmark(fake):
    return fake.build(fake.Settings(scenes=8))


def summary(benchmark, row: ScoredRow) -> Mapping[str, Any]:
    return summaries(benchmark, benchmark.items(), {("m", PROFILE): row}, SETTINGS)["m", PROFILE]


def test_unreadable_failed_and_left_out_are_three_things(benchmark):
    items = benchmark.items()
    scores = [Score(value=1.0, answer=item.gold) for item in items]
    scores[0] = Score(value=0.0, answer=Unreadable("mumbling"))
    scores[1] = Score(value=None, answer=items[1].gold)
    result = summary(benchmark, ScoredRow(scores=(*scores[:-1], None)))
    assert (result["unreadable"], result["left_out"], result["unanswered"]) == (1, 1, 1)
    assert result["overall"]["n"] == len(items) - 2
    assert result["cells"]["size"]["unreadable"] == 1
    assert result["overall"]["score"] < 100


def test_both_denominators_where_items_are_left_out(benchmark):
    items = benchmark.items()
    scores = [Score(value=1.0, answer=item.gold) for item in items]
    kept = summary(benchmark, ScoredRow(scores=tuple(scores)))
    assert kept["others"] == {}
    left_out = next(index for index, item in enumerate(items) if item.kind == "size")
    scores[left_out] = Score(value=None, answer=Unreadable("empty"))
    result = summary(benchmark, ScoredRow(scores=tuple(scores)))
    sizes = sum(item.kind == "size" for item in items)
    assert result["overall"]["score"] == 100
    assert result["others"]["all_items"]["score"] == pytest.approx(100 * (1 + (sizes - 1) / sizes) / 2)
    assert result["others"]["all_items"]["low"] < result["others"]["all_items"]["score"]
    assert (result["overall"]["n"], result["others"]["all_items"]["n"]) == (len(items) - 1, len(items))


def test_failed_responses_have_no_score(benchmark):
    items = benchmark.items()
    responses = {
        items[1].id: Response(text="A"),
        items[2].id: Response(text="A", finish_reason="error", error="HTTP 500"),
    }
    row = score_row(benchmark, items, responses, PROFILE)
    assert [score is None for score in row.scores[:4]] == [True, False, True, True]


def test_nothing_answered_is_no_number(benchmark):
    result = summary(benchmark, ScoredRow(scores=(None,) * len(benchmark.items())))
    assert result["overall"]["score"] is None
    assert result["overall"]["low"] is None
    assert result["overall"]["n"] == 0


def plain_overall(kinds: list[str], values: np.ndarray) -> float:
    """The fake benchmark's average: size beside the mean of the two directions."""
    means = {kind: values[[k == kind for k in kinds]].mean() for kind in set(kinds)}
    return (means["size"] + (means["direction_easy"] + means["direction_hard"]) / 2) / 2


def test_interval_equals_one_made_by_drawing_scenes_by_hand(benchmark):
    """Independent route: draw scenes with the same generator, concatenate their items, take the plain aggregate."""
    items = benchmark.items()
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2, len(items)).astype(float)
    row = ScoredRow(scores=tuple(Score(value=float(v), answer=i.gold) for v, i in zip(values, items, strict=True)))
    names = list(dict.fromkeys(item.scene_id for item in items))
    counts = np.random.default_rng([0, 0xB007]).multinomial(8, np.full(8, 1 / 8), size=300)
    replicated = []
    for draw in counts:
        chosen = [
            i for k, n in enumerate(draw) for _ in range(n) for i, x in enumerate(items) if x.scene_id == names[k]
        ]
        replicated.append(plain_overall([items[i].kind for i in chosen], values[chosen]))
    expected = percentile_interval(np.array(replicated), clusters=8)
    cell = summary(benchmark, row)["overall"]
    assert (cell["low"], cell["high"]) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_chance_only_where_every_item_has_one(benchmark):
    items = benchmark.items()
    result = summary(benchmark, score_row(benchmark, items, {}, PROFILE))
    assert result["cells"]["direction"]["chance"] == pytest.approx(37.5)
    assert result["cells"]["size"]["chance"] is None
    assert result["overall"]["chance"] is None


def test_cells_stand_in_the_benchmarks_order(benchmark):
    assert cell_names(benchmark, ["direction_hard", "size", "unheard_of"]) == ["size", "direction", "unheard_of"]


def test_sums_over_scenes_give_the_replicates_of_weights_over_items(fake):
    """The interval by its definition: every replicate weighs items by how often their scene was drawn."""
    benchmark = fake.build(fake.Settings(scenes=9))
    items = benchmark.items()
    row = score_row(benchmark, items, {item.id: Response(text="A") for item in items}, PROFILE)
    settings = Bootstrap(replicates=300, seed=3)
    summary = summaries(benchmark, items, {("m", "p"): row}, settings)["m", "p"]
    sums = benchmark.composite(items, row.values)
    scenes = [item.scene_id for item in items]
    weights = np.concatenate(list(cluster_weights(scenes, replicates=300, seed=3)))
    interval = percentile_interval(sums.combine(weights @ sums.parts)["overall"], clusters=9)
    assert summary["overall"]["low"] == pytest.approx(100 * interval.low, abs=1e-6)
    assert summary["overall"]["high"] == pytest.approx(100 * interval.high, abs=1e-6)


def test_equal_scenes_drawn_together_give_the_same_distribution(fake, monkeypatch):
    benchmark = fake.build(fake.Settings(scenes=1))
    kinds = benchmark.items()
    items = [replace(kinds[k % 6], id=str(k), scene_id=str(k)) for k in range(600)]
    said = {item.id: Response(text="AB13"[k % 4]) for k, item in enumerate(items)}
    rows = {("m", "p"): score_row(benchmark, items, said, PROFILE)}
    apart = summaries(benchmark, items, rows, Bootstrap(replicates=4000))["m", "p"]["overall"]
    monkeypatch.setattr(results, "_MANY_SCENES", 10)
    together = summaries(benchmark, items, rows, Bootstrap(replicates=4000))["m", "p"]["overall"]
    assert together["score"] == apart["score"]
    width = apart["high"] - apart["low"]
    assert width > 0
    for end in ("low", "high"):
        assert together[end] == pytest.approx(apart[end], abs=0.1 * width)
