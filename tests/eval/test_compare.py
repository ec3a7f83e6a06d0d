"""Paired comparison: antisymmetric, zero for the same, refused where it would mean nothing."""

from __future__ import annotations

import json

import pytest

from allocentric.core.errors import UserError
from allocentric.eval.compare import Side, compare
from allocentric.eval.run import evaluate
from allocentric.eval.scored import load_run


@pytest.fixture
def run(recipe, tmp_path):
    return load_run(evaluate(recipe(benchmark={"scenes": 20}), tmp_path / "runs").folder)


def side(run, label):
    return Side(run=run, label=label)


def test_swapping_flips_every_sign(run):
    forward = compare(side(run, "frequency"), side(run, "random"), replicates=500)
    backward = compare(side(run, "random"), side(run, "frequency"), replicates=500)
    assert forward["cells"].keys() == {"size", "direction", "direction_easy", "direction_hard"}
    for name in ("overall", *forward["cells"]):
        a = forward["overall"] if name == "overall" else forward["cells"][name]
        b = backward["overall"] if name == "overall" else backward["cells"][name]
        assert a["difference"] == pytest.approx(-b["difference"])
        assert (a["low"], a["high"]) == pytest.approx((-b["high"], -b["low"]))
        assert a["p"] == pytest.approx(b["p"])
    assert [row["item"] for row in forward["flipped"]] == [row["item"] for row in backward["flipped"]]
    assert json.dumps(forward)


def test_the_same_model_differs_by_nothing(run):
    result = compare(side(run, "random"), side(run, "random"), replicates=200)
    assert result["overall"]["difference"] == result["overall"]["low"] == result["overall"]["high"] == 0
    assert result["overall"]["p"] == 1
    assert result["flipped"] == []


def test_difference_is_that_of_the_published_aggregate(run):
    result = compare(side(run, "oracle"), side(run, "constant"), replicates=200)
    tables = {model["model"]: model["profiles"]["first-letter@0"] for model in run.results["models"]}
    expected = tables["oracle"]["overall"]["score"] - tables["constant"]["overall"]["score"]
    assert result["overall"]["difference"] == pytest.approx(expected)
    assert result["overall"]["p"] < 0.05
    assert result["overall"]["low"] > 0
    assert (result["n"], result["scenes"]) == (120, 20)
    cells = result["cells"].values()
    assert all(cell["p"] <= cell["p_holm"] <= 1 for cell in cells)


def test_two_runs_on_the_same_items(recipe, run, tmp_path):
    settings = {"scenes": 20}
    blind = evaluate(recipe(benchmark=settings, frames={"count": 0}), tmp_path / "runs")
    result = compare(side(run, "oracle"), side(load_run(blind.folder), "oracle"), replicates=200)
    assert result["overall"]["difference"] == 0


def test_other_items_are_refused_in_one_line(recipe, run, tmp_path):
    fewer = load_run(evaluate(recipe(benchmark={"scenes": 20}, limit=30), tmp_path / "runs").folder)
    with pytest.raises(UserError, match=r"90 only in .*, 0 only in .*, 0 with other content") as caught:
        compare(side(run, "oracle"), side(fewer, "oracle"))
    assert "\n" not in str(caught.value)


def test_missing_answers_are_refused(run):
    samples = run.folder / "samples.jsonl"
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[1:]))
    with pytest.raises(UserError, match=r"oracle in .* has no answer to 1 items \(first: 0-0\)"):
        compare(side(run, "random"), side(load_run(run.folder), "oracle"))


def test_mcnemar_counts_the_questions_with_options(run):
    result = compare(side(run, "oracle"), side(run, "random"), replicates=200)
    choices = result["choices"]
    assert choices.keys() == {"all", "direction"}
    counts = choices["all"]
    flipped = [row for row in result["flipped"] if row["kind"] != "size"]
    assert (counts["n"], counts["first_only"], counts["second_only"]) == (80, len(flipped), 0)
    assert counts["both"] + counts["first_only"] + counts["neither"] == 80
    assert counts["p"] == pytest.approx(2 * 0.5 ** len(flipped))
    assert choices["direction"]["p_holm"] == choices["direction"]["p_clustered"] < 1e-3
