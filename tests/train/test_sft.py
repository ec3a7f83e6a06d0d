"""Supervised fine-tuning: what is learnt from, what is kept, and that a repeated command continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from allocentric.core.runlog import read_samples
from allocentric.train.run import train


def losses(folder: Path) -> list[float]:
    return [row["loss"] for key, row in sorted(read_samples(folder).items()) if key.startswith("metrics/")]


def test_a_run_leaves_a_checkpoint_curves_and_results(recipe_of: Any, items_file: Path, tmp_path: Path) -> None:
    recipe = recipe_of("sft", steps=4, save_every=2)
    result = train(recipe, tmp_path)
    print(result, losses(result.folder), sorted(p.name for p in result.folder.rglob("*")))
    assert 0
