"""Attention-guided credit: tokens that plan ahead or that later tokens lean on weigh more in a policy's update.

After "Attention Illuminates LLM Reasoning" (arXiv 2510.13554), whose two measures these are. Heads are sorted by how
far back they look on average; the nearest are local, the farthest global. Windowed average attention distance of a
token: how far back the local heads look, clipped at a window. Future attention influence: the attention the global
heads pay it from later tokens. A token that looks far back plans (preplan); one that much attention goes to afterwards
is an anchor. The advantage of the chosen tokens is multiplied. Which tokens are chosen, how an anchor's credit is
shared with the token that planned it, and the defaults are set here; there was no published code to compare with.

In an episode of several turns only what the model wrote is measured and chosen; what the environment said is looked
back over like a prompt.

Shapes: H heads of all layers, T tokens a model wrote in a completion, L tokens before and of the completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.train.work import Work

if TYPE_CHECKING:
    from torch import Tensor


class CreditSettings(config.Settings):
    """Which tokens' advantages are multiplied by how much."""

    by: Literal["preplan", "anchor", "both", "coupled"] = "coupled"
    """preplan: tokens whose local heads look back farthest. anchor: tokens with most influence. both: either. coupled:
    anchors, and each shares its extra credit with the latest preplan token within `reach` tokens before it."""
    factor: float = Field(default=1.5, ge=1)
    """Of the advantage of a chosen token."""
    share: float = Field(default=0.4, gt=0, le=1)
    """Of a completion's tokens that are chosen by each measure, at least one."""
    heads: float = Field(default=0.3, gt=0, le=0.5)
    """Share of all heads that are local, and of those that are global."""
    window: int = Field(default=10, ge=1)
    """Distances in tokens are clipped here."""
    horizon: tuple[int, int] = (10, 50)
    """Later tokens whose attention counts as influence: first and last distance in tokens."""
    reach: int = Field(default=3, ge=1)
    """coupled: how far before an anchor its preplan token may be."""
    back: float = Field(default=0.5, ge=0, le=1)
    """coupled: share of an anchor's extra credit that goes to its preplan token."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Of one completion, by head."""

    distance_H: Tensor
    """Mean distance looked back, in tokens."""
    waad_HT: Tensor
    """Windowed average attention distance, in tokens."""
    fai_HT: Tensor
    """Future attention influence: mean attention paid by the tokens of the horizon; 0 where there are none."""


def measured(attention_HTL: Tensor, place_T: Tensor, settings: CreditSettings) -> Measures:
    """What heads do, from the rows of the attention that belong to tokens at these places among L, in rising order."""
    import torch

    length = attention_HTL.shape[2]
    attention_HTL = attention_HTL.float()
    back_TL = (place_T[:, None] - torch.arange(length, device=attention_HTL.device)).clamp(min=0).float()
    distance_H = (attention_HTL * back_TL).sum(-1).mean(-1)
    waad_HT = (attention_HTL * back_TL.clamp(max=settings.window)).sum(-1)
    first, last = settings.horizon
    back_TT = back_TL[:, place_T]
    counts_TT = ((back_TT >= max(first, 1)) & (back_TT <= last)).float()
    paid_HT = (attention_HTL[:, :, place_T] * counts_TT).sum(1)
    return Measures(distance_H=distance_H, waad_HT=waad_HT, fai_HT=paid_HT / counts_TT.sum(0).clamp(min=1))


def weights(measures: Measures, settings: CreditSettings) -> Tensor:
    """(T,) factors of a completion's advantage, 1 where a token isn't chosen."""
    heads, tokens = measures.waad_HT.shape
    order_H = measures.distance_H.argsort(stable=True)
    count = max(1, round(settings.heads * heads))
    waad_T, fai_T = measures.waad_HT[order_H[:count]].mean(0), measures.fai_HT[order_H[-count:]].mean(0)
    chosen = max(1, round(settings.share * tokens))
    preplan_T, anchor_T = _largest(waad_T, chosen), _largest(fai_T, chosen) & (fai_T > 0)
    extra = settings.factor - 1
    if settings.by == "preplan":
        return 1 + extra * preplan_T
    if settings.by == "anchor":
        return 1 + extra * anchor_T
    if settings.by == "both":
        return 1 + extra * (preplan_T | anchor_T)
    weight_T = 1 + extra * anchor_T
    for anchor in anchor_T.nonzero().flatten().tolist():
        before = [k for k in range(max(0, anchor - settings.reach), anchor) if preplan_T[k]]
        if before and not preplan_T[anchor]:  # an anchor that is planned by itself keeps its credit
            weight_T[anchor] -= settings.back * extra
            weight_T[before[-1]] += settings.back * extra
    return weight_T


def _largest(value_T: Tensor, count: int) -> Tensor:
    """Whether each is among the `count` largest; of equal ones the earlier."""
    import torch

    chosen_T = torch.zeros_like(value_T, dtype=torch.bool)
    chosen_T[value_T.argsort(descending=True, stable=True)[:count]] = True
    return chosen_T


# ------------------------------------------------------------------------------------------------------------- models


def require_attention(work: Work) -> None:
    """SettingsError where a model's attention can't be looked at."""
    from allocentric.sparse_attn import register

    model = work.checkpoint.model
    if register.serves(model.config.get_text_config()):
        raise SettingsError("credit looks at dense attention, which this model doesn't compute; set credit: null")


def credited(base: Any, settings: CreditSettings) -> Any:
    """TRL's GRPOTrainer whose advantages are by token: those of the completion times `weights`."""
    import torch

    class Credited(base):  # type: ignore[misc]
        """See `credited`."""

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            length = found["completion_ids"].shape[1]
            weight_BT = torch.ones_like(found["completion_mask"], dtype=torch.float32)
            written_BT = found["completion_mask"].bool()
            if "tool_mask" in found:
                written_BT &= found["tool_mask"].bool()
            spans = list(zip(found["prompt_mask"], written_BT, strict=True))
            with torch.no_grad(), _watched_attention(self.accelerator.unwrap_model(self.model)) as seen:
                for row, measures in enumerate(self._looked_at(found, spans, seen)):
                    if written_BT[row].any():
                        weight_BT[row, written_BT[row]] = weights(measures, settings)
            assert weight_BT.shape[1] == length
            found["advantages"] = found["advantages"][:, None] * weight_BT
            mean = weight_BT[written_BT].mean()
            self._metrics["train"]["credit/mean_weight"].append(self.accelerator.gather(mean).mean().item())
            return found

        def _looked_at(self, found: Any, spans: list[tuple[Any, Any]], seen: _Seen) -> Iterator[Measures]:
            """Measures of every completion, from one forward pass per row; one layer's attention is kept at a time."""
            names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids", "token_type_ids")
            seen.begin(spans, settings)
            self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([found["prompt_ids"], found["completion_ids"]], dim=1),
                torch.cat([found["prompt_mask"], found["completion_mask"]], dim=1),
                found["completion_ids"].shape[1],
                batch_size=1,
                **{name: found[name] for name in names if name in found},
            )
            return iter(seen.measures())

    return Credited


class _Seen:
    """Measures of the rows of a batch, layer by layer, while they pass through the model one at a time."""

    def __init__(self, layers: int) -> None:
        self._layers, self._parts = layers, list[Measures]()

    def begin(self, spans: list[tuple[Any, Any]], settings: CreditSettings) -> None:
        """`spans` are of every row the mask of its prompt, and which tokens of its completion the model wrote."""
        self._spans, self._settings, self._parts = spans, settings, []

    def note(self, weights_1HLL: Tensor) -> None:
        """The attention of the next layer."""
        prompt, written = self._spans[len(self._parts) // self._layers]
        start = len(prompt) - int(prompt.sum())  # prompts are padded on the left, completions on the right
        place_T = len(prompt) + written.nonzero().flatten()
        seen_HTL = weights_1HLL[0, :, place_T, start:]
        self._parts.append(measured(seen_HTL, place_T - start, self._settings))

    def measures(self) -> list[Measures]:
        """Of every row, the heads of all layers together."""
        import torch

        rows = [self._parts[k : k + self._layers] for k in range(0, len(self._parts), self._layers)]
        names = ("distance_H", "waad_HT", "fai_HT")
        return [Measures(**{n: torch.cat([getattr(part, n) for part in row]) for n in names}) for row in rows]


@contextmanager
def _watched_attention(model: Any) -> Iterator[_Seen]:
    """While this lasts the language model computes its attention in the open, and what it is gets noted."""
    from allocentric.sparse_attn import register

    tower = register.text_tower(model)
    attentions = register.attention_layers(tower)
    seen, before = _Seen(len(attentions)), tower.config._attn_implementation
    hooks = [part.register_forward_hook(lambda _, __, out: seen.note(out[1])) for part in attentions.values()]
    tower.set_attn_implementation("eager")
    try:
        yield seen
    finally:
        tower.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()
