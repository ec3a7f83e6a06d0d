"""Any Hugging Face image-text-to-text checkpoint, from a folder or the hub."""

from __future__ import annotations

import gc
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from allocentric.agents.image_tokens import PictureCost, cost_of_processor
from allocentric.agents.models import _checkpoint
from allocentric.agents.models._draws import item_generator
from allocentric.core import config
from allocentric.core.errors import DataError, UserError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, Model, Prompt, Response, Sampling, View

_log = logging.getLogger(__name__)
_CLOCK_HZ = 1000
"""Frame indices are handed over on a clock of milliseconds, so that uneven frame times stay what they are."""


class Settings(config.Settings):
    """A checkpoint and how it is run."""

    path: str
    """Folder with config.json, safetensors and processor, or a hub id ("Qwen/Qwen3-VL-4B-Instruct")."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; None is main."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; auto is what the checkpoint was saved in."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, mps, or auto (spread over all GPUs by accelerate). An absent device is an error."""
    attn_implementation: str | None = None
    """Passed on: eager, sdpa, flash_attention_2 or allocentric:METHOD (`allocentric list methods`); None is the
    checkpoint's default."""
    batch_size: Annotated[int, Field(ge=1)] = 1
    """Prompts per forward pass; a batch that does not fit into memory is split in halves."""
    as_video: bool | None = None
    """True hands views over as one native video, False as separate pictures; None does what the prompt says. Around a
    Qwen3-VL video transformers 5 keeps a pair of vision tokens that vLLM drops (vllm-project/vllm issue 46817)."""
    video_fps: Annotated[float, Field(gt=0)] | None = None
    """Frames per second of a video whose views have no time; None makes such a video an error."""
    min_pixels: Annotated[int, Field(ge=1)] | None = None
    """Enlarge pictures below this (Qwen-VL processors); None keeps the checkpoint's."""
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    """Shrink pictures above this (Qwen-VL processors); None keeps the checkpoint's."""
    video_min_pixels: Annotated[int, Field(ge=1)] | None = None
    """The same for videos, in the unit of the checkpoint: a frame for Qwen2.5-VL, the whole clip for Qwen3-VL."""
    video_max_pixels: Annotated[int, Field(ge=1)] | None = None
    """The same for videos, in the unit of the checkpoint: a frame for Qwen2.5-VL, the whole clip for Qwen3-VL."""
    system: str | None = None
    """System message of prompts that bring none."""
    chat_template: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template ({"enable_thinking": false})."""
    processor: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the processor ({"images_kwargs": {...}})."""
    generation: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `generate`, over the checkpoint's generation_config.json, of which everything but its
    sampling is in force ({"repetition_penalty": 1.0})."""


def build(settings: Settings, *, items: Mapping[str, Item]) -> Model:
    """Load the checkpoint. `items` is not looked at.

    Raises:
        UserError: the checkpoint, its processor or the device is not there, or a setting does not fit it.
    """
    del items
    checkpoint = _checkpoint.load(
        settings.path,
        revision=settings.revision,
        dtype=settings.dtype,
        device=settings.device,
        attn_implementation=settings.attn_implementation,
    )
    _limit_pixels(checkpoint, settings)
    for key in settings.chat_template:
        if not re.search(rf"\b{re.escape(key)}\b", str(checkpoint.processor.chat_template)):
            raise UserError(f"the chat template of {settings.path} has no variable {key!r}")
    model = _HuggingFace(settings, checkpoint)
    if settings.as_video:
        model.require_video()
    return model


@dataclass(frozen=True, slots=True)
class Ready:
    """A prompt with its pictures read."""

    prompt: Prompt
    """What is asked."""
    conversation: list[dict[str, Any]]
    """Messages as chat templates take them, with the pictures in them."""
    metadata: Any
    """`VideoMetadata` of the video, None where pictures are shown one by one."""


class _HuggingFace:
    """Implements `core.types.Model`."""

    def __init__(self, settings: Settings, checkpoint: _checkpoint.Checkpoint) -> None:
        self.name = Path(settings.path).name + (f"@{settings.revision}" if settings.revision else "")
        self.video_preparation = checkpoint.video
        self._no_video = checkpoint.no_video
        self._settings = settings
        self.checkpoint = checkpoint
        self._model = checkpoint.model
        self._processor = checkpoint.processor
        ends = checkpoint.model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())

    def require_video(self) -> None:
        """Raise a UserError unless this checkpoint can be given videos here."""
        if not self.video_preparation:
            raise UserError(
                f"{self._settings.path} cannot be shown videos: {self._no_video}; or set as_video: false to show the "
                "frames as separate pictures"
            )

    def picture_budget(self) -> tuple[PictureCost, int] | None:
        """What pictures cost this checkpoint, and its context in tokens; None where it does not say one."""
        most = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return None if most is None else (cost_of_processor(self._processor), int(most))

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        """One response per prompt, in order; greedy, or sampled so that an item's answer ignores its neighbours."""
        responses: dict[int, Response] = {}
        groups: dict[tuple[Sampling, bool], list[int]] = {}
        for index, prompt in enumerate(batch):
            groups.setdefault((prompt.sampling, self._is_video(prompt)), []).append(index)
        for indices in groups.values():
            for start in range(0, len(indices), self._settings.batch_size):
                chunk = indices[start : start + self._settings.batch_size]
                responses |= self._answer_chunk({index: batch[index] for index in chunk})
        return [responses[index] for index in range(len(batch))]

    def _is_video(self, prompt: Prompt) -> bool:
        return _shown_as_video(prompt, self._settings)

    def _answer_chunk(self, prompts: Mapping[int, Prompt]) -> dict[int, Response]:
        responses: dict[int, Response] = {}
        ready: dict[int, Ready] = {}
        for index, prompt in prompts.items():
            try:
                ready[index] = self._prepare(prompt)
            except DataError as error:
                responses[index] = _failure(str(error))
        answers = self._answer(list(ready.values())) if ready else []
        return responses | dict(zip(ready, answers, strict=True))

    def _prepare(self, prompt: Prompt) -> Ready:
        if self._is_video(prompt):
            self.require_video()
        return conversation_of(prompt, self._settings)

    def _answer(self, ready: list[Ready]) -> list[Response]:
        """Answer a batch; one that fails is split, so that only the prompt at fault is lost."""
        outcome = self._attempt(ready)
        if isinstance(outcome, list):
            return outcome
        self._free_memory()
        if len(ready) == 1:
            return [_failure(outcome)]
        _log.warning("a batch of %d prompts failed and is split: %s", len(ready), outcome)
        half = len(ready) // 2
        return self._answer(ready[:half]) + self._answer(ready[half:])

    def _attempt(self, ready: list[Ready]) -> list[Response] | str:
        """Responses, or why there are none. The exception ends here, and with it what its frames keep in memory."""
        from jinja2 import TemplateError

        try:
            return self._run(ready)
        except TemplateError as error:
            raise UserError(f"the chat template of {self._settings.path} refuses the conversation: {error}") from None
        except (
            ValueError,
            RuntimeError,
            MemoryError,
        ) as error:  # RuntimeError: what torch raises when memory is short
            return _checkpoint.one_line(error)

    def _run(self, ready: list[Ready]) -> list[Response]:
        import torch

        started = time.perf_counter()
        inputs = self.encode(ready).to(self._model.device)
        limit = ready[0].prompt.sampling.max_new_tokens
        self._check_length(inputs["input_ids"].shape[1], limit)
        for key in [key for key in inputs if key.startswith("pixel_values")]:  # times and masks keep their precision
            inputs[key] = inputs[key].to(self._model.dtype)
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._generation(ready))
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        seconds = (time.perf_counter() - started) / len(ready)
        return [self._response(*row, limit, seconds) for row in zip(new, lengths, strict=True)]

    def _check_length(self, tokens: int, new: int) -> None:
        """Beyond its trained positions a model answers, but worse: another experiment than was asked for."""
        most = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if most is not None and tokens + new > most:
            raise ValueError(
                f"a prompt of {tokens} tokens and {new} new ones exceed the {most} positions of the model; show fewer "
                "or smaller pictures"
            )

    def encode(self, ready: Sequence[Ready]) -> Any:
        """Model inputs of a batch, padded on the left."""
        return encode(self._processor, ready, self._settings)

    def _generation(self, ready: Sequence[Ready]) -> dict[str, Any]:
        sampling = ready[0].prompt.sampling
        options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        options |= self._settings.generation
        options["max_new_tokens"] = sampling.max_new_tokens
        if sampling.temperature > 0:
            options["logits_processor"] = [_GumbelNoise(sampling, [one.prompt.item_id for one in ready])]
        return options

    def _response(self, new: list[int], prompt_tokens: int, limit: int, seconds: float) -> Response:
        end = next((k for k, token in enumerate(new) if token in self._ends), None)
        written = new if end is None else new[: end + 1]
        text = self._processor.tokenizer.decode(written, skip_special_tokens=True)
        return Response(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(written),
            seconds=seconds,
            finish_reason="length" if end is None and len(new) >= limit else "stop",
        )

    def close(self) -> None:
        """Let the weights go, so that the next model finds their memory free."""
        on_gpu = self._model.device.type == "cuda"
        del self._model, self._processor, self.checkpoint
        gc.collect()  # networks hold cycles, which counting references does not end
        if on_gpu:
            import torch

            torch.cuda.empty_cache()

    def _free_memory(self) -> None:
        import torch

        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()


def of_checkpoint(settings: Settings, checkpoint: _checkpoint.Checkpoint) -> Model:
    """A checkpoint that is in memory already, one in training say, as a model that answers prompts.

    The pixel limits of the settings are put into its processor.
    """
    _limit_pixels(checkpoint, settings)
    return _HuggingFace(settings, checkpoint)


def conversation_of(prompt: Prompt, settings: Settings) -> Ready:
    """A prompt as a conversation with its pictures: what evaluation and training both show.

    Raises:
        DataError: a picture can't be read, or the frames of a video differ in size or have no times.
    """
    pictures = [picture(view) for view in prompt.views]
    metadata = None
    content: list[dict[str, Any]]
    if _shown_as_video(prompt, settings):
        sizes = sorted({image.size for image in pictures})
        if len(sizes) > 1:
            raise DataError(f"the frames of a video have different sizes: {sizes[0]} and {sizes[1]}")
        metadata = video_metadata(prompt.views, settings.video_fps)
        content = [{"type": "video", "video": np.stack([np.asarray(image) for image in pictures])}]
    else:
        content = [{"type": "image", "image": image} for image in pictures]
    system = prompt.system if prompt.system is not None else settings.system
    conversation: list[dict[str, Any]] = []
    if system is not None:
        conversation.append({"role": "system", "content": [{"type": "text", "text": system}]})
    conversation.append({"role": "user", "content": [*content, {"type": "text", "text": prompt.text}]})
    return Ready(prompt, conversation, metadata)


def encode(processor: Any, ready: Sequence[Ready], settings: Settings) -> Any:
    """Model inputs of a batch, padded on the left, up to where the model begins to answer."""
    options = dict(settings.processor)
    options["text_kwargs"] = {"padding": True, "padding_side": "left"} | options.get("text_kwargs", {})
    videos = [one.metadata for one in ready if one.metadata is not None]
    if videos:
        given = {"do_sample_frames": False, "video_metadata": videos}
        options["videos_kwargs"] = options.get("videos_kwargs", {}) | given
    return processor.apply_chat_template(
        [one.conversation for one in ready],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=options,
        **settings.chat_template,
    )


def _shown_as_video(prompt: Prompt, settings: Settings) -> bool:
    wanted = prompt.as_video if settings.as_video is None else settings.as_video
    return wanted and bool(prompt.views)


class _GumbelNoise:
    """Temperature sampling as an argmax, with noise of each item's own.

    argmax(logits / T + Gumbel noise) is distributed as softmax(logits / T). As every row draws from a generator of its
    item, an answer does not depend on what shares its batch, and a resumed run says what an undisturbed one says.
    """

    def __init__(self, sampling: Sampling, item_ids: Sequence[str]) -> None:
        self._temperature = sampling.temperature
        self._generators = [item_generator(sampling.seed, item_id) for item_id in item_ids]

    def __call__(self, _: Any, scores: Any) -> Any:
        import torch

        noise = np.stack([rng.gumbel(size=scores.shape[1]) for rng in self._generators])
        return scores.float() / self._temperature + torch.from_numpy(noise).to(scores.device, torch.float32)


def video_metadata(views: Sequence[View], video_fps: float | None) -> Any:
    """When the frames of a video were seen, as transformers' `VideoMetadata` on a clock of milliseconds.

    The video is taken to last one mean frame interval beyond its last frame, so its sampled rate is the inverse of
    that interval.

    Args:
        views: With `time_s`, or all without.
        video_fps: Frames per second of views without a time.

    Raises:
        DataError: times are missing or do not increase.
    """
    from transformers.video_utils import VideoMetadata

    times_s = [view.time_s for view in views]
    if None in times_s:
        if video_fps is None or any(time_s is not None for time_s in times_s):
            raise DataError("a video's views have no time; set video_fps, or as_video: false to show them as pictures")
        times_s = [index / video_fps for index in range(len(views))]
    ticks = np.array([round(_CLOCK_HZ * (time_s or 0.0)) for time_s in times_s])
    steps = np.diff(ticks)
    if ticks[0] < 0 or (steps <= 0).any():
        raise DataError("the times of a video's views must be at least 0 and increase by a millisecond or more")
    step = float(steps.mean()) if len(steps) else _CLOCK_HZ / (video_fps or 1.0)
    return VideoMetadata(
        total_num_frames=round(len(ticks) * step),
        fps=float(_CLOCK_HZ),
        duration=len(ticks) * step / _CLOCK_HZ,
        frames_indices=ticks.tolist(),
    )


def _limit_pixels(checkpoint: _checkpoint.Checkpoint, settings: Settings) -> None:
    """Put the pixel limits of the settings in the place of the checkpoint's."""
    image_processor = checkpoint.processor.image_processor
    limits = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    limits = {key: value for key, value in limits.items() if value is not None}
    if limits:
        if "min_pixels" not in getattr(image_processor.valid_kwargs, "__annotations__", {}):
            name = type(image_processor).__name__
            raise UserError(f"{settings.path}: {name} knows no min_pixels or max_pixels; use processor: images_kwargs")
        image_processor.size = {**dict(image_processor.size), **limits}
    video = {"shortest_edge": settings.video_min_pixels, "longest_edge": settings.video_max_pixels}
    video = {key: value for key, value in video.items() if value is not None}
    if not video:
        return
    if checkpoint.video == "allocentric":
        processor = checkpoint.processor.video_processor
        processor.fewest_px = video.get("shortest_edge", processor.fewest_px)
        processor.most_px = video.get("longest_edge", processor.most_px)
    elif checkpoint.video and "longest_edge" in dict(checkpoint.processor.video_processor.size or {}):
        processor = checkpoint.processor.video_processor
        processor.size = {**dict(processor.size), **video}
    else:
        raise UserError(
            f"{settings.path}: its videos know no pixel limits; remove video_min_pixels and video_max_pixels"
        )


def _failure(reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason)
