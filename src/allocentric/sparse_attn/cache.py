"""Cache layers for transformers' caches: mixers' states, eviction with a choice of positions, and going back.

Shapes: B batch, K key-value heads, L new tokens, S keys kept, D head width, 3 axes of M-RoPE (time, row, column).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from allocentric.core.errors import MissingPackageError
from allocentric.sparse_attn.contract import MixerState
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry, concatenated
from allocentric.sparse_attn.mixers._projections import rotated

try:
    from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer
except ModuleNotFoundError as error:
    raise MissingPackageError(error.name or "transformers", needed_for="caches of models", extra="hf") from None

Positions = Literal["kept", "rerotated", "unrotated"]
"""What becomes of positions when tokens are evicted.

kept: keys stay rotated as they came, and the evicted tokens leave a gap. rerotated: the sinks are turned on, so that
they lie right before the window (relative positions are those of a sequence without the evicted tokens); rounding adds
up over a stream. unrotated: the same positions, but keys are kept without rotation and turned when they are read.
"""


class MixerLayer(CacheLayerMixin):  # type: ignore[misc]
    """What a mixer remembers, as a layer of a cache; takes the place of a layer of keys at the mixer's first call."""

    is_sliding = True  # so that masks are sized by layers that have keys
    is_compileable = False
    is_croppable = False
    supports_early_init = False

    def __init__(self) -> None:
        super().__init__()
        self.state: MixerState | None = None
        self.columns = 0
        """Tokens seen, padding included."""

    @staticmethod
    def of(cache: Any, layer: int) -> MixerLayer:
        """The cache's layer `layer`, put there if the cache is fresh.

        Raises:
            AttentionError: the cache was filled by another model.
        """
        while len(cache.layers) <= layer:
            cache.layers.append(DynamicLayer())
        found = cache.layers[layer]
        if isinstance(found, MixerLayer):
            return found
        if getattr(found, "is_initialized", False):
            raise AttentionError(
                f"layer {layer} of the cache holds keys, where the model has a mixer; begin a new cache"
            )
        cache.layers[layer] = made = MixerLayer()
        return made

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to be done: the mixer makes its state."""

    def update(self, *_: Any, **__: Any) -> Any:
        """Refused: a mixer has no keys."""
        raise AttentionError("this layer of the cache holds a mixer's state, and an attention layer wrote keys to it")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As if every token had a key."""
        return self.columns + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens seen, padding included."""
        return self.columns

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def nbytes(self) -> dict[str, int]:
        """Bytes by component."""
        return {} if self.state is None else self.state.nbytes()

    def offload(self) -> None:
        """Stays where it is: states are small."""

    def prefetch(self) -> None:
        """Stays where it is."""

    def reset(self) -> None:
        """Forget everything."""
        self.state, self.columns = None, 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order."""
        if self.state is not None:
            self.state.reorder(beam_idx.tolist())

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row several times."""
        if self.state is not None:
            self.state.reorder([row for row in range(self.state.batch) for _ in range(repeats)])

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order."""
        self.reorder_cache(torch.arange(self.state.batch)[indices.cpu()] if self.state is not None else indices)

    def crop(self, tokens_to_remove: int) -> None:
        """Refused, as a state can't forget single tokens."""
        if tokens_to_remove:
            raise AttentionError(
                "a mixer's state can't be cropped; take cache.snapshot(past_key_values) before speculative tokens "
                "and cache.restore it to go back"
            )


# ------------------------------------------------------------------------------------------------------------ eviction


@dataclass(kw_only=True)
class _Announced:
    """What the model is called with, for all layers of one cache."""

    position_3BL: Tensor | None = None
    rotary: Any = None


def turned(rotary: Any, keys_BKSD: Tensor, by_3BS: Tensor) -> Tensor:
    """Keys turned on by so many positions on every axis, by a model's rotary embedding; negative turns back."""
    scaling = float(getattr(rotary, "attention_scaling", 1.0))
    wide = keys_BKSD.to(torch.promote_types(keys_BKSD.dtype, torch.float32))
    cos, sin = (t / scaling for t in rotary(wide, by_3BS))
    return rotated(wide, (cos, sin)).to(keys_BKSD.dtype)


class EvictingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys of the first tokens and of the last ones."""

    is_croppable = False
    keys: Any
    values: Any

    def __init__(self, sinks: int, window: int, positions: Positions, announced: _Announced) -> None:
        super().__init__()
        self.sinks, self.window, self.positions = sinks, window, positions
        self.announced = announced
        self.seen = 0
        self.position_3BS: Tensor | None = None
        """Where the kept keys lie now."""

    def get_seq_length(self) -> int:
        """Tokens seen, evicted ones included, so that positions go on."""
        return self.seen

    def kept(self) -> tuple[int, int]:
        """Sinks and other keys held."""
        first = min(self.sinks, self.seen)
        return first, min(self.window, self.seen - first)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Kept and new keys; the offset puts the new ones where they lie in the stream."""
        count = sum(self.kept())
        return count + query_length, self.seen - count

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Kept and new keys and values. Eviction follows the call: new tokens see what was kept before them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.positions != "kept":
            self._extend_positions(key_states)
        if self.positions == "unrotated":
            key_states = self._turned(key_states, -self._announced_positions(key_states))
        self.keys = torch.cat([self.keys, key_states], dim=-2)
        self.values = torch.cat([self.values, value_states], dim=-2)
        self.seen += key_states.shape[-2]
        keys, values = self.keys, self.values
        if self.positions == "unrotated":
            assert self.position_3BS is not None
            keys = self._turned(keys, self.position_3BS)
        self._evict()
        return keys, values

    def _evict(self) -> None:
        first, last = self.kept()
        if first + last == self.keys.shape[-2]:
            return
        self.keys, self.values = (
            torch.cat([t[:, :, :first], t[:, :, t.shape[2] - last :]], dim=2) for t in (self.keys, self.values)
        )
        if self.position_3BS is None:
            return
        p = self.position_3BS
        sink_3BS, near_3BS = p[..., :first], p[..., p.shape[-1] - last :]
        if first and last:
            gap_3B1 = near_3BS.amin(-1, keepdim=True) - 1 - sink_3BS.amax(-1, keepdim=True)
            if self.positions == "rerotated":
                turned = self._turned(self.keys[:, :, :first], gap_3B1.expand_as(sink_3BS))
                self.keys = torch.cat([turned, self.keys[:, :, first:]], dim=2)
            sink_3BS = sink_3BS + gap_3B1
        self.position_3BS = torch.cat([sink_3BS, near_3BS], dim=-1)

    def _announced_positions(self, key_states: Tensor) -> Tensor:
        p = self.announced.position_3BL
        if p is None or p.shape[-1] != key_states.shape[-2]:
            raise AttentionError(
                f"a cache with {self.positions} keys has to know the positions of new tokens; load the model after "
                "importing allocentric.sparse_attn.register, or call register.attach(model)"
            )
        return p.expand(3, key_states.shape[0], -1)

    def _extend_positions(self, key_states: Tensor) -> None:
        new = self._announced_positions(key_states)
        self.position_3BS = new if self.position_3BS is None else torch.cat([self.position_3BS, new], dim=-1)

    def _turned(self, keys_BKSD: Tensor, by_3BS: Tensor) -> Tensor:
        return turned(self.announced.rotary, keys_BKSD, by_3BS)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row several times."""
        rows = torch.arange(0 if self.keys is None else self.keys.shape[0])
        self.batch_select_indices(rows.repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order."""
        if not self.is_initialized:
            return
        self.keys, self.values = self.keys[indices], self.values[indices]
        if self.position_3BS is not None:
            self.position_3BS = self.position_3BS[:, indices]

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.seen, self.position_3BS = 0, None

    def crop(self, tokens_to_remove: int) -> None:
        """Refused, as what was evicted is gone."""
        if tokens_to_remove:
            raise AttentionError(
                "an evicting cache can't be cropped: evicted keys are gone; take cache.snapshot(past_key_values) "
                "before speculative tokens and cache.restore it to go back"
            )


class EvictingCache(Cache):  # type: ignore[misc]
    """A cache of bounded size for attention layers: the first `sinks` tokens and the last `window`.

    Linear-attention layers (Qwen3.5) keep their states. Rows of a batch must not be padded.
    """

    def __init__(self, config: Any, *, sinks: int, window: int, positions: Positions = "kept") -> None:
        """An empty cache for a model with this config.

        Raises:
            AttentionError: a size is out of range, or the rotary embedding changes with length.
        """
        if sinks < 0 or window < 1:
            raise AttentionError(f"an evicting cache needs sinks >= 0 and window >= 1, got {sinks} and {window}")
        if positions not in ("kept", "rerotated", "unrotated"):
            raise AttentionError(f"positions are kept, rerotated or unrotated, got {positions!r}")
        text_config = config.get_text_config()
        kind = (getattr(text_config, "rope_parameters", None) or {}).get("rope_type", "default")
        if positions != "kept" and kind in ("dynamic", "longrope"):
            raise AttentionError(f"rope_type {kind!r} turns keys by the sequence's length; only positions='kept' fits")
        self.sinks, self.window = sinks, window
        self.announced = _Announced()
        layers = [
            EvictingLayer(sinks, window, positions, self.announced) if type(layer) is DynamicLayer else layer
            for layer in DynamicCache(config=text_config).layers
        ]
        super().__init__(layers=layers)

    def announce(self, position_ids: Tensor | None, rotary: Any, length: int, device: torch.device) -> None:
        """Positions of the next call's tokens: (B, L), (3, B, L), or (4, B, L) with the plain ones first."""
        if position_ids is None:
            start = int(self.get_seq_length())
            position_ids = torch.arange(start, start + length, device=device)[None]
        if position_ids.ndim == 2:
            position_ids = position_ids[None]
        position_3BL = position_ids[1:] if position_ids.shape[0] == 4 else position_ids
        self.announced.position_3BL = position_3BL.expand(3, -1, -1)
        self.announced.rotary = rotary

    def geometry_of_keys(self, geometry: Geometry, new: int) -> Geometry:
        """Of the kept and the new tokens, from that of all remembered and new ones; of the new ones where mixers have
        taken the place of all attention.
        """
        layer = next((layer for layer in self.layers if isinstance(layer, EvictingLayer)), None)
        first, last = (0, 0) if layer is None else layer.kept()
        return concatenated(geometry[:first], geometry[geometry.length - new - last :])

    def geometry_to_remember(self, geometry: Geometry) -> Geometry:
        """Of the tokens that later ones may still attend to, so that it is bounded as the keys are."""
        return geometry.ends(self.sinks, self.window)

    def nbytes(self) -> dict[str, int]:
        """Bytes of keys and values over all attention layers."""
        layers = [layer for layer in self.layers if isinstance(layer, EvictingLayer) and layer.is_initialized]
        return {
            name: sum(t.numel() * t.element_size() for t in (getattr(layer, name) for layer in layers))
            for name in ("keys", "values")
        }


# ---------------------------------------------------------------------------------------------------------- going back


Snapshot = Sequence[tuple[Any, dict[str, Any]]]
"""Layers of a cache and copies of all they hold."""


def snapshot(cache: Any) -> Snapshot:
    """A copy of a cache's content, before speculative tokens. Works for layers of transformers and for ours."""
    noted = {key: value for key, value in vars(cache).items() if key.startswith("allocentric_")}
    return [(None, noted), *((layer, _copied(vars(layer))) for layer in cache.layers)]


def restore(cache: Any, taken: Snapshot) -> None:
    """Bring a cache back to a snapshot of it, which can be used again."""
    for key in [key for key in vars(cache) if key.startswith("allocentric_")]:
        delattr(cache, key)
    vars(cache).update(taken[0][1])
    cache.layers = [layer for layer, _ in taken[1:]]
    for layer, values in taken[1:]:
        for key in set(vars(layer)) - set(values):
            delattr(layer, key)
        for key, value in values.items():
            _put_back(layer, key, value)


def _put_back(layer: Any, key: str, value: Any) -> None:
    """Tensors of a compiled cache keep their address."""
    old = getattr(layer, key, None)
    fixed = bool(getattr(layer, "is_compileable", False))
    if fixed and isinstance(value, Tensor) and isinstance(old, Tensor) and old.shape == value.shape:
        old.copy_(value)
    else:
        setattr(layer, key, _copied(value))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, MixerState):
        return value.snapshot()
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return value
