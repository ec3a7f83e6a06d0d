"""The game over HTTP: one page and a few requests, for one person on this machine.

Every address begins with a random token; without it, with a foreign Host or Origin, or with a body that is too large
nothing is answered but the refusal. Nothing is loaded from elsewhere and nothing else may be embedded or read by other
sites.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allocentric.core.types import Image
from allocentric.eval.play.messages import LARGEST_BODY_BYTES, Act, Begin, Hello, Join, read_message
from allocentric.eval.play.refusal import STATUS, Refusal
from allocentric.eval.play.results import Results
from allocentric.eval.play.session import Session

LARGEST_HEAD_BYTES = 16 * 1024
"""Of a request: its line and headers."""
_JPEG_QUALITY = 92
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Play:
    """The application's answers. All of the game's work is done in `executor`, one piece at a time."""

    def __init__(self, session: Session, results: Results, executor: Executor, *, stop: Callable[[], None]) -> None:
        self._session, self._results, self._executor, self._stop = session, results, executor, stop
        self._page = resources.files("allocentric.eval.play").joinpath("page.html").read_text(encoding="utf-8")
        self._policy = content_policy(self._page)

    def application(self, token: str, *, loopback: bool) -> ASGIApp:
        """The ASGI application behind its guard."""
        post = {"join": self._join, "state": self._state, "begin": self._begin, "act": self._act}
        post |= {"leave": self._leave, "results": self._show_results, "close": self._close}
        routes = [
            Route(f"/{{token}}/{name}", partial(_answered, handler), methods=["POST"])
            for name, handler in post.items()
        ]
        routes.append(Route("/{token}/", self._show_page, methods=["GET"]))
        routes.append(Route("/{token}/view.jpg", self._view, methods=["GET"]))
        return Guard(Starlette(routes=routes), token=token, loopback=loopback)

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    async def _show_page(self, _: Request) -> Response:
        return Response(
            self._page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": self._policy}
        )

    async def _view(self, request: Request) -> Response:
        query = request.query_params
        try:
            numbers = [int(query[key][:9]) for key in ("number", "sequence", "index")]
            moment = (numbers[0], query["attempt"], numbers[1], numbers[2])
        except (KeyError, ValueError):
            return PlainTextResponse("expected number, attempt, sequence and index", status_code=400)
        try:
            encoded = await self._run(lambda: _jpeg(self._session.picture(*moment)))
        except Refusal as refusal:
            return PlainTextResponse(refusal.message, status_code=STATUS[refusal.reason])
        return Response(encoded, media_type="image/jpeg")

    async def _join(self, body: bytes) -> dict[str, Any]:
        page = await self._run(self._session.join, read_message(Join, body).take)
        return {"page": page, "state": await self._run(self._session.state, page)}

    async def _state(self, body: bytes) -> dict[str, Any]:
        return {"state": await self._run(self._session.state, read_message(Hello, body).page)}

    async def _begin(self, body: bytes) -> dict[str, Any]:
        return {"state": await self._run(self._session.begin, read_message(Begin, body))}

    async def _act(self, body: bytes) -> dict[str, Any]:
        return {"state": await self._run(self._session.act, read_message(Act, body))}

    async def _leave(self, body: bytes) -> dict[str, Any]:
        await self._run(self._session.leave, read_message(Hello, body).page)
        return {}

    async def _show_results(self, body: bytes) -> dict[str, Any]:
        await self._run(self._session.state, read_message(Hello, body).page)
        return {"results": await self._run(self._results.advance)}

    async def _close(self, body: bytes) -> dict[str, Any]:
        await self._run(self._session.state, read_message(Hello, body).page)
        self._stop()
        return {}


async def _answered(handler: Callable[[bytes], Awaitable[dict[str, Any]]], request: Request) -> Response:
    """JSON in, JSON out; a refusal is an answer too."""
    try:
        return JSONResponse(await handler(await request.body()))
    except Refusal as refusal:
        return JSONResponse({"reason": refusal.reason, "message": refusal.message}, status_code=STATUS[refusal.reason])


def _jpeg(picture: Image) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), quality)
    return encoded.tobytes()


def content_policy(page: str) -> str:
    """A Content-Security-Policy that lets the page's own script and style run, and nothing else."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for tag, text in _INLINE.findall(page):
        hashes[tag].append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(hashes['script'])}",
            f"style-src {' '.join(hashes['style'])}",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class Guard:
    """Lets through what carries the token, comes from the page itself and is small; hardens every answer."""

    def __init__(self, app: ASGIApp, *, token: str, loopback: bool) -> None:
        self._app, self._token, self._loopback = app, token.encode(), loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        body = b"" if refused else await _bounded_body(receive)
        if body is None:
            refused = PlainTextResponse(f"at most {LARGEST_BODY_BYTES} bytes are accepted", status_code=413)
        await (refused or self._app)(scope, partial(_replayed, [body or b""], receive), partial(_hardened, send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not hmac.compare_digest(first.encode("utf-8", "surrogateescape"), self._token):
            return PlainTextResponse("open the address that the program printed", status_code=403)
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_host_name(host)):
            return PlainTextResponse("this host name is not served", status_code=403)
        opened = scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"  # a link may lead here
        foreign = not opened and headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if foreign or headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("requests of other sites are not answered", status_code=403)
        if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return PlainTextResponse("expected Content-Type: application/json", status_code=415)
        return None


def _host_name(host: str) -> str:
    """A Host header without its port; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _bounded_body(receive: Receive) -> bytes | None:
    """The body of a request; None where it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


async def _replayed(bodies: list[bytes], receive: Receive) -> Message:
    if bodies:
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}
    return await receive()


async def _hardened(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        names = {name.lower() for name, _ in message["headers"]}
        policy = [(b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]
        message["headers"] = [
            *message["headers"],
            *(policy if b"content-security-policy" not in names else []),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
    await send(message)
