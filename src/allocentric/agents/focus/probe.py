"""Attention of a Hugging Face vision-language model to the pictures of its prompt.

Only the attention of single tokens is looked at: the prompt is read with whatever attention the model has, up to its
last token, and that token and those of the answer are read one at a time with eager attention, whose weights are a row
each. So probing costs no more memory than answering, and the model's attention is put back afterwards, whatever
happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from allocentric.agents.focus.contract import Array, Maps
from allocentric.core.errors import DataError
from allocentric.core.types import Image


class AttentionProbe:
    """Implements `contract.Probe` for image-text-to-text checkpoints whose prompts hold a token per picture part."""

    def __init__(self, model: Any, processor: Any) -> None:
        """The checkpoint.

        Args:
            model: Of transformers, with full attention layers; in evaluation mode.
            processor: Its processor, with a chat template.
        """
        self._model, self._processor = model, processor

    @property
    def layers(self) -> int:
        """Of the language model, those with full attention."""
        config = self._model.config.get_text_config()
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
        return sum(kind == "full_attention" for kind in kinds)

    def __call__(self, pictures: Sequence[Image], text: str, *, steps: int = 1) -> tuple[Maps, ...]:
        """See `contract.Probe`; the answer is greedy and ends early where it is over.

        Raises:
            DataError: the picture tokens are not laid out in rows and columns that are known.
        """
        import torch

        inputs = self.encode(pictures, text).to(self._model.device)
        for key in [key for key in inputs if key.startswith("pixel_values")]:
            inputs[key] = inputs[key].to(self._model.dtype)
        ids = inputs["input_ids"]
        places = self._places(ids[0], inputs.get("image_grid_thw"), len(pictures))
        with torch.inference_mode():
            rows = self._rows(dict(inputs), ids, steps)
        return tuple(tuple(row[:, where].reshape(row.shape[0], *shape) for where, shape in places) for row in rows)

    def encode(self, pictures: Sequence[Image], text: str) -> Any:
        """Model inputs of one user message: the pictures, then the text."""
        content: list[dict[str, Any]] = [
            {"type": "image", "image": PillowImage.fromarray(picture)} for picture in pictures
        ]
        conversation = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        return self._processor.apply_chat_template(
            [conversation], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )

    def _rows(self, inputs: dict[str, Any], ids: Any, steps: int) -> list[Array]:
        """(layers, tokens of the prompt) per step."""
        from transformers import DynamicCache

        length = ids.shape[1]
        cache = DynamicCache(config=self._model.config.get_text_config())
        first = {**inputs, "input_ids": ids[:, :-1]}
        first.pop("attention_mask", None)  # one row without padding
        for key in ("mm_token_type_ids", "token_type_ids"):
            if key in first:
                first[key] = first[key][:, :-1]
        self._model(**first, past_key_values=cache, use_cache=True)
        token, found = ids[:, -1:], []
        ends = self._ends()
        with eager_attention(self._model):
            for _ in range(steps):
                out = self._model(input_ids=token, past_key_values=cache, use_cache=True, output_attentions=True)
                found.append(_last_row(out.attentions, length))
                token = out.logits[:, -1:].argmax(-1)
                if int(token) in ends:
                    break
        return found

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return {ends} if isinstance(ends, int) else set(ends or ())

    def _places(self, ids: Any, grids: Any, count: int) -> list[tuple[Any, tuple[int, int]]]:
        """Per picture, where its tokens are in the prompt, and their rows and columns."""
        config = self._model.config
        token = getattr(config, "image_token_id", None)
        token = getattr(config, "image_token_index", None) if token is None else token
        if token is None:
            raise DataError(f"{type(self._model).__name__} doesn't say which tokens stand for pictures")
        where = np.flatnonzero((ids == token).cpu().numpy())
        shapes = _shapes(config, grids, len(where), count)
        if sum(rows * columns for rows, columns in shapes) != len(where):
            raise DataError(f"{len(where)} picture tokens don't fill maps of {shapes}")
        borders = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        return list(zip(np.split(where, borders), shapes, strict=True))


def _shapes(config: Any, grids: Any, tokens: int, count: int) -> list[tuple[int, int]]:
    if grids is not None:
        merge = int(getattr(config.vision_config, "spatial_merge_size", 1))
        return [(int(rows) // merge, int(columns) // merge) for _, rows, columns in grids.tolist()]
    side = round((tokens / count) ** 0.5)
    if count * side * side != tokens:
        raise DataError(f"{tokens} tokens for {count} pictures are no squares, and the processor gives no grids")
    return [(side, side)] * count


def _last_row(attentions: Any, length: int) -> Array:
    """(layers, length): the last query's weights on the prompt, averaged over heads."""
    if not attentions or any(layer is None for layer in attentions):
        raise DataError("the model gives no attention weights; focus needs layers with full attention")
    return np.stack([layer[0, :, -1, :length].float().mean(0).cpu().numpy() for layer in attentions]).astype(float)


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """Eager attention in every tower of a model of transformers, and what was there before afterwards."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    before = [
        (config, config._attn_implementation_internal)
        for config in configs.values()
        if hasattr(config, "_attn_implementation_internal")
    ]
    try:
        for config, _ in before:
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation_internal = implementation
