"""A vision-language checkpoint becomes a hybrid: some attention layers turn into mixers that begin with their weights.

The result is an ordinary checkpoint folder. `AutoModelForImageTextToText.from_pretrained` loads it once
`allocentric.sparse_attn.register` is imported.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from allocentric.core.errors import DataError, MissingPackageError, UserError
from allocentric.sparse_attn.recipe import ConversionRecipe

_COPIED = ("*.json", "*.jinja", "*.txt", "*.model")
"""Tokenizer, processor and chat template; config.json and the weights' index are written anew."""
_WRITTEN = ("config.json", "generation_config.json", "model.safetensors.index.json")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was made."""

    folder: Path
    """The new checkpoint."""
    family: str
    """`model_type` of its config."""
    layers: tuple[str, ...]
    """Per layer of the language model what it is now: a mixer, a method, attention, or the original's linear layer."""
    parameters: int
    """Of the whole model."""
    new_parameters: int
    """Those that the original doesn't have: gates, convolutions, fast weights ..."""
    state_bytes: int
    """Bytes per sequence that the mixers carry after 4096 tokens."""


def convert(
    checkpoint: str,
    recipe: ConversionRecipe,
    out: Path,
    *,
    revision: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    seed: int = 0,
) -> Converted:
    """Write a hybrid of a checkpoint to `out`, which appears whole or not at all.

    Args:
        checkpoint: Folder, or hub id.
        recipe: Which layers become what.
        out: Must not exist, or be empty.
        revision: Of a hub id.
        dtype: Of the weights; auto is the checkpoint's.
        seed: Of weights that the original doesn't have.

    Raises:
        UserError: the checkpoint can't be loaded, `out` is taken, or the recipe doesn't fit the model.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name a new or empty folder")
    if not recipe.mixers and not recipe.text and not recipe.vision:
        raise UserError("the recipe changes nothing: it has neither mixers nor text nor vision")
    out.parent.mkdir(parents=True, exist_ok=True)
    model = _load(checkpoint, revision, dtype)
    sizes_before = sum(parameter.numel() for parameter in model.parameters())
    layers, state_bytes = become(model, recipe, seed=seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        made = Path(scratch) / out.name
        model.save_pretrained(made)
        _copy_processor(checkpoint, revision, made)
        made.replace(out)
    return Converted(
        folder=out,
        family=str(model.config.model_type),
        layers=tuple(layers),
        parameters=parameters,
        new_parameters=parameters - sizes_before,
        state_bytes=state_bytes,
    )


def become(model: Any, recipe: ConversionRecipe, *, seed: int = 0) -> tuple[list[str], int]:
    """Change a model in memory; returns what every layer is now, and the bytes that its mixers carry."""
    import torch

    from allocentric.sparse_attn import hybrid, register
    from allocentric.sparse_attn.recipe import by_layer

    register.register()
    tower = register.text_tower(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixed = hybrid.put_mixers(tower, recipe.mixers, adopt=True) if recipe.mixers else []
        register.use(model, recipe)
    left = register.attention_layers(tower)
    methods = by_layer(recipe.text, sorted(left), len(register.layers_of(tower)))
    names, state_bytes = [], 0
    for index, layer in enumerate(register.layers_of(tower)):
        if index in mixed:
            mixer = hybrid.mixer_of(layer)
            names.append(mixer.name)
            state_bytes += mixer.cost(4096).state_bytes
        elif index in methods:
            names.append(methods[index].method)
        else:
            names.append("full_attention" if index in left else "linear_attention")
    return names, state_bytes


def _load(checkpoint: str, revision: str | None, dtype: str) -> Any:
    try:
        import torch
        from transformers import AutoModelForImageTextToText
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "torch", needed_for="a conversion", extra="hf") from None
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            checkpoint,
            revision=revision or "main",
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"cannot load {checkpoint}: {' '.join(str(error).split())[:300]}") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise DataError(f"{checkpoint}: {len(missing)} weights are missing, among them {missing[0]}")
    return model.eval()


def _copy_processor(checkpoint: str, revision: str | None, made: Path) -> None:
    folder = Path(checkpoint).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(checkpoint, revision=revision, allow_patterns=list(_COPIED)))
    for pattern in _COPIED:
        for file in folder.glob(pattern):
            if file.name not in _WRITTEN:
                shutil.copy(file, made / file.name)
