"""Baselines speak as the questions ask: "yes" where yes or no is asked, also when an honesty check moves things."""

from __future__ import annotations

import json
from pathlib import Path

from allocentric.core.config import settings_from_mapping
from allocentric.core.types import Choice
from allocentric.eval.benchmarks.vsr import DEFINITION
from allocentric.eval.honesty._changed import ChangedBenchmark
from allocentric.eval.recipe import EvalRecipe, plan
from allocentric.eval.run import evaluate
from allocentric.eval.wording import worded


def recipe(folder: Path) -> EvalRecipe:
    """Twenty VSR records, 14 of them true."""
    rows = [{**DEFINITION.examples[0], "image": f"{k}.jpg", "label": int(k < 14)} for k in range(20)]
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"name": "vsr", "benchmark": {"name": "vsr", "dataset": str(path)}, "frames": {"count": 0}}
    return settings_from_mapping(EvalRecipe, values, where="test")


def test_baselines_answer_yes_or_no_where_that_is_asked(tmp_path: Path) -> None:
    result = evaluate(recipe(tmp_path), tmp_path / "runs")
    said = [json.loads(line) for line in (result.folder / "samples.jsonl").read_text().splitlines()]
    texts = {(line["model"], line["response"]["text"].lower()) for line in said}
    assert {text for _, text in texts} == {"yes", "no"}
    profile = result.results["profile"]
    rows = {model["model"]: model["profiles"][profile]["overall"] for model in result.results["models"]}
    assert rows["constant"]["score"] == rows["frequency"]["score"] == 70  # option 0 is yes
    assert 0 < rows["random"]["score"] < 100


def test_a_changed_benchmark_is_answered_as_the_published_one(tmp_path: Path) -> None:
    job = plan(recipe(tmp_path))
    changed = ChangedBenchmark(job.benchmark, job.items)
    assert worded(changed, job.items[0], Choice(1), job.profile).lower() == "no"
