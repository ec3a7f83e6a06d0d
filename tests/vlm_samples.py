"""Tiny vision-language models whose attention matters, and inputs with pictures and videos for them."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch

FAMILIES = ["qwen2_5_vl", "qwen3_vl", "qwen3_5"]
LAYERS = 4


@cache
def _config(family: str) -> Any:
    from allocentric.train import tiny

    config = tiny._config(family, tiny._tokenizer(tiny.FAMILIES[family]))
    text = config.text_config
    text.num_hidden_layers = LAYERS
    if getattr(text, "layer_types", None):
        kinds = ["linear_attention", "full_attention"] if family == "qwen3_5" else ["full_attention"]
        text.layer_types = (kinds * LAYERS)[:LAYERS]
    return config


def model_of(family: str, **options: Any) -> Any:
    """A model of four layers with weights large enough for attention to be far from uniform."""
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = AutoModelForImageTextToText.from_config(copy.deepcopy(_config(family)), **options)
        for name, parameter in made.named_parameters():
            if parameter.ndim == 2 and "lm_head" not in name and "embed" not in name:
                torch.nn.init.normal_(parameter, std=1.6 / parameter.shape[1] ** 0.5)
            elif "embed_tokens" in name or "lm_head" in name:
                torch.nn.init.normal_(parameter, std=0.5)
    made.generation_config.update(do_sample=False, pad_token_id=0, eos_token_id=None)
    return made.eval()


def save(family: str, folder: Path) -> Path:
    """The model as a checkpoint; returns the folder."""
    model_of(family).save_pretrained(folder)
    return folder


def inputs_of(family: str, *, rows: int = 1, pad: int = 0) -> dict[str, torch.Tensor]:
    """A prompt with a picture of 4x6 tokens and a video of 3 frames of 4x4, one per row; row 0 has `pad` columns of
    padding on the left, which the other rows fill with text."""
    config = _config(family)
    g = torch.Generator().manual_seed(2)
    picture = [config.image_token_id] * 24
    frame = [config.video_token_id] * 16
    words = torch.randint(10, 250, (rows, 60), generator=g).tolist()
    start, end = config.vision_start_token_id, config.vision_end_token_id
    ids, mask = [], []
    for row in range(rows):
        w = words[row]
        if family == "qwen2_5_vl":  # one video is one run of tokens; later families put a timestamp before each frame
            video = [start, *frame * 3, end]
        else:
            video = [token for k in range(3) for token in (w[20 + k], start, *frame, end)]
        real = [*w[:7], start, *picture, end, *w[7:11], *video, *w[11:25]]
        extra = [0] * pad if row == 0 else w[30 : 30 + pad]
        ids.append(extra + real)
        mask.append([int(row > 0)] * pad + [1] * len(real))
    input_ids = torch.tensor(ids)
    types = (input_ids == config.image_token_id) + 2 * (input_ids == config.video_token_id).int()
    patch = config.vision_config.patch_size
    width = 3 * 2 * patch * patch
    return {
        "input_ids": input_ids,
        "attention_mask": torch.tensor(mask),
        "mm_token_type_ids": types.int(),
        "image_grid_thw": torch.tensor([[1, 8, 12]] * rows),
        "video_grid_thw": torch.tensor([[3, 8, 8]] * rows),
        "pixel_values": torch.randn(rows * 96, width, generator=g),
        "pixel_values_videos": torch.randn(rows * 192, width, generator=g),
    }
