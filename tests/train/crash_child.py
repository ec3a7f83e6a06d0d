"""Trains a recipe file in a run folder; the parent kills it. Usage: crash_child.py RECIPE.json RUNS"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from allocentric.core.config import settings_from_mapping
from allocentric.train.recipe import TrainRecipe
from allocentric.train.run import train

torch.set_num_threads(1)
recipe = settings_from_mapping(TrainRecipe, json.loads(Path(sys.argv[1]).read_text()), where="child")
train(recipe, Path(sys.argv[2]))
