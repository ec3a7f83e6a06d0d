"""A driver with two worker processes, to be killed from outside: argv = recipe (JSON), runs folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import fake_workers

from allocentric.core.config import settings_from_mapping
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.run import evaluate
from allocentric.eval.work.crew import Workers

if __name__ == "__main__":
    fake_workers.install()
    values = json.loads(Path(sys.argv[1]).read_text())
    recipe = settings_from_mapping(EvalRecipe, values, where="child")
    evaluate(recipe, Path(sys.argv[2]), workers=Workers(count=2, prepare=fake_workers.install))
