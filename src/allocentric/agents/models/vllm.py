"""vLLM in this process: any checkpoint it serves, in batches of `LLM.chat`. A vLLM server is asked by `openai_api`."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from allocentric.core import config
from allocentric.core.errors import DataError, MissingPackageError, UserError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, Model, Prompt, Response


class Settings(config.Settings):
    """A checkpoint and how vLLM runs it. `batch_size` of the recipe is what vLLM schedules at a time; give it 64 or
    more.
    """

    path: str
    """Folder or hub id of the checkpoint."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; None is main."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; auto is what the checkpoint was saved in."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] = 1
    """GPUs one copy of the model is spread over; a worker needs as many (--gpus)."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Part of each GPU's memory that vLLM takes."""
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """Longest context in tokens; None is the checkpoint's. A prompt beyond it fails, it is never cut."""
    max_pictures: Annotated[int, Field(ge=1)] = 64
    """Most pictures of a prompt, for which vLLM reserves room."""
    system: str | None = None
    """System message of prompts that bring none."""
    chat_template: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template ({"enable_thinking": false})."""
    processor: dict[str, Any] = Field(default_factory=dict)
    """vLLM's mm_processor_kwargs ({"max_pixels": 401408})."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM` ({"enforce_eager": true})."""


def build(settings: Settings, *, items: Mapping[str, Item]) -> Model:
    """Load the checkpoint into vLLM. `items` is not looked at.

    Raises:
        MissingPackageError: vllm is absent.
        UserError: vLLM refuses the checkpoint or a setting.
    """
    del items
    try:
        import vllm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise MissingPackageError("vllm", needed_for="the vllm model backend", command="pip install vllm") from None
    arguments = {
        "model": settings.path,
        "revision": settings.revision,
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_model_len": settings.max_model_len,
        "limit_mm_per_prompt": {"image": settings.max_pictures},
        "mm_processor_kwargs": settings.processor or None,
    }
    clash = sorted(arguments.keys() & settings.engine.keys())
    if clash:
        raise UserError(f"engine: {clash[0]!r} has a setting of its own in the vllm backend")
    try:
        engine = vllm.LLM(**arguments, **settings.engine)
    except (ValueError, OSError, TypeError, RuntimeError) as error:
        raise UserError(f"vLLM can't load {settings.path}: {' '.join(str(error).split())[:300]}") from None
    return _VLLM(settings, engine, vllm.SamplingParams)


class _VLLM:
    """Implements `core.types.Model`."""

    def __init__(self, settings: Settings, engine: Any, sampling: Any) -> None:
        self.name = Path(settings.path).name + (f"@{settings.revision}" if settings.revision else "")
        self._settings = settings
        self._engine = engine
        self._sampling = sampling

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        """One response per prompt, in order; vLLM batches them as memory allows."""
        conversations: list[list[dict[str, Any]] | Response] = [self._conversation(prompt) for prompt in batch]
        ready = [k for k, one in enumerate(conversations) if not isinstance(one, Response)]
        answers = self._chat([conversations[k] for k in ready], [batch[k] for k in ready])
        responses: list[Any] = list(conversations)
        for k, answer in zip(ready, answers, strict=True):
            responses[k] = answer
        return responses

    def close(self) -> None:
        """Let the engine go, with the memory it reserved."""
        self._engine = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _conversation(self, prompt: Prompt) -> list[dict[str, Any]] | Response:
        try:
            content = [{"type": "image_pil", "image_pil": image} for image in self._pictures(prompt)]
        except DataError as error:
            return _failure(str(error))
        system = prompt.system if prompt.system is not None else self._settings.system
        before = [] if system is None else [{"role": "system", "content": system}]
        return [*before, {"role": "user", "content": [*content, {"type": "text", "text": prompt.text}]}]

    def _pictures(self, prompt: Prompt) -> list[Any]:
        if prompt.as_video and prompt.views:
            raise DataError("the vllm backend shows frames as pictures; set frames.as_video: false, or use hf")
        if len(prompt.views) > self._settings.max_pictures:
            raise DataError(f"{len(prompt.views)} pictures are more than max_pictures: {self._settings.max_pictures}")
        return [picture(view) for view in prompt.views]

    def _chat(self, conversations: Sequence[Any], prompts: Sequence[Prompt]) -> list[Response]:
        """Answers of one call; where vLLM refuses a prompt it refuses the call, so each is then asked alone."""
        if not conversations:
            return []
        started_s = time.perf_counter()
        try:
            outputs = self._engine.chat(
                list(conversations),
                sampling_params=[self._sampling_of(prompt) for prompt in prompts],
                use_tqdm=False,
                chat_template_kwargs=self._settings.chat_template or None,
            )
        except ValueError as error:
            if len(prompts) == 1:
                return [_failure(" ".join(str(error).split())[:300])]
            alone = zip(conversations, prompts, strict=True)
            return [self._chat([conversation], [prompt])[0] for conversation, prompt in alone]
        seconds = (time.perf_counter() - started_s) / len(prompts)
        return [response_of(output, seconds) for output in outputs]

    def _sampling_of(self, prompt: Prompt) -> Any:
        sampling = prompt.sampling
        seed = sampling.seed if sampling.temperature > 0 else None
        return self._sampling(temperature=sampling.temperature, max_tokens=sampling.max_new_tokens, seed=seed)


def response_of(output: Any, seconds: float) -> Response:
    """The first completion of a vLLM `RequestOutput`."""
    completion = output.outputs[0]
    if completion.finish_reason not in {"stop", "length"}:
        return _failure(f"vLLM ended the answer with {completion.finish_reason!r}")
    return Response(
        text=completion.text,
        prompt_tokens=None if output.prompt_token_ids is None else len(output.prompt_token_ids),
        completion_tokens=len(completion.token_ids),
        seconds=seconds,
        finish_reason=completion.finish_reason,
    )


def _failure(reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason)
