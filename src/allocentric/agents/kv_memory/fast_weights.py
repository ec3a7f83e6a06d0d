"""Fast weights: a model whose layers learn the stream as it goes (Spatial-TTT, Titans, Gated DeltaNet ...).

The checkpoint is a hybrid of `allocentric convert`: mixers in the place of attention layers. What is kept are the
mixers' states, whose size does not grow, and in the attention layers that are left (the anchors) the first
`sinks` tokens and the last `window`, positions closed up. A question is read from a copy of the states, which then
come back, so that the stream goes on as if nothing had been asked.

Positions of the stream are not bounded: beyond some 100,000 positions rotary angles in fp32 lose precision, as they do
in the original.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from allocentric.agents.kv_memory import contract
from allocentric.agents.kv_memory.contract import LayersMemory, Layout
from allocentric.agents.kv_memory.watcher import Watcher, without_end
from allocentric.core.errors import UserError


class Settings(contract.Settings):
    """What the anchors keep; mixers have settings of their own in the checkpoint."""

    sinks: int = Field(default=256, ge=0)
    """First tokens of the anchors; InfiniteVL's Online variant has 256."""
    window: int = Field(default=2048, ge=1)
    """Last tokens of the anchors; InfiniteVL's Online variant has 2048."""


def build(settings: Settings, layers: int) -> LayersMemory:  # noqa: ARG001 - no layer keeps blocks
    """Nothing by blocks: the states live in the model's cache; see `StateWatcher`."""
    return LayersMemory([], settings.budget_bytes)


class StateWatcher(Watcher):
    """A hybrid that watches. Has the interface of `Watcher`."""

    def reset(self) -> None:
        """Forget the stream."""
        from allocentric.sparse_attn.cache import EvictingCache

        super().reset()
        self._cache = EvictingCache(
            self._model.config, sinks=self._settings.sinks, window=self._settings.window, positions="rerotated"
        )
        self._next = 0

    def nbytes(self) -> dict[str, int]:
        """Bytes kept now: states of the mixers, keys and values of the anchors, and what surprise is computed from."""
        from allocentric.sparse_attn.cache import MixerLayer

        states = 0
        for layer in self._cache.layers:
            if isinstance(layer, MixerLayer):
                states += sum(layer.nbytes().values())
        return {"states": states, **self._cache.nbytes(), "latent": self._latent_bytes()}

    def logits(self, question: str) -> Tensor:
        """See `Watcher.logits`."""
        from allocentric.sparse_attn import cache

        ids = self._question(question)
        before, start = cache.snapshot(self._cache), self._next
        with torch.inference_mode():
            out: Tensor = self._read(ids, Layout(before=ids.shape[1]), self._model).logits[0].float()
        cache.restore(self._cache, before)
        self._next = start
        return out

    def _generated(self, question: str, most: int) -> tuple[list[int], int, float]:
        from allocentric.sparse_attn import cache

        ids = self._question(question)
        before, start = cache.snapshot(self._cache), self._next
        written: list[int] = []
        fed = ids
        with torch.inference_mode():
            while without_end(written, self._ends, most):
                logits = self._read(fed, Layout(before=fed.shape[1]), self._model).logits
                written.append(int(logits[0, -1].argmax()))
                fed = torch.tensor([[written[-1]]], device=ids.device)
        attended = self._attended()
        cache.restore(self._cache, before)
        self._next = start
        return written, int(ids.shape[1]), attended

    def _attended(self) -> float:
        """Keys that the last token read, averaged over all layers; mixers have none."""
        from allocentric.sparse_attn.cache import EvictingLayer

        layers = self._cache.layers
        return sum(sum(layer.kept()) for layer in layers if isinstance(layer, EvictingLayer)) / max(len(layers), 1)

    def _read(self, ids: Tensor, layout: Layout, module: Any, **pictures: Any) -> Any:
        position_3BL = (layout.positions() + self._next)[:, None].to(ids.device)
        out = module(input_ids=ids, position_ids=position_3BL, past_key_values=self._cache, use_cache=True, **pictures)
        self._next += layout.extent
        return out

    def _read_opening(self) -> None:
        ids = self._tokens(self._opening)
        if ids.shape[1]:
            with torch.inference_mode():
                self._read(ids, Layout(before=ids.shape[1]), self._model.model)

    def _read_encoded(self, ids: Tensor, layout: Layout, time_s: float, **pictures: Any) -> Tensor:  # noqa: ARG002
        types = torch.zeros_like(ids)
        types[:, layout.before : -layout.after] = 1
        out = self._read(ids, layout, self._model.model, mm_token_type_ids=types, **pictures)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _check(self) -> None:
        from allocentric.sparse_attn.hybrid import MixedLayer

        if not any(isinstance(module, MixedLayer) for module in self._model.modules()):
            raise UserError(
                f"{type(self._model).__name__} has no mixers, so no fast weights; make a hybrid of it with "
                "`allocentric convert CHECKPOINT RECIPE --out FOLDER`"
            )


READER = StateWatcher
"""What watches with this policy."""
