"""Loads a Hugging Face image-text-to-text checkpoint and its processor, or says in one line why not."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.agents.models import _qwen_video
from allocentric.core.errors import MissingPackageError, UserError

_log = logging.getLogger(__name__)
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
_TAKES_NONE = "its processor takes none"
_LOAD_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A model ready to generate."""

    model: Any
    """In evaluation mode, on its device."""
    processor: Any
    """Turns conversations into tensors."""
    video: str
    """Who prepares videos: "checkpoint" (its own video processor), "allocentric" (`_qwen_video`), or "" (nobody)."""
    no_video: str
    """Why nobody does; empty where somebody does."""


def load(path: str, *, revision: str | None, dtype: str, device: str, attn_implementation: str | None) -> Checkpoint:
    """Read weights (safetensors only) and processor from a folder or the hub; no code of the checkpoint is run.

    Raises:
        UserError: no such checkpoint, no processor, no chat template, missing weights, an absent device ...
        MissingPackageError: torch or transformers is absent.
    """
    _require_packages()
    path = _located(path)
    _check_device(device)
    model_config = _guarded(path, "its config.json", _load_config, path, revision)
    processor, video, no_video = _guarded(path, "its processor", _load_processor, path, revision, model_config)
    _check_processor(path, processor)
    model = _guarded(path, "its weights", _load_model, path, revision, dtype, device, attn_implementation)
    _log.info("%s: videos are prepared by %s", path, video or f"nobody ({no_video})")
    return Checkpoint(model=model, processor=processor, video=video, no_video=no_video)


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's type and message without line breaks."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:limit]}" if message else type(error).__name__


def _require_packages() -> None:
    try:
        import torch
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "torch", needed_for="the hf model backend", extra="hf") from None
    except RuntimeError as error:  # a torchvision built for another torch breaks the import of transformers
        raise UserError(
            f"transformers cannot be imported beside torch {torch.__version__}: {one_line(error)}"
        ) from None


def _located(path: str) -> str:
    """The folder, complete as far as file names tell, or the hub id."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{path} is not a model folder: it has no config.json")
        if not any((folder / name).is_file() for name in _PROCESSOR_FILES):
            raise UserError(
                f"{path} has no processor ({' or '.join(_PROCESSOR_FILES)}); save that of its base model there: "
                "AutoProcessor.from_pretrained(BASE).save_pretrained(FOLDER)"
            )
        return str(folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or path.startswith("."):
        raise UserError(f"no such model folder: {path} (a hub id looks like Qwen/Qwen3-VL-4B-Instruct)")
    return path


def _check_device(device: str) -> None:
    import torch

    try:
        wanted = torch.device("cuda" if device == "auto" else device)
    except RuntimeError:
        raise UserError(f"unknown device {device!r}; expected cpu, cuda, cuda:1, mps or auto") from None
    if wanted.type == "cuda" and torch.cuda.device_count() <= (wanted.index or 0):
        found = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"
        raise UserError(f"device {device!r} was asked for, but torch sees {found}; set device: cpu to run on the CPU")
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' was asked for, but torch sees no Apple GPU; set device: cpu to run on the CPU")


def _guarded(path: str, part: str, load_part: Any, *arguments: Any) -> Any:
    from safetensors import SafetensorError

    try:
        return load_part(*arguments)
    except (*_LOAD_ERRORS, SafetensorError) as error:
        where = path if Path(path).is_dir() else f"the hub's {path} (there is no folder of that name)"
        raise UserError(f"cannot load {part} from {where}: {one_line(error)}") from error


def _load_config(path: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)


def _load_processor(path: str, revision: str | None, model_config: Any) -> tuple[Any, str, str]:
    """The processor, who prepares its videos, and why nobody does."""
    from transformers import AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils import is_torchvision_available

    where: dict[str, Any] = {"revision": revision or "main"}
    known = type(model_config) in PROCESSOR_MAPPING
    if is_torchvision_available() or not known:
        processor = AutoProcessor.from_pretrained(path, trust_remote_code=False, **where)
        return (processor, "checkpoint", "") if hasattr(processor, "video_processor") else (processor, "", _TAKES_NONE)
    # Without torchvision a processor that has a video processor cannot be made, so it is made without one.
    full_class = PROCESSOR_MAPPING[type(model_config)]
    processor = _without_video(full_class).from_pretrained(path, **where)
    if "video_processor" not in full_class.get_attributes():
        return processor, "", _TAKES_NONE
    if model_config.model_type not in _qwen_video.FAMILIES:
        return processor, "", "its video processor needs torchvision; run: pip install torchvision"
    processor.video_processor = _qwen_video.load(path, revision, model_config.model_type)
    if processor.video_processor is None:
        return processor, "", "it has no video settings (video_preprocessor_config.json)"
    return processor, "allocentric", ""


def _without_video(processor_class: Any) -> Any:
    """The same processor class, but loading and checking no video processor; it saves the settings of `QwenVideo`."""
    attributes = [name for name in processor_class.get_attributes() if name != "video_processor"]

    def to_dict(self: Any) -> dict[str, Any]:
        values: dict[str, Any] = processor_class.to_dict(self)
        if isinstance(values.get("video_processor"), _qwen_video.QwenVideo):
            values["video_processor"] = dict(values["video_processor"].settings)
        return values

    members = {"get_attributes": classmethod(lambda _: attributes), "to_dict": to_dict}
    return type(processor_class.__name__, (processor_class,), members)


def _check_processor(path: str, processor: Any) -> None:
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise UserError(f"{path} has a {type(processor).__name__}, but no processor that takes pictures and text")
    if processor.chat_template is None:
        raise UserError(f"{path} has no chat template (chat_template.jinja); only chat checkpoints can be asked")


def _has_our_layers(path: str, revision: str | None, attn_implementation: str | None) -> bool:
    """Whether the checkpoint's config or the caller asks for attention of `allocentric.sparse_attn`."""
    if attn_implementation is not None and attn_implementation.startswith("allocentric:"):
        return True
    model_config = _load_config(path, revision)
    parts = [model_config, *(getattr(model_config, name, None) for name in model_config.sub_configs)]
    return any(getattr(part, "allocentric", None) for part in parts)


def _load_model(path: str, revision: str | None, dtype: str, device: str, attn_implementation: str | None) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    if _has_our_layers(path, revision, attn_implementation):
        from allocentric.sparse_attn import register  # puts attention methods and mixers into transformers

        register.register()
    options: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    model, report = AutoModelForImageTextToText.from_pretrained(
        path,
        revision=revision or "main",
        dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    if report["missing_keys"]:  # transformers would go on with random weights
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{len(missing)} weights are missing, among them {missing[0]}")
    return (model if device == "auto" else model.to(device)).eval()
