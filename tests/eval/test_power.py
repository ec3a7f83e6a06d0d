"""Power before a run: the published half widths, and rejections counted in simulated comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.core.errors import UserError
from allocentric.core.types import Choice, Item, Score
from allocentric.eval.aggregation import Alongside, Nested, aggregate, chance_adjusted
from allocentric.eval.compare import Side, compare
from allocentric.eval.power import Assumptions, item_weights, measured, outlook, outlook_of_counts
from allocentric.eval.results import ScoredRow, score_row
from allocentric.eval.run import evaluate
from allocentric.eval.scored import load_run

INDEPENDENT = Assumptions(intracluster=0.0)


def item(k: int, kind: str, scene: str, options: int = 4) -> Item:
    choices = tuple(map(str, range(options)))
    return Item(id=str(k), kind=kind, prompt="?", choices=choices, gold=Choice(0), scene_id=scene, source="test")


class Average:
    """The part of a benchmark that power needs."""

    name = "average"

    def __init__(self, composite):
        self.composite = composite
        self.cells = composite.cells if isinstance(composite, Nested) else composite.main.cells


@pytest.mark.parametrize(
    ("count", "points"),
    [(60, 12.7), (50, 13.9), (150, 8.0), (101, 9.8), (194, 7.0), (176, 7.4), (1000, 3.1), (1371, 2.6), (5712, 1.3)],
)
def test_half_widths_of_published_sets(count, points):
    """VSR, VSC, SAT-real, Q-Spatial+, VSI route, HOS-medium, MMSI, VLM4D-real and ViewSpatial at p = 0.5."""
    row = outlook_of_counts(count, count, INDEPENDENT)["rows"][0]
    assert row["half_width"] == pytest.approx(points, abs=0.06)
    assert row["design_effect"] == pytest.approx(1)


def test_equal_scenes_have_the_design_effect_of_kish():
    row = outlook_of_counts(600, 60, Assumptions(intracluster=0.2))["rows"][0]
    assert row["design_effect"] == pytest.approx(1 + 9 * 0.2)


def unequal_items(rng):
    """Two kinds of very different size, scenes of 2 to 15 items."""
    scenes = np.repeat(np.arange(120), rng.integers(2, 16, 120))
    return [item(k, "rare" if rng.random() < 0.2 else "usual", f"s{scene}") for k, scene in enumerate(scenes)]


@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_detectable_difference_is_found_as_often_as_promised(icc):
    """Counts rejections of a test that knows nothing of the assumptions: it estimates its error from the scenes."""
    rng = np.random.default_rng(3)
    items = unequal_items(rng)
    benchmark = Average(Nested(cells={"rare": "rare", "usual": "usual"}))
    disagree = 0.3
    assumed = Assumptions(intracluster=icc, deviations=dict.fromkeys(("rare", "usual"), disagree**0.5))
    (overall, *_) = outlook(benchmark, items, assumed)["rows"]
    shift = overall["detectable"] / 100
    weights = item_weights(benchmark, items, at=0.5)["overall"]
    scene_of = np.array([int(one.scene_id[1:]) for one in items])
    kinds = np.array([one.kind for one in items])
    rejected = np.mean([rejects(rng, weights, scene_of, kinds, disagree, shift, icc) for _ in range(1000)])
    assert rejected == pytest.approx(0.8, abs=0.04)
    by_chance = np.mean([rejects(rng, weights, scene_of, kinds, disagree, 0.0, icc) for _ in range(1000)])
    assert by_chance == pytest.approx(0.05, abs=0.025)


def rejects(rng, weights, scene_of, kinds, disagree, shift, icc):
    """One simulated pair of models: differences -1, 0, 1 with mean `shift`, of which sqrt(icc) copy their scene's."""
    share = [(disagree - shift) / 2, 1 - disagree, (disagree + shift) / 2]
    own = rng.choice([-1.0, 0.0, 1.0], len(weights), p=share)
    scene = rng.choice([-1.0, 0.0, 1.0], scene_of.max() + 1, p=share)
    differences = np.where(rng.random(len(weights)) < icc**0.5, scene[scene_of], own)
    residuals = differences.copy()
    for kind in set(kinds.tolist()):
        residuals[kinds == kind] -= differences[kinds == kind].mean()
    error = np.sqrt(np.sum(np.bincount(scene_of, weights=weights * residuals) ** 2))
    return abs(weights @ differences) > 1.96 * error


def test_power_and_items_needed_agree_with_the_detectable_difference():
    first = outlook_of_counts(500, 100, Assumptions())["rows"][0]
    again = outlook_of_counts(500, 100, Assumptions(), difference=first["detectable"])["rows"][0]
    assert again["power"] == pytest.approx(0.8, abs=1e-3)
    assert again["n_needed"] in (500, 501)
    half = outlook_of_counts(500, 100, Assumptions(), difference=first["detectable"] / 2)["rows"][0]
    assert half["n_needed"] in (2000, 2001)


@pytest.mark.parametrize(
    "composite",
    [
        Nested(cells={"a": "x", "b": "x", "c": "y"}),
        Nested(cells={"a": "x", "b": "x", "c": "y"}, within="micro", across={"x": 0.7, "y": 0.3}),
        Nested(cells={"a": "x", "b": "x", "c": "y"}, across="micro", terms=chance_adjusted),
        Alongside(
            main=Nested(cells={"a": "x", "b": "x", "c": "y"}), others={"micro": Nested(cells={}, across="micro")}
        ),
    ],
)
def test_item_weights_rebuild_every_linear_average(composite):
    rng = np.random.default_rng(0)
    items = [item(k, "aabcccc"[k % 7], f"s{k % 9}", options=4) for k in range(70)]
    values, others = rng.random(70), rng.random(70)
    first, second = (aggregate(composite, items, some) for some in (values, others))
    weights = item_weights(Average(composite), items, at=0.5)
    assert {"x", "y", "overall"} <= weights.keys()
    for name, weight in weights.items():
        assert first[name] - second[name] == pytest.approx(weight @ (values - others)), name


def test_pilot_recovers_what_was_simulated():
    rng = np.random.default_rng(1)
    scene_of = np.repeat(np.arange(3000), 6)
    items = [item(k, "a", f"s{scene}") for k, scene in enumerate(scene_of)]
    own, shared = (rng.choice([-1.0, 0.0, 1.0], size) for size in (len(items), 3000))
    differences = np.where(rng.random(len(items)) < 0.25**0.5, shared[scene_of], own)
    first = np.where(differences > 0, 1.0, np.where(differences < 0, 0.0, rng.integers(0, 2, len(items))))
    found = measured(items, row(first), row(first - differences))
    assert found.intracluster == pytest.approx(0.25, abs=0.03)
    assert found.deviations["a"] == pytest.approx((2 / 3) ** 0.5, abs=0.01)


def row(values):
    return ScoredRow(scores=tuple(Score(value=float(value), answer=Choice(0)) for value in values))


def test_equal_models_measure_nothing():
    items = [item(k, "a", f"s{k}") for k in range(4)]
    with pytest.raises(UserError, match="never differ"):
        measured(items, row([1, 0, 1, 0]), row([1, 0, 1, 0]))


def test_a_finished_run_predicts_the_error_it_has(recipe, tmp_path):
    """The closed form on measured assumptions comes near the bootstrap of the run itself."""
    run = load_run(evaluate(recipe(benchmark={"scenes": 60}), tmp_path / "runs").folder)
    items, benchmark, profile = run.plan.items, run.plan.benchmark, run.plan.profile
    rows = [score_row(benchmark, items, run.answers[label], profile) for label in ("random", "constant")]
    predicted = outlook(benchmark, items, measured(items, *rows))["rows"][0]
    result = compare(Side(run=run, label="random"), Side(run=run, label="constant"), replicates=2000)
    assert predicted["detectable"] == pytest.approx(result["detectable"], rel=0.2)


@pytest.mark.parametrize(
    "values", [{"accuracy": 0.0}, {"accuracy": 1.2}, {"correlation": 1.0}, {"intracluster": -0.1}]
)
def test_impossible_assumptions_are_refused(values):
    with pytest.raises(UserError, match="expected a number"):
        Assumptions(**values)


def test_more_scenes_than_items_are_refused():
    with pytest.raises(UserError, match="at most one per item"):
        outlook_of_counts(5, 6, Assumptions())
