"""Preferences: pairs come from the scorer, and a step raises the preferred answer over the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.errors import SettingsError
from allocentric.core.runlog import read_samples
from allocentric.train.dpo import preference_pairs
from allocentric.train.run import train
from allocentric.train.work import Work, plan

STAGE = {"name": "dpo", "samples": 2, "max_new_tokens": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_pairs_are_the_best_and_the_worst_where_they_differ_enough(
    recipe_of: Any, given_answers: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(STAGE)
    folder = given_answers(recipe, tmp_path)
    work = Work(plan(recipe), folder, None)
    settings: Any = work.job.stage_settings
    pairs = preference_pairs(work, settings)
    assert pairs == [(k, "ABCD"[k], "not a letter") for k in range(4)]
    with pytest.raises(SettingsError, match=r"worst_to 0.9 must be below best_from 0.8"):
        plan(recipe_of({**STAGE, "worst_to": 0.9}))


@pytest.mark.slow
def test_the_preferred_answer_gains(recipe_of: Any, given_answers: Any, tmp_path: Path) -> None:
    recipe = recipe_of(STAGE, steps=6, batch_size=4, learning_rate=2e-3)
    given_answers(recipe, tmp_path)
    result = train(recipe, tmp_path)
    rows = [row for key, row in sorted(read_samples(result.folder).items()) if key.startswith("metrics/")]
    margins = [row["rewards/margins"] for row in rows]
    assert margins[0] == pytest.approx(0.0, abs=1e-4)
    assert margins[-1] > 0.05
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2: the model is its own reference at first
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.slow
def test_without_a_right_answer_there_is_no_pair(recipe_of: Any, tmp_path: Path) -> None:
    recipe = recipe_of({**STAGE, "best_from": 1.0, "temperature": 0.01}, data={"kinds": ["counting"]})
    with pytest.raises(SettingsError, match=r"no question has a sampled answer of at least 1\.0"):
        train(recipe, tmp_path)
