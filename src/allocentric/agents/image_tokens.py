"""How many tokens pictures cost a model, and whether an episode fits its context: said before a run, not after.

A Qwen-VL picture is resized so that both edges are multiples of a token's edge (patch times merge) and its area lies
within the processor's bounds; then it costs one token per `patch * merge` square, and two more that enclose it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from allocentric.core.errors import DataError, UserError

_LARGEST_ASPECT = 200
_ENCLOSING = 2  # vision start and end


class PictureCost(Protocol):
    """What a picture of a size costs."""

    def tokens(self, width_px: int, height_px: int) -> int:
        """Tokens in the prompt, those that enclose the picture included."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchTokens:
    """The rule of the Qwen-VL families."""

    patch_px: int
    """Edge of a vision patch."""
    merge: int = 2
    """Patches per token along each edge."""
    fewest_px: int
    """Smaller pictures are enlarged to this area."""
    most_px: int
    """Larger pictures are shrunk to this area."""
    enclosing: int = _ENCLOSING
    """Tokens around each picture."""

    def grid(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Patches along the rows and columns (h, w) that the picture is resized to. DataError above aspect 200."""
        if min(width_px, height_px) < 1 or max(width_px, height_px) > _LARGEST_ASPECT * min(width_px, height_px):
            raise DataError(
                f"expected an aspect ratio of at most {_LARGEST_ASPECT}, got {width_px}x{height_px} pixels"
            )
        edge = self.patch_px * self.merge
        rows, columns = (round(px / edge) * edge for px in (height_px, width_px))  # halves go to even, as there
        if rows * columns > self.most_px:
            shrink = math.sqrt(height_px * width_px / self.most_px)
            rows, columns = (max(edge, math.floor(px / shrink / edge) * edge) for px in (height_px, width_px))
        elif rows * columns < self.fewest_px:
            enlarge = math.sqrt(self.fewest_px / (height_px * width_px))
            rows, columns = (math.ceil(px * enlarge / edge) * edge for px in (height_px, width_px))
        return rows // self.patch_px, columns // self.patch_px

    def tokens(self, width_px: int, height_px: int) -> int:
        """Tokens of one picture with those that enclose it."""
        rows, columns = self.grid(width_px, height_px)
        return rows * columns // self.merge**2 + self.enclosing


FAMILIES: Mapping[str, PatchTokens] = {
    "qwen2_5_vl": PatchTokens(patch_px=14, fewest_px=56 * 56, most_px=16384 * 28 * 28),
    "qwen3_vl": PatchTokens(patch_px=16, fewest_px=64 * 32 * 32, most_px=16384 * 32 * 32),
}
"""With the limits of the published checkpoints (Qwen2.5-VL-*-Instruct, Qwen3-VL-*-Instruct); Qwen3.5 and 3.6 prepare
pictures as Qwen3-VL. A checkpoint with other limits: `cost_of_processor`."""


@dataclass(frozen=True, slots=True)
class MeasuredTokens:
    """Any processor with a chat template: one picture more, counted."""

    processor: Any
    """As AutoProcessor loads it."""

    def tokens(self, width_px: int, height_px: int) -> int:
        """Tokens that a second picture of this size adds to a prompt."""
        from PIL import Image as PillowImage

        blank = PillowImage.new("RGB", (width_px, height_px))
        one, two = (self._length([blank] * count) for count in (1, 2))
        return two - one

    def _length(self, pictures: list[Any]) -> int:
        content = [{"type": "image", "image": picture} for picture in pictures]
        inputs = self.processor.apply_chat_template(
            [[{"role": "user", "content": [*content, {"type": "text", "text": "?"}]}]],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return int(inputs["input_ids"].shape[1])


def cost_of_processor(processor: Any) -> PictureCost:
    """The rule of a loaded processor: the formula with its own limits for Qwen-VL, else counting."""
    images = getattr(processor, "image_processor", None)
    if images is not None and type(images).__name__.startswith("Qwen2VLImageProcessor"):
        return PatchTokens(
            patch_px=images.patch_size,
            merge=images.merge_size,
            fewest_px=images.size["shortest_edge"],
            most_px=images.size["longest_edge"],
        )
    return MeasuredTokens(processor)


# ----------------------------------------------------------------------------------------------------------- planning


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeShape:
    """What of an episode is in a prompt at most."""

    width_px: int
    """Of each picture."""
    height_px: int
    """Of each picture."""
    turns: int
    """Longest episode."""
    window: int | None
    """Past rounds beside the present one; None is all, as in training on whole conversations."""
    system_tokens: int
    """System message with its frame."""
    round_tokens: int
    """Text of one round: state, what was said, feedback."""
    new_tokens: int
    """Longest text of one turn."""
    replies_stay: bool = False
    """The model's own texts stay in the prompt word for word, as in a chat or in training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPlan:
    """The longest prompt of an episode."""

    pictures: int
    """In it."""
    picture_tokens: int
    """Of one picture."""
    prompt_tokens: int
    """In it, at most."""
    new_tokens: int
    """That may follow."""
    context_tokens: int
    """Of the model."""
    shape: EpisodeShape
    """Of the episode."""

    @property
    def needed_tokens(self) -> int:
        """Prompt and answer."""
        return self.prompt_tokens + self.new_tokens

    @property
    def fits(self) -> bool:
        """Whether the context holds them."""
        return self.needed_tokens <= self.context_tokens

    def text(self) -> str:
        """One line for people."""
        size = f"{self.shape.width_px}x{self.shape.height_px}"
        return (
            f"{self.pictures} pictures of {size} at {self.picture_tokens} tokens and text make {self.prompt_tokens} "
            f"tokens, with {self.new_tokens} new ones {self.needed_tokens} of {self.context_tokens}"
        )

    def require(self, cost: PictureCost) -> None:
        """UserError with the numbers and what to change where the context does not hold an episode."""
        if self.fits:
            return
        raise UserError(f"an episode does not fit the context: {self.text()}; {self._advice(cost)}")

    def _advice(self, cost: PictureCost) -> str:
        room = self.context_tokens - self.needed_tokens + self.pictures * self.picture_tokens
        text_of_round = (self.needed_tokens - self.pictures * self.picture_tokens) // max(self.pictures, 1)
        rounds = max(0, self.context_tokens // max(self.picture_tokens + text_of_round, 1))
        ways = []
        if 1 <= rounds < self.pictures:
            ways.append(f"show at most {rounds} pictures (window: {rounds - 1})")
        smaller = _largest_that_fits(cost, self.shape, room // self.pictures)
        if smaller is not None:
            ways.append(f"show pictures of at most {smaller[0]}x{smaller[1]}")
        ways.append(f"take a model with a context of {self.needed_tokens} or more")
        return ", or ".join(ways)


def plan(shape: EpisodeShape, cost: PictureCost, context_tokens: int) -> TokenPlan:
    """Tokens of the longest prompt of an episode beside the context of a model."""
    pictures = shape.turns if shape.window is None else min(shape.turns, shape.window + 1)
    picture_tokens = cost.tokens(shape.width_px, shape.height_px)
    text = shape.system_tokens + pictures * shape.round_tokens
    if shape.replies_stay:
        text += (pictures - 1) * shape.new_tokens
    return TokenPlan(
        pictures=pictures,
        picture_tokens=picture_tokens,
        prompt_tokens=text + pictures * picture_tokens,
        new_tokens=shape.new_tokens,
        context_tokens=context_tokens,
        shape=shape,
    )


def _largest_that_fits(cost: PictureCost, shape: EpisodeShape, most_tokens: int) -> tuple[int, int] | None:
    """The largest picture of the same proportions, in sixteenths of the size, that costs no more."""
    for sixteenths in range(15, 0, -1):
        width, height = shape.width_px * sixteenths // 16, shape.height_px * sixteenths // 16
        if min(width, height) >= 1 and cost.tokens(width, height) <= most_tokens:
            return width, height
    return None
