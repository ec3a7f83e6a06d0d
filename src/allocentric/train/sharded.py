"""What weights that are spread over processes (FSDP2) need beyond TRL.

V vocabulary, E model width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allocentric.core.errors import SettingsError


def require_spread(trainer: Any) -> None:
    """SettingsError where spreading was asked for and accelerate would copy the model instead, as it does on CPUs."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and not str(trainer.accelerator.distributed_type).endswith("FSDP"):
        raise SettingsError(
            "accelerate spreads weights (FSDP) over GPUs only and would copy the model to every process here; launch "
            "with configs/accelerate/ddp.yaml"
        )


@contextmanager
def averaged_head(trainer: Any) -> Iterator[None]:
    """While a loss is computed, the map to the vocabulary gets the mean of all processes' gradients.

    TRL (1.16) gathers the spread weight with `full_tensor()` outside the module, which takes each process's gradient
    for that of all: every shard of the head then learns from the examples of one process.
    """
    from torch.distributed.tensor import DTensor

    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = model.get_output_embeddings()
    if head is None or not isinstance(head.weight, DTensor):
        yield
        return
    model.get_output_embeddings = lambda: _Gathered(head)
    try:
        yield
    finally:
        del model.get_output_embeddings


class _Gathered:
    """A linear layer's whole weight and bias."""

    def __init__(self, head: Any) -> None:
        self.weight, self.bias = _whole(head.weight), _whole(head.bias)


def _whole(spread: Any) -> Any:
    """The (V, E) tensor of a spread one; its gradient is averaged over processes on the way back."""
    from torch.distributed.tensor import DTensor, Partial

    if not isinstance(spread, DTensor):
        return spread
    whole = spread.full_tensor(grad_placements=[Partial() for _ in spread.placements])
    if whole.requires_grad:
        processes = spread.device_mesh.size()
        whole.register_hook(lambda gradient: gradient / processes)
    return whole
