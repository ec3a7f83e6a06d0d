"""Trains recipe files on CPU processes. Usage: accelerate launch ... spread_child.py RECIPE.json ... RUNS

accelerate (1.15) takes FSDP for GPUs only; here its state is told that CPUs count, after which it spreads weights over
gloo as it does over NCCL.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from allocentric.core.config import settings_from_mapping
from allocentric.train.recipe import TrainRecipe
from allocentric.train.run import train

_plain = AcceleratorState.__init__


def _on_cpus_too(self: Any, *arguments: Any, fsdp_plugin: Any = None, **named: Any) -> None:
    _plain(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    plugin = fsdp_plugin or self.__dict__.get("fsdp_plugin")
    if plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugin


AcceleratorState.__init__ = _on_cpus_too
torch.set_num_threads(1)
for file in sys.argv[1:-1]:
    recipe = settings_from_mapping(TrainRecipe, json.loads(Path(file).read_text()), where="child")
    train(recipe, Path(sys.argv[-1]))
