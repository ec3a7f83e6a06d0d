"""Tiny vision-language models with random weights, saved as real checkpoints are.

They answer nonsense in milliseconds on a CPU, and everything that loads, serves, trains or scores the real families
takes the same path with them: safetensors, a byte-level BPE tokenizer, a chat template and the processors' files.

    python -m allocentric.train.tiny FOLDER --family qwen3_vl --size 5M
"""

from __future__ import annotations

import argparse
import filecmp
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.core.errors import MissingPackageError, UserError, suggestion


@dataclass(frozen=True, slots=True)
class Size:
    """Widths and depths of a model; parameters are counted with the tokenizer's some 520 tokens."""

    hidden: int
    """Width of the language model."""
    layers: int
    """Of the language model."""
    heads: int
    """Of the language model."""
    key_value_heads: int
    """Heads of keys and values."""
    vision_hidden: int
    """Width of the vision tower."""
    vision_layers: int
    """Of the vision tower."""
    vision_heads: int
    """Of the vision tower."""

    @property
    def head_dim(self) -> int:
        """Width of a head of the language model."""
        return self.hidden // self.heads

    @property
    def mrope_section(self) -> list[int]:
        """Rotary pairs of time, row and column; they sum to half a head."""
        return [self.head_dim // 4, self.head_dim // 8, self.head_dim // 8]


SIZES: dict[str, Size] = {
    "0.2M": Size(64, 2, 4, 2, 32, 2, 2),
    "1M": Size(128, 4, 4, 2, 64, 4, 2),
    "5M": Size(256, 6, 4, 2, 128, 4, 4),
    "20M": Size(512, 6, 8, 4, 256, 6, 4),
    "50M": Size(640, 10, 10, 5, 320, 8, 5),
}
"""By name, which says the number of parameters roughly: 0.2 to 50 million."""
SMALLEST = "0.2M"
INIT_STD = 0.02
"""Standard deviation of random weights in these families."""
_VOCABULARY = 512
_SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_END, _PAD = "<|im_end|>", "<|endoftext|>"
_PLAIN_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""One token each, but kept in decoded text."""
_THINGS = (
    "chair", "table", "sofa", "bed", "lamp", "door", "window", "shelf", "sink", "stove", "toilet", "desk", "plant",
    "monitor", "pillow", "rug",
)  # fmt: skip
_RELATIONS = ("left", "right", "front", "back", "behind", "above", "below", "near", "far", "front-left", "back-right")
_ROOMS = ("kitchen", "bedroom", "bathroom", "living room", "office", "hallway")
"""The words the tokenizer learns from."""

_CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string %}{{ content }}{% else %}
{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else %}{{ part.text }}{% endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
DEFAULT_SYSTEM{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}{{ render(message.content) }}{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""
_DEFAULT_SYSTEM = """\
{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What tells one family of checkpoints from another."""

    processor: str
    """Class of the processor."""
    video_processor: str
    """Class of the video processor."""
    patch_size: int
    """Edge of a vision patch in pixels."""
    mean: tuple[float, float, float]
    """Subtracted from sRGB in [0, 1]."""
    std: tuple[float, float, float]
    """Divides the difference."""
    default_system: bool
    """The chat template adds a system message where there is none."""
    vision: dict[str, Any]
    """Fields of the vision tower's config beside the common ones."""
    text: dict[str, Any]
    """Fields of the language model's config beside the common ones."""


_HALF = (0.5, 0.5, 0.5)
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
_INTERLEAVED: dict[str, Any] = _ROPE | {"mrope_interleaved": True}

FAMILIES: dict[str, Family] = {
    "qwen2_5_vl": Family(
        processor="Qwen2_5_VLProcessor",
        video_processor="Qwen2VLVideoProcessor",
        patch_size=14,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        default_system=True,
        vision={"window_size": 56, "tokens_per_second": 2},
        text={"rope_parameters": _ROPE},
    ),
    "qwen3_vl": Family(
        processor="Qwen3VLProcessor",
        video_processor="Qwen3VLVideoProcessor",
        patch_size=16,
        mean=_HALF,
        std=_HALF,
        default_system=False,
        vision={"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        text={"rope_parameters": _INTERLEAVED},
    ),
    "qwen3_5": Family(
        processor="Qwen3VLProcessor",
        video_processor="Qwen3VLVideoProcessor",
        patch_size=16,
        mean=_HALF,
        std=_HALF,
        default_system=False,
        vision={"num_position_embeddings": 64},
        text={
            "rope_parameters": _INTERLEAVED | {"partial_rotary_factor": 1.0},
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    ),
}


def build(
    folder: Path,
    family: str,
    seed: int = 0,
    size: str = SMALLEST,
    words: tuple[str, ...] = (),
    init_std: float = INIT_STD,
) -> Path:
    """Write a tiny model of `family` to `folder`, as `save_pretrained` writes a real one; returns the folder.

    The same family, seed and package versions give the same bytes, so a folder that holds this very model is left as
    it is. The folder appears whole or not at all.

    Args:
        folder: Must be new or empty, or hold this model.
        family: A key of `FAMILIES`.
        seed: Of the weights.
        size: A key of `SIZES`.
        words: Become one token each, with and without a space before, beside those of the tokenizer's own text.
        init_std: Of the random weights. The families' 0.02 suits widths of thousands; a model of width 64 to 256 that
            is to learn, rather than only to take the path of a real one, wants 0.1 to 0.2. With any but 0.02, where a
            vision tower has learnt positions (Qwen3-VL), these and the patches begin at the same scale: a patch sums
            over a thousand pixels, and its place would otherwise be a hundredth of what the next layer sees.

    Raises:
        UserError: unknown family or size, or the folder holds something else.
        MissingPackageError: torch or transformers is absent.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown model family {family!r}" + suggestion(family, FAMILIES))
    if size not in SIZES:
        raise UserError(f"unknown model size {size!r}" + suggestion(size, SIZES))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / folder.name
        _write(made, family, seed, SIZES[size], words, init_std)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            made.replace(folder)
        elif not _same_files(made, folder):
            raise UserError(f"{folder} is there already with other content; name a new or empty folder")
    return folder


def _write(folder: Path, family: str, seed: int, size: Size, words: tuple[str, ...], init_std: float) -> None:
    try:
        import torch
        from transformers import AutoModelForImageTextToText
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "transformers", needed_for="a tiny model", extra="hf") from None
    folder.mkdir()
    tokenizer = _tokenizer(FAMILIES[family], words)
    tokenizer.save_pretrained(folder)
    _save_processors(folder, FAMILIES[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = _config(family, tokenizer, size)
        if init_std != INIT_STD:
            for part in (settings, settings.text_config, settings.vision_config):
                part.initializer_range = init_std
        model = AutoModelForImageTextToText.from_config(settings, dtype=torch.float32)
        if init_std != INIT_STD and hasattr(model.model.visual, "pos_embed"):
            patches = model.model.visual.patch_embed.proj.weight
            torch.nn.init.normal_(patches, std=patches[0].numel() ** -0.5)
            torch.nn.init.normal_(model.model.visual.pos_embed.weight, std=1.0)
    model.generation_config = _generation_config(tokenizer)
    model.save_pretrained(folder)


def _same_files(first: Path, second: Path) -> bool:
    if not second.is_dir():
        return False
    names = sorted(path.name for path in first.iterdir())
    if names != sorted(path.name for path in second.iterdir()):
        return False
    return filecmp.cmpfiles(first, second, names, shallow=False)[0] == names


def _config(family: str, tokenizer: Any, size: Size = SIZES[SMALLEST]) -> Any:
    from transformers import AutoConfig

    spec = FAMILIES[family]
    special = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in {
            "image": "image_pad",
            "video": "video_pad",
            "vision_start": "vision_start",
            "vision_end": "vision_end",
        }.items()
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "intermediate_size": 2 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "max_position_embeddings": 65536,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **spec.text,
        "rope_parameters": spec.text["rope_parameters"] | {"mrope_section": size.mrope_section},
    }
    if family != "qwen2_5_vl":
        text["head_dim"] = size.head_dim
    if "layer_types" in spec.text:
        text |= {"linear_key_head_dim": size.head_dim, "linear_value_head_dim": size.head_dim}
        text["layer_types"] = (spec.text["layer_types"] * size.layers)[: size.layers]
    vision = {
        "depth": size.vision_layers,
        "hidden_size": size.vision_hidden,
        "intermediate_size": 2 * size.vision_hidden,
        "num_heads": size.vision_heads,
        "patch_size": spec.patch_size,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": size.hidden,
        **spec.vision,
    }
    if family == "qwen2_5_vl":
        vision["fullatt_block_indexes"] = [size.vision_layers - 1]
    return AutoConfig.for_model(family, text_config=text, vision_config=vision, **special)


def _generation_config(tokenizer: Any) -> Any:
    from transformers import GenerationConfig

    end, pad = (tokenizer.convert_tokens_to_ids(token) for token in (_END, _PAD))
    return GenerationConfig(do_sample=False, eos_token_id=[end, pad], pad_token_id=pad)


def _tokenizer(spec: Family, words: tuple[str, ...] = ()) -> Any:
    """Byte-level BPE trained on the words of spatial questions, with the family's special tokens and chat template."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import Qwen2Tokenizer

    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(_corpus(), vocab_size=_VOCABULARY, min_frequency=2, show_progress=False)
    state = json.loads(trainer.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        unk_token=None,
        eos_token=_END,
        pad_token=_PAD,
        model_max_length=65536,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL_TOKENS)})
    tokenizer.add_tokens([*_PLAIN_TOKENS, *(form for word in words for form in (word, f" {word}"))])
    default_system = _DEFAULT_SYSTEM if spec.default_system else ""
    tokenizer.chat_template = _CHAT_TEMPLATE.replace("DEFAULT_SYSTEM", default_system)
    return tokenizer


def _save_processors(folder: Path, spec: Family) -> None:
    """The two processor files of a published checkpoint, readable with and without torchvision."""
    common: dict[str, Any] = {
        "processor_class": spec.processor,
        "patch_size": spec.patch_size,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
    }
    block = (2 * spec.patch_size) ** 2
    image = {"image_processor_type": "Qwen2VLImageProcessor", "size": _size(4 * block, 64 * block)}
    per_clip = 8 if spec.video_processor == "Qwen3VLVideoProcessor" else 1
    video: dict[str, Any] = {
        "video_processor_type": spec.video_processor,
        "size": _size(4 * block, 32 * per_clip * block),
        "fps": 2,
        "min_frames": 2,
        "max_frames": 64,
        "do_sample_frames": True,
        "cap_pixels_per_frame": False,
    }
    for name, values in {"preprocessor_config": image, "video_preprocessor_config": video}.items():
        (folder / f"{name}.json").write_text(json.dumps(common | values, indent=2) + "\n", encoding="utf-8")


def _size(fewest_px: int, most_px: int) -> dict[str, int]:
    return {"shortest_edge": fewest_px, "longest_edge": most_px}


def _corpus() -> Iterator[str]:
    for k, thing in enumerate(_THINGS):
        for j, relation in enumerate(_RELATIONS):
            other, room = _THINGS[(k + j + 1) % len(_THINGS)], _ROOMS[j % len(_ROOMS)]
            yield f"If I am standing by the {thing} and facing the {other}, is the lamp to my {relation}?\n"
            yield f"What is the distance between the {thing} and the {other} in meters? {k}.{j}\n"
            yield f"How many {thing}(s) are in this {room}? {j}\n"
            yield f"These are frames of a video. Options:\nA. {thing}\nB. {other}\nC. {relation}\nD. {room}\n"
            yield "Answer with the option's letter from the given choices directly.\n"
            yield "Please answer the question using a single word or phrase.\nsystem\nuser\nassistant\n"


def main(arguments: list[str] | None = None) -> int:
    """The command line: `FOLDER --family NAME|all --size 0.2M --seed N`; `all` writes FOLDER/NAME for every family."""
    parser = argparse.ArgumentParser(
        prog="python -m allocentric.train.tiny", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where to write; new, empty, or this very model's")
    parser.add_argument("--family", choices=[*FAMILIES, "all"], default="all", help="which architecture")
    parser.add_argument("--size", choices=list(SIZES), default=SMALLEST, help="parameters, roughly")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--words", nargs="*", default=[], help="one token each, beside those of the tokenizer's text")
    parser.add_argument("--init-std", type=float, default=INIT_STD, help="of the random weights; 0.2 learns sooner")
    options = parser.parse_args(arguments)
    words = tuple(options.words)
    try:
        if options.family == "all":
            for family in FAMILIES:
                print(build(options.folder / family, family, options.seed, options.size, words, options.init_std))
        else:
            print(build(options.folder, options.family, options.seed, options.size, words, options.init_std))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
