"""Published averages, against loops and against replicated items."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.stats import cluster_bootstrap
from allocentric.core.types import Choice, Item
from allocentric.eval import aggregation
from allocentric.eval.aggregation import Alongside, Composite, Nested, aggregate
from allocentric.eval.benchmarks._vsi_records import CELLS, PUBLISHED_COUNTS


def item(kind: str, index: int = 0, *, options: int = 4, gold: int = 0, group: str = "") -> Item:
    choices = tuple("abcdefgh"[:options])
    extra = {"group": group or f"{kind}-{index}"}
    return Item(
        id=f"{kind}-{index}", kind=kind, prompt="?", choices=choices, gold=Choice(gold), scene_id="s", source="test",
        extra=extra,
    )  # fmt: skip


def items_of(kinds: Sequence[str]) -> list[Item]:
    return [item(kind, index) for index, kind in enumerate(kinds)]


def _sample(seed: int = 0, count: int = 400) -> tuple[list[Item], np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = [str(kind) for kind in rng.choice(list(CELLS), size=count)]
    return items_of(kinds), rng.integers(0, 11, size=count) / 10


def _mean(items: Sequence[Item], values: np.ndarray, kind: str) -> float:
    return float(np.mean([value for one, value in zip(items, values, strict=True) if one.kind == kind]))


VSI = Nested(cells=CELLS)


def test_overall_is_the_mean_of_eight_cells() -> None:
    items, values = _sample()
    found = aggregate(VSI, items, values)
    means = {kind: _mean(items, values, kind) for kind in CELLS}
    direction = np.mean([means[f"object_rel_direction_{level}"] for level in ("easy", "medium", "hard")])
    others = [mean for kind, mean in means.items() if "direction" not in kind]
    assert len(others) == 7
    assert found["object_rel_direction"] == pytest.approx(direction)
    assert found["overall"] == pytest.approx((sum(others) + direction) / 8)
    assert found["overall"] != pytest.approx(values.mean())


CHOSEN = {"a": "left", "b": "left", "c": "right"}


def _group(one: Item) -> str:
    return str(one.extra["group"])


COMPOSITES: dict[str, Composite] = {
    "macro": Nested(cells=CHOSEN),
    "micro": Nested(cells=CHOSEN, within="micro", across="micro"),
    "weighted": Nested(cells=CHOSEN, within="micro", across={"left": 0.3, "right": 0.5}),
    "chance": Nested(cells=CHOSEN, terms=aggregation.chance_adjusted, within="micro", across="micro"),
    "pooled": Nested(cells=CHOSEN, terms=aggregation.pooled(lambda one: len(one.choices))),
    "f1": Nested(cells=CHOSEN, terms_of={"c": aggregation.f1_of_option(lambda _: 1)}, partial=True),
    "beside": Alongside(main=Nested(cells=CHOSEN), others={"micro": Nested(cells=CHOSEN, across="micro")}),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_integer_weights_are_repeated_items(name: str) -> None:
    rng = np.random.default_rng(1)
    items = [item(str(rng.choice(["a", "b", "c"])), k, options=int(rng.integers(2, 5)), gold=k % 2) for k in range(60)]
    values = rng.integers(0, 2, 60).astype(float)
    weights = rng.integers(0, 3, size=(5, 60)).astype(float)
    found = aggregate(COMPOSITES[name], items, values, weights)
    for row, weight in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(60), weight)
        repeated = aggregate(COMPOSITES[name], [items[k] for k in rows], values[rows])
        assert {key: value[row] for key, value in found.items()} == pytest.approx(repeated)


def test_sums_over_scenes_first_are_the_same() -> None:
    items, values = _sample()
    sums = VSI(items, values)
    scenes = np.random.default_rng(2).integers(0, 9, len(items))
    by_scene = np.zeros((9, sums.parts.shape[1]))
    np.add.at(by_scene, scenes, sums.parts)
    weights = np.random.default_rng(3).integers(0, 3, (4, 9)).astype(float)
    short = sums.combine(weights @ by_scene)
    long = aggregate(VSI, items, values, weights[:, scenes])
    for name, value in long.items():
        assert short[name] == pytest.approx(value, nan_ok=True)


def test_micro_and_weighted_averages() -> None:
    items = items_of(["a", "a", "a", "b", "c"])
    values = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    macro = aggregate(COMPOSITES["macro"], items, values)
    assert macro == pytest.approx({"a": 1 / 3, "b": 1, "c": 0, "left": 2 / 3, "right": 0, "overall": 1 / 3})
    micro = aggregate(COMPOSITES["micro"], items, values)
    assert (micro["left"], micro["overall"]) == pytest.approx((0.5, 0.4))
    weighted = aggregate(COMPOSITES["weighted"], items, values)
    assert weighted["overall"] == pytest.approx((0.3 * 0.5 + 0.5 * 0) / 0.8)
    only = aggregate(COMPOSITES["weighted"], items[:4], values[:4])
    assert only["overall"] == pytest.approx(0.5)  # renormalised over the cells that occur
    kinds = Nested(cells=CHOSEN, across="kinds")
    assert aggregate(kinds, items, values)["overall"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert np.isnan(aggregate(kinds, items[:4], values[:4])["overall"])
    outside = Nested(cells=CHOSEN, across="micro", outside=frozenset({"right"}))
    assert aggregate(outside, items, values)["overall"] == 0.5
    assert aggregate(COMPOSITES["beside"], items, values)["micro"] == pytest.approx(0.4)


def test_chance_adjusted_accuracy_is_zero_for_chance_and_one_for_all_right() -> None:
    items = [item("a", k, options=options) for k, options in enumerate((2, 2, 4, 4, 4))]
    composite = Nested(cells={"a": "a"}, terms=aggregation.chance_adjusted)
    chances = np.array([1 / len(one.choices) for one in items])
    assert aggregate(composite, items, chances)["overall"] == pytest.approx(0)
    assert aggregate(composite, items, np.ones(5))["overall"] == 1
    hits = np.array([1.0, 0, 1, 0, 0])
    assert aggregate(composite, items, hits)["overall"] == pytest.approx((2 - 1.75) / (5 - 1.75))


def test_a_circular_group_is_right_only_as_a_whole() -> None:
    items = [item("a", k, group=group) for k, group in enumerate("xxyyz")]
    composite = Nested(cells={"a": "a"}, terms=aggregation.circular(_group))
    assert aggregate(composite, items, np.array([1.0, 1, 1, 0, 1]))["overall"] == pytest.approx(2 / 3)
    weights = np.array([[2.0, 2, 1, 1, 0]])
    assert aggregate(composite, items, np.array([1.0, 1, 1, 0, 1]), weights)["overall"][0] == pytest.approx(2 / 3)


def test_f1_against_sklearn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(4)
    gold, predicted = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    items = [item("a", k, options=2, gold=int(g)) for k, g in enumerate(gold)]
    composite = Nested(cells={"a": "a"}, terms=aggregation.f1_of_option(lambda _: 1))
    found = aggregate(composite, items, (gold == predicted).astype(float))["overall"]
    assert found == pytest.approx(f1_score(gold, predicted))


def test_a_missing_type_leaves_the_overall_score_undefined() -> None:
    items = items_of(["object_counting", "object_rel_direction_easy", "object_rel_direction_hard"])
    values = np.array([0.5, 1.0, 0.0])
    strict = aggregate(VSI, items, values)
    assert strict["object_counting"] == 0.5
    assert np.isnan(strict["object_rel_direction"])
    assert np.isnan(strict["overall"])
    partial = aggregate(Nested(cells=CELLS, partial=True), items, values)
    assert (partial["object_rel_direction"], partial["overall"]) == (0.5, 0.5)


def test_a_replicate_without_a_type_is_undefined() -> None:
    items = items_of(list(CELLS))
    weights = np.ones((2, len(items)))
    weights[1, list(CELLS).index("route_planning")] = 0
    found = aggregate(Nested(cells=CELLS, partial=True), items, np.ones(len(items)), weights)
    assert np.isnan(found["overall"]).tolist() == [False, True]
    assert np.isnan(found["route_planning"]).tolist() == [False, True]


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(DataError, match="object_colour"):
        aggregate(VSI, items_of(["object_colour"]), np.ones(1))


def test_full_size_bootstrap_takes_under_two_seconds() -> None:
    items = items_of([kind for kind, count in PUBLISHED_COUNTS.items() for _ in range(count)])
    rng = np.random.default_rng(0)
    values, scenes = rng.random(len(items)), rng.integers(0, 288, size=len(items)).tolist()
    start = time.process_time()
    sums = VSI(items, values)
    found = cluster_bootstrap(lambda weights: sums.combine(weights @ sums.parts), scenes, replicates=2000)
    assert time.process_time() - start < 4  # CPU seconds of both cores
    assert 0.48 < found["overall"].low < found["overall"].high < 0.52
