"""Any server that speaks the OpenAI chat completions protocol: vLLM, SGLang, OpenAI, OpenRouter ..."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from PIL import Image as PillowImage
from pydantic import Field

from allocentric.agents.models._draws import item_generator
from allocentric.core import config
from allocentric.core.errors import DataError, MissingPackageError, UserError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, Model, Prompt, Response, View

_log = logging.getLogger(__name__)
_JPEG_START = b"\xff\xd8\xff"
_HOPELESS_STATUS = {401, 404}
_RETRY_STATUS = {408, 409, 425, 429}


class Settings(config.Settings):
    """A server, a model on it, and how it is asked."""

    model: str
    """The server's name of the model."""
    base_url: str = "https://api.openai.com/v1"
    """Up to and without /chat/completions; "http://localhost:8000/v1" for a local vLLM."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; the key itself is never stored. null for none."""
    concurrency: Annotated[int, Field(ge=1)] = 8
    """Most requests under way at a time, waits between tries included."""
    max_retries: Annotated[int, Field(ge=0)] = 6
    """Further tries after 429, 5xx, a timeout, a lost connection or a reply that is no JSON."""
    first_wait_s: Annotated[float, Field(ge=0)] = 0.5
    """Pause before the second try; it doubles with every try, less up to half by chance."""
    max_wait_s: Annotated[float, Field(ge=0)] = 60.0
    """Longest pause. A server that asks for a longer one (Retry-After) is given up."""
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait for one answer."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Of pictures encoded here; JPEG files that need no resizing are sent as they are."""
    image_max_side_px: Annotated[int, Field(ge=1)] | None = None
    """Shrink larger pictures to this; None sends them in full size."""
    detail: Literal["auto", "low", "high"] | None = None
    """The protocol's picture detail; None leaves the field out."""
    video: Literal["refuse", "jpeg_frames"] = "refuse"
    """Prompts that show a video: refuse fails them, as the protocol has none; jpeg_frames sends the frames as one
    data:video/jpeg, which vLLM's server takes (it is not told their times)."""
    system: str | None = None
    """System message of prompts that bring none."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit of the answer's length."""
    send_temperature: bool = True
    """False leaves temperature and seed out, for models that refuse them."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request ({"chat_template_kwargs": {"enable_thinking": false}})."""


def in_flight(settings: Settings) -> int:
    """Calls of `generate` that may be under way at a time: a server answers each when it can."""
    return settings.concurrency


def build(settings: Settings, *, items: Mapping[str, Item]) -> Model:
    """A client of the server; the first request is sent by `generate`. `items` is not looked at.

    Raises:
        UserError: the environment variable of the key is not set, or the URL is none.
        MissingPackageError: openai is absent.
    """
    del items
    if urlsplit(settings.base_url).scheme not in {"http", "https"} or not urlsplit(settings.base_url).hostname:
        raise UserError(f"expected base_url like http://localhost:8000/v1, got {settings.base_url!r}")
    key = "none"
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "")
        if not key:
            raise UserError(
                f"the environment variable {settings.api_key_env} with the key of {_host(settings)} is not set; "
                "set it, or give api_key_env: null for a server without keys"
            )
    return _OpenAI(settings, key)


class _OpenAI:
    """Implements `core.types.Model`. One event loop and its connections serve all batches."""

    def __init__(self, settings: Settings, key: str) -> None:
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError:
            raise MissingPackageError("openai", needed_for="the openai_api model backend") from None
        self.name = settings.model
        self._settings = settings
        self._key = key
        self._hopeless: str | None = None
        self._loop = _BackgroundLoop()
        self._client = AsyncOpenAI(base_url=settings.base_url, api_key=key, max_retries=0, timeout=settings.timeout_s)
        self._slots = asyncio.Semaphore(settings.concurrency)

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        """One response per prompt, in order.

        Raises:
            UserError: nothing can succeed (wrong key, no such model, no quota left). Answers that arrived in the same
                batch are returned first, so that nothing paid for is lost; the next call raises.
        """
        if self._hopeless:
            raise UserError(self._hopeless)
        answers: list[Response | Future[Response]] = []
        try:
            for prompt in batch:
                answers.append(self._start(prompt))
            responses = [answer.result() if isinstance(answer, Future) else answer for answer in answers]
        finally:
            for answer in answers:
                if isinstance(answer, Future):
                    answer.cancel()  # without effect on finished ones
        if self._hopeless and all(response.error for response in responses):
            raise UserError(self._hopeless)
        return responses

    def close(self) -> None:
        """Close the connections and end the loop's thread."""
        self._loop.submit(self._client.close()).result()
        self._loop.stop()

    def _start(self, prompt: Prompt) -> Response | Future[Response]:
        """Draw and encode the pictures here, where a renderer's context is; ask in the background."""
        try:
            request = self._request(prompt)
        except DataError as error:
            return _failure(str(error))
        return self._loop.submit(self._ask(prompt.item_id, request))

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        settings = self._settings
        content = [*_pictures(prompt, settings), {"type": "text", "text": prompt.text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        system = prompt.system if prompt.system is not None else settings.system
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        request = {
            "model": settings.model,
            "messages": messages,
            settings.max_tokens_field: prompt.sampling.max_new_tokens,
            "extra_body": settings.extra_body,
        }
        if settings.send_temperature:
            request["temperature"] = prompt.sampling.temperature
            if prompt.sampling.temperature > 0:
                request["seed"] = prompt.sampling.seed
        return request

    async def _ask(self, item_id: str, request: dict[str, Any]) -> Response:
        """Try until there is an answer, a final refusal, or no try left."""
        rng = item_generator(0, item_id)
        tries = self._settings.max_retries + 1
        async with self._slots:
            for attempt in range(1, tries + 1):
                if self._hopeless:
                    return _failure(self._hopeless)
                outcome = await self._try(request)
                if isinstance(outcome, Response):
                    return outcome
                words = self._words(outcome)
                if outcome.hopeless:
                    self._hopeless = words
                if not outcome.again:
                    return _failure(words)
                wait_s = self._settings.first_wait_s * 2.0 ** (attempt - 1) * (1 - rng.random() / 2)
                wait_s = max(min(wait_s, self._settings.max_wait_s), outcome.wait_s)
                if attempt == tries:
                    return _failure(f"{words}; gave up after {tries} tries")
                if wait_s > self._settings.max_wait_s:
                    return _failure(f"{words}; it asks to wait {wait_s:.0f} s, more than max_wait_s")
                _log.info("%s; trying again in %.1f s", words, wait_s)
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns")

    async def _try(self, request: dict[str, Any]) -> Response | _Problem:
        import openai

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                reply = await self._client.chat.completions.create(**request)
        except (openai.APITimeoutError, TimeoutError):
            return _Problem(f"gave no answer within {self._settings.timeout_s:g} s", again=True)
        except openai.APIConnectionError as error:
            return _Problem(f"cannot be reached or hung up ({error.__cause__ or error})", again=True)
        except openai.APIStatusError as error:
            return _problem_from_status(error)
        except (openai.APIResponseValidationError, json.JSONDecodeError):
            return _Problem("answered with broken JSON", again=True)
        response = response_from_reply(reply, time.perf_counter() - started)
        return response or _Problem("answered without a completion", again=True)

    def _words(self, problem: _Problem) -> str:
        """One line about a problem, naming the host and never the key."""
        text = f"{_host(self._settings)} {problem.text}"
        if self._settings.api_key_env is not None:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:400]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a request has no answer."""

    text: str
    """Continues a sentence that starts with the host."""
    again: bool
    """Another try may succeed."""
    hopeless: bool = False
    """No request of this run can succeed."""
    wait_s: float = 0.0
    """The pause the server asks for."""


class _BackgroundLoop:
    """An event loop in a thread of its own, so that calling code need not be async and may be (a notebook is)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_loop, args=(self._loop,), name="openai_api", daemon=True).start()
        self.stop = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _pictures(prompt: Prompt, settings: Settings) -> list[dict[str, Any]]:
    if prompt.as_video and prompt.views:
        if settings.video == "refuse":
            raise DataError("a video can't be shown through this protocol; set frames.as_video: false, or video")
        frames = ",".join(base64.b64encode(_jpeg(view, settings)).decode("ascii") for view in prompt.views)
        return [{"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}]
    detail = {} if settings.detail is None else {"detail": settings.detail}
    return [{"type": "image_url", "image_url": {"url": data_uri(view, settings), **detail}} for view in prompt.views]


def data_uri(view: View, settings: Settings) -> str:
    """The view's picture as a base64 JPEG data URI.

    Raises:
        DataError: the picture is missing or unreadable.
    """
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(view, settings)).decode("ascii")


def _jpeg(view: View, settings: Settings) -> bytes:
    limit = settings.image_max_side_px
    if limit is None and isinstance(view.image, Path) and view.image.is_file():
        data = view.image.read_bytes()
        if data.startswith(_JPEG_START):
            return data
    image = picture(view)
    if limit is not None and max(image.size) > limit:
        image.thumbnail((limit, limit), PillowImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=settings.jpeg_quality)
    return buffer.getvalue()


def response_from_reply(reply: Any, seconds: float) -> Response | None:
    """The first choice of a chat completion; None where there is none."""
    choice = next(iter(getattr(reply, "choices", None) or ()), None)
    message = getattr(choice, "message", None)
    if message is None:
        return None
    text = getattr(message, "content", None) or getattr(message, "refusal", None) or ""
    if not isinstance(text, str):
        return None
    reason = getattr(choice, "finish_reason", None)
    if reason == "content_filter" and not text:
        return _failure("the server's content filter removed the answer")
    usage = getattr(reply, "usage", None)
    return Response(
        text=text,
        prompt_tokens=getattr(usage, "prompt_tokens", None),
        completion_tokens=getattr(usage, "completion_tokens", None),
        seconds=seconds,
        finish_reason="length" if reason == "length" else "stop",
    )


def _problem_from_status(error: Any) -> _Problem:
    status: int = error.status_code
    body = error.body if isinstance(error.body, dict) else {}
    detail = str(body.get("message") or error.response.text or "no explanation")[:200]
    hopeless = status in _HOPELESS_STATUS or error.code == "insufficient_quota"
    return _Problem(
        f"answered {status}: {detail}",
        again=not hopeless and (status in _RETRY_STATUS or status >= 500),
        hopeless=hopeless,
        wait_s=_retry_after_s(error.response.headers),
    )


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that Retry-After asks for, as a number or a date; 0 where it says nothing readable."""
    text = headers.get("retry-after", "")
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _host(settings: Settings) -> str:
    parts = urlsplit(settings.base_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _failure(reason: str) -> Response:
    return Response(text="", finish_reason="error", error=reason)
