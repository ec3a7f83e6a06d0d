"""What transformers' mask functions hand to our attention functions instead of a mask of L x S: padding, by row.

Shapes: B batch, S keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from allocentric.sparse_attn.attend import row_spans
from allocentric.sparse_attn.errors import AttentionError


@dataclass(frozen=True, kw_only=True)
class Padding:
    """Which keys of a cache are tokens. Travels through models in the place of a 4-D mask."""

    used: int
    """Keys from the first slot on that hold something; a static cache has more slots."""
    spans: tuple[tuple[int, int], ...] | None = None
    """Per row of the batch the first and one-past-last token among them; None: no padding."""

    ndim = 4
    """As transformers asks of masks that are made already."""

    @property
    def starts(self) -> list[int] | None:
        """First token of every row; None: no padding."""
        return None if self.spans is None else [start for start, _ in self.spans]

    def contiguous(self) -> Padding:
        """Itself, as `generate` asks of masks."""
        return self


def padding_mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    mask_function: Any = None,
    attention_mask: Any = None,
    config: Any = None,
    **_: Any,
) -> Padding:
    """The entry in `AttentionMaskInterface` of every method of ours.

    Raises:
        AttentionError: the model asks for more than causality and padding, which methods know nothing of.
    """
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    if isinstance(attention_mask, Padding):
        return attention_mask
    _require_full_attention(config)
    if mask_function not in (None, causal_mask_function, bidirectional_mask_function):
        raise AttentionError(
            "attention methods know causality and padding; this call packs several sequences into a row or changes "
            "the mask otherwise. Give every sequence a row of its own, with an attention_mask where rows are padded"
        )
    used = min(kv_length, int(q_offset) + q_length)
    if attention_mask is None:
        return Padding(used=used)
    if attention_mask.shape[-1] < used:
        raise AttentionError(
            f"attention_mask has {attention_mask.shape[-1]} columns for {used} keys; it has one per token in the "
            "cache and one per new token"
        )
    if bool(attention_mask.all()):
        return Padding(used=used)
    if used < int(q_offset) + q_length:
        raise AttentionError(
            "a cache that evicts tokens keeps the same places of every row, so rows can't be padded; run rows of "
            "equal length together"
        )
    return Padding(used=used, spans=tuple(row_spans(attention_mask[:, :used])))


def _require_full_attention(config: Any) -> None:
    """Refuse configs whose cache drops keys behind the method's back."""
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "linear_attention"}
    if kinds:
        raise AttentionError(
            f"the config asks for layer_types {', '.join(sorted(kinds))} beside an attention method of ours; remove "
            "them and give these layers the method 'sliding_window' in register.use"
        )
