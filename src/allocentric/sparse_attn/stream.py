"""Geometry that grows with a cache: what a vision-language model of transformers is called with says where tokens lie.

Shapes: B batch, L new tokens, S tokens seen so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import IMAGE, TEXT, VIDEO, Geometry

_ATTRIBUTE = "allocentric_seen"
"""Where a cache keeps its `Seen`; a deep copy of the cache takes it along."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The tokens in a cache, and the pictures among them that are not complete yet."""

    geometry: Geometry | None
    """Of all tokens seen, padding included, but for those that the cache has evicted; None where the calls didn't say
    enough."""
    forgotten: int = 0
    """Tokens seen that `geometry` leaves out."""
    before: Geometry | None = None
    """Of the tokens before the first incomplete picture's call; None: there are none."""
    open_type_BL: Tensor | None = None
    """Token types since then; None: every picture is complete."""
    grids: tuple[Tensor | None, Tensor | None] = (None, None)
    """The image and video grids that were handed over last."""


def geometry_of_call(config: Any, arguments: Mapping[str, Any]) -> Geometry | None:
    """Geometry of everything in the cache after a call, which is noted in the cache as far as it is needed again.

    Args:
        config: The model's: token ids of pictures, the vision tower's merge size.
        arguments: Of the model's forward. `geometry` among them is taken as it is: of all tokens, or of the new ones.
            `encoded_grids` are those of pictures that were encoded before the call, as `generate` does.

    Returns:
        None where the arguments don't say it: embeddings without token types, or a batch whose pictures are cut by
        chunks.

    Raises:
        AttentionError: a geometry that was handed over fits neither the new tokens nor all.
    """
    tokens = arguments.get("input_ids")
    tokens = arguments.get("inputs_embeds") if tokens is None else tokens
    if tokens is None:
        return None
    batch, new = tokens.shape[:2]
    cache = arguments.get("past_key_values")
    past = 0 if cache is None else int(cache.get_seq_length())
    seen = _remembered(cache, past, batch)
    given = arguments.get("geometry")
    if given is not None and not (seen.geometry is not None and given.length <= past and given.length != new):
        seen = _with_given(seen, given, past, new)
    else:
        seen = _advanced(seen, config, arguments, tokens)
    if cache is not None:
        setattr(cache, _ATTRIBUTE, _to_remember(cache, seen, past + new))
    return None if seen.geometry is None else _from_first_token(seen.geometry, arguments.get("attention_mask"))


def _to_remember(cache: Any, seen: Seen, tokens: int) -> Seen:
    """What a call leaves in a cache that has then seen so many tokens."""
    kept = seen.geometry
    if kept is None:
        return seen
    if seen.open_type_BL is None and hasattr(cache, "geometry_to_remember"):
        kept = cache.geometry_to_remember(kept)
    return replace(seen, geometry=kept, forgotten=tokens - kept.length)


def _remembered(cache: Any, past: int, batch: int) -> Seen:
    """What the cache has seen, cut to its length if it was cropped."""
    if past == 0:
        return Seen(geometry=Geometry.of_text(batch, 0))
    seen: Seen | None = getattr(cache, _ATTRIBUTE, None)
    if seen is None or seen.geometry is None or seen.geometry.length + seen.forgotten < past:
        return Seen(geometry=None)
    if seen.geometry.length + seen.forgotten > past:
        seen = Seen(geometry=_first_tokens(seen.geometry, past - seen.forgotten))
    assert seen.geometry is not None
    if seen.geometry.batch == batch:
        return seen
    if batch % seen.geometry.batch or seen.open_type_BL is not None:
        return Seen(geometry=None)
    rows = [row for row in range(seen.geometry.batch) for _ in range(batch // seen.geometry.batch)]
    return Seen(geometry=seen.geometry.rows(rows))


def _first_tokens(geometry: Geometry, length: int) -> Geometry:
    """The first tokens, and only the clips that have some among them."""
    kept = geometry[:length]
    counts = (kept.clip_BL.amax(1) + 1).tolist()
    return replace(kept, clips=tuple(row[:count] for row, count in zip(kept.clips, counts, strict=True)))


def _with_given(seen: Seen, given: Geometry, past: int, new: int) -> Seen:
    if given.length >= past + new:
        return Seen(geometry=given[: past + new])
    if given.length == new and seen.geometry is not None:
        return Seen(geometry=seen.geometry.extended(given))
    raise AttentionError(
        f"got the geometry of {given.length} tokens in a call of {new} after {past} in the cache; hand over that of "
        f"the {new} new ones or of all {past + new}"
    )


def _advanced(seen: Seen, config: Any, arguments: Mapping[str, Any], tokens: Tensor) -> Seen:
    if seen.geometry is None:
        return seen
    grids = _grids(arguments)
    has_grids = any(grid is not None for grid in grids)
    type_BL = _token_types(config, arguments, tokens, has_grids)
    if type_BL is None:
        return Seen(geometry=None)
    answer_BL = arguments.get("answer_BL")
    repeated = has_grids and _same(grids, seen.grids)
    if seen.open_type_BL is None and (not has_grids or (repeated and not bool((type_BL != TEXT).any()))):
        text = Geometry.of_text(*type_BL.shape, device=type_BL.device)
        if answer_BL is not None:
            text = replace(text, answer_BL=answer_BL.to(type_BL.device, torch.bool))
        return replace(seen, geometry=seen.geometry.extended(text))
    if seen.open_type_BL is not None and (repeated or not has_grids):
        before, grids = seen.before, seen.grids
        type_BL = torch.cat([seen.open_type_BL, type_BL], dim=1)
        answer_BL = None
    else:
        before = seen.geometry
    part, complete = _of_pictures(type_BL, grids, config.vision_config.spatial_merge_size, answer_BL)
    if part is None:
        return Seen(geometry=None)
    whole = part if before is None or before.length == 0 else before.extended(part)
    return Seen(geometry=whole, before=before, open_type_BL=None if complete else type_BL, grids=grids)


def _grids(arguments: Mapping[str, Any]) -> tuple[Tensor | None, Tensor | None]:
    """Image and video grids of a call: handed over, or of the pictures encoded last where there are picture tokens."""
    given = (arguments.get("image_grid_thw"), arguments.get("video_grid_thw"))
    types: Tensor | None = arguments.get("mm_token_type_ids")
    encoded = arguments.get("encoded_grids") or {}
    if any(grid is not None for grid in given) or types is None or not bool(types.any()):
        return given
    return encoded.get("image"), encoded.get("video")


def _token_types(config: Any, arguments: Mapping[str, Any], tokens: Tensor, has_grids: bool) -> Tensor | None:
    """(B, L) of the new tokens. Without grids everything is text, whatever ids a model may have made up."""
    given: Tensor | None = arguments.get("mm_token_type_ids")
    if given is not None and given.shape[1] >= tokens.shape[1]:
        return given[:, -tokens.shape[1] :] if has_grids else torch.zeros_like(given[:, -tokens.shape[1] :])
    if not has_grids:
        return torch.zeros(tokens.shape[:2], dtype=torch.int8, device=tokens.device)
    if tokens.ndim != 2:
        return None
    type_BL = torch.zeros_like(tokens, dtype=torch.int8)
    for value, name in ((IMAGE, "image_token_id"), (VIDEO, "video_token_id")):
        type_BL[tokens == getattr(config, name)] = value
    return type_BL


def _of_pictures(
    type_BL: Tensor, grids: tuple[Tensor | None, Tensor | None], merge_size: int, answer_BL: Tensor | None
) -> tuple[Geometry | None, bool]:
    """Geometry of tokens whose last pictures may go on in a later call, and whether they don't."""
    batch = type_BL.shape[0]
    repeats = _repeats(type_BL, grids, merge_size)
    if repeats > 1:  # beams of the same prompt
        unique = answer_BL if answer_BL is None else answer_BL[::repeats]
        part, complete = _of_pictures(type_BL[::repeats], grids, merge_size, unique)
        return None if part is None else part.rows([row // repeats for row in range(batch)]), complete
    missing = {}
    for modality, grid in zip((IMAGE, VIDEO), grids, strict=True):
        wanted = 0 if grid is None else int(grid.prod(-1).sum()) // merge_size**2
        missing[modality] = wanted - int((type_BL == modality).sum())
    complete = all(count <= 0 for count in missing.values())
    if not complete and batch > 1:
        return None, False  # which row goes on with which picture is not known
    # What hasn't come yet is put behind, and cut off again.
    order = sorted(missing, key=lambda modality: -int((type_BL == modality).any()))
    rest = [modality for modality in order for _ in range(max(missing[modality], 0))]
    length = type_BL.shape[1]
    if rest:
        type_BL = torch.cat([type_BL, type_BL.new_tensor([rest])], dim=1)
        answer_BL = None if answer_BL is None else torch.nn.functional.pad(answer_BL, (0, len(rest)))
    whole = Geometry.from_grids(
        type_BL, image_grid_thw=grids[0], video_grid_thw=grids[1], merge_size=merge_size, answer_BL=answer_BL
    )
    return whole[:length], complete


def _repeats(type_BL: Tensor, grids: tuple[Tensor | None, Tensor | None], merge_size: int) -> int:
    """How many consecutive rows are the same prompt, for whose pictures the grids are given once."""
    wanted = sum(int(grid.prod(-1).sum()) for grid in grids if grid is not None) // merge_size**2
    found = int((type_BL != TEXT).sum())
    repeats = found // max(wanted, 1)
    if repeats < 2 or type_BL.shape[0] % repeats:
        return 1
    return repeats if torch.equal(type_BL, type_BL[::repeats].repeat_interleave(repeats, dim=0)) else 1


def _same(first: tuple[Tensor | None, Tensor | None], second: tuple[Tensor | None, Tensor | None]) -> bool:
    return all(
        (a is None) == (b is None) and (a is None or b is None or torch.equal(a.cpu(), b.cpu()))
        for a, b in zip(first, second, strict=True)
    )


def _from_first_token(geometry: Geometry, attention_mask: Any) -> Geometry:
    """Positions count from a row's first token that isn't padding."""
    if isinstance(attention_mask, dict):  # one mask per kind of layer
        attention_mask = attention_mask.get("full_attention")
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
        first_B1 = attention_mask.to(torch.int8).argmax(1, keepdim=True)
        return replace(geometry, position_BL=geometry.position_BL - first_B1)
    starts = getattr(attention_mask, "starts", None)
    if starts is None:
        return geometry
    first_B1 = torch.tensor(starts, device=geometry.position_BL.device)[:, None]
    return replace(geometry, position_BL=geometry.position_BL - first_B1)
