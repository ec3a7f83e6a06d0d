"""Mixers inside models of transformers: a mixer in the place of an attention layer, with its state in the cache.

Shapes: B batch, L new tokens, E model width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from allocentric.core import config as settings_of
from allocentric.sparse_attn import register
from allocentric.sparse_attn.cache import MixerLayer
from allocentric.sparse_attn.contract import Mixer, MixerState, dims_of
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.masks import Padding
from allocentric.sparse_attn.recipe import KEY, LayerMixer, by_layer, mixer_settings


class MixedLayer(nn.Module):
    """Is called as an attention layer of transformers is, and mixes instead."""

    def __init__(self, mixer: Mixer, layer_idx: int) -> None:
        super().__init__()
        self.mixer = mixer
        self.layer_idx = layer_idx

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Padding | None = None,
        past_key_values: Any = None,
        geometry: Geometry | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """y_BLE, 0 at padding, and no weights.

        Raises:
            AttentionError: the mask isn't one of ours.
        """
        if attention_mask is not None and not isinstance(attention_mask, Padding):
            raise AttentionError(
                f"a model with mixers runs under its own implementation; call model.set_attn_implementation("
                f"{{'text_config': '{register.BY_LAYER}'}})"
            )
        x_BLE, layer = hidden_states, None
        batch, length = x_BLE.shape[:2]
        state: MixerState | None = None
        past = 0
        if past_key_values is not None:
            layer = MixerLayer.of(past_key_values, self.layer_idx)
            past = layer.columns
            if layer.state is None:
                layer.state = self.mixer.initial_state(batch, device=x_BLE.device, dtype=x_BLE.dtype)
            state = layer.state
            layer.columns += length
        where = None if geometry is None else geometry[geometry.length - length :]
        spans = [(0, length)] * batch
        if attention_mask is not None and attention_mask.spans is not None:
            spans = [(max(start - past, 0), min(stop - past, length)) for start, stop in attention_mask.spans]
        if all(span == (0, length) for span in spans):
            return self.mixer(x_BLE, rope=position_embeddings, geometry=where, state=state), None
        return self._row_by_row(x_BLE, position_embeddings, where, state, spans), None

    def _row_by_row(
        self,
        x_BLE: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,
        state: MixerState | None,
        spans: list[tuple[int, int]],
    ) -> Tensor:
        """Every row by itself, without its padding."""
        rows = []
        for row, (start, stop) in enumerate(spans):
            if stop <= start:
                rows.append(torch.zeros_like(x_BLE[row : row + 1]))
                continue
            part = None if state is None else state.take([row])
            turn = None
            if rope is not None:
                cos, sin = (t[row : row + 1] if t.shape[0] > 1 else t for t in rope)
                turn = (cos[:, start:stop], sin[:, start:stop])
            y_1LE = self.mixer(
                x_BLE[row : row + 1, start:stop],
                rope=turn,
                geometry=None if geometry is None else geometry.rows([row])[start:stop],
                state=part,
            )
            if state is not None and part is not None:
                state.put([row], part)
            rows.append(nn.functional.pad(y_1LE, (0, 0, start, x_BLE.shape[1] - stop)))
        return torch.cat(rows)


def put_mixers(tower: Any, entries: list[LayerMixer], *, adopt: bool) -> list[int]:
    """Replace attention layers of a language model by mixers, note it in its config, and return their indices.

    Args:
        tower: The language model.
        entries: Which layers, which mixer.
        adopt: Whether a mixer begins with the weights of the layer it replaces; otherwise with its own.

    Raises:
        AttentionError: a layer isn't there, or its mixer can't take over the weights.
    """
    attentions = register.attention_layers(tower)
    layers = register.layers_of(tower)
    made: dict[int, Mixer] = {}
    for index, entry in by_layer(entries, sorted(attentions), len(layers)).items():
        module, settings = mixer_settings(entry)
        weight = attentions[index].q_proj.weight
        # Models are often built without memory for their weights; a mixer's tables have to be there.
        with torch.device("cpu" if weight.is_meta else weight.device):
            mixer: Mixer = module.build(settings, dims_of(attentions[index], layer=index, layers=len(layers)))
        mixer = mixer.to(dtype=weight.dtype)
        if adopt:
            mixer.adopt(attentions[index])
        made[index] = mixer.train(tower.training)
    for index, mixer in made.items():
        layers[index].self_attn = MixedLayer(mixer, index)
    noted = getattr(tower.config, KEY, None) or {}
    setattr(tower.config, KEY, {"methods": [], **noted, "mixers": [e.model_dump(mode="json") for e in entries]})
    return sorted(made)


def mixer_of(layer: Any) -> Mixer:
    """The mixer of a layer that `put_mixers` changed."""
    mixed: MixedLayer = layer.self_attn
    return mixed.mixer


def noted_mixers(entries: list[dict[str, Any]]) -> list[LayerMixer]:
    """What a checkpoint's config says."""
    where = f"the checkpoint's config ({KEY})"
    return [settings_of.settings_from_mapping(LayerMixer, entry, where=where) for entry in entries]
