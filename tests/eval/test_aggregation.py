"""The nested average, against a loop and against replicated items."""

from __future__ import annotations

import time

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.stats import cluster_bootstrap
from allocentric.eval.aggregation import macro_average
from allocentric.eval.benchmarks._vsi_records import CELLS, PUBLISHED_COUNTS


def _sample(seed: int = 0, count: int = 400) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = [str(kind) for kind in rng.choice(list(CELLS), size=count)]
    return kinds, rng.integers(0, 11, size=count) / 10


def test_overall_is_the_mean_of_eight_cells() -> None:
    kinds, values = _sample()
    found = macro_average(kinds, values, cells=CELLS)
    means = {kind: np.mean([v for k, v in zip(kinds, values, strict=True) if k == kind]) for kind in CELLS}
    direction = np.mean([means[f"object_rel_direction_{level}"] for level in ("easy", "medium", "hard")])
    others = [mean for kind, mean in means.items() if "direction" not in kind]
    assert len(others) == 7
    assert found["object_rel_direction"] == pytest.approx(direction)
    assert found["overall"] == pytest.approx((sum(others) + direction) / 8)
    assert found["overall"] != pytest.approx(values.mean())


def test_integer_weights_are_repeated_items() -> None:
    kinds, values = _sample()
    weights = np.random.default_rng(1).integers(0, 3, size=(5, len(kinds))).astype(float)
    found = macro_average(kinds, values, weights, cells=CELLS)
    for row, weight in enumerate(weights.astype(int)):
        repeated = macro_average(list(np.repeat(kinds, weight)), np.repeat(values, weight), cells=CELLS)
        assert {name: found[name][row] for name in found} == pytest.approx(repeated)


def test_a_missing_type_leaves_the_overall_score_undefined() -> None:
    kinds = ["object_counting", "object_rel_direction_easy", "object_rel_direction_hard"]
    values = np.array([0.5, 1.0, 0.0])
    strict = macro_average(kinds, values, cells=CELLS)
    assert strict["object_counting"] == 0.5
    assert np.isnan(strict["object_rel_direction"])
    assert np.isnan(strict["overall"])
    partial = macro_average(kinds, values, cells=CELLS, partial=True)
    assert (partial["object_rel_direction"], partial["overall"]) == (0.5, 0.5)


def test_a_replicate_without_a_type_is_undefined() -> None:
    kinds = list(CELLS)
    weights = np.ones((2, len(kinds)))
    weights[1, kinds.index("route_planning")] = 0
    found = macro_average(kinds, np.ones(len(kinds)), weights, cells=CELLS, partial=True)
    assert np.isnan(found["overall"]).tolist() == [False, True]
    assert np.isnan(found["route_planning"]).tolist() == [False, True]


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(DataError, match="object_colour"):
        macro_average(["object_colour"], np.ones(1), cells=CELLS)


def test_full_size_bootstrap_takes_under_two_seconds() -> None:
    kinds = [kind for kind, count in PUBLISHED_COUNTS.items() for _ in range(count)]
    rng = np.random.default_rng(0)
    values, scenes = rng.random(len(kinds)), rng.integers(0, 288, size=len(kinds)).tolist()
    start = time.process_time()
    found = cluster_bootstrap(
        lambda weights: macro_average(kinds, values, weights, cells=CELLS), scenes, replicates=2000
    )
    assert time.process_time() - start < 4  # CPU seconds of both cores
    assert 0.48 < found["overall"].low < found["overall"].high < 0.52
