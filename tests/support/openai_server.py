"""A server on the loopback interface that speaks the chat completions protocol and misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], str]


def completion(text: Any, **choice: Any) -> str:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
        }
    )  # fmt: skip


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"][-1]["text"])


class Server:
    """Answers with `reply(text, nth request of this text)`; None hangs up. Counts what it did."""

    def __init__(self) -> None:
        self.reply: Callable[[str, int], Reply | None] = lambda text, nth: (200, {}, completion(f"answer {text}"))
        self.delay_s: Callable[[str], float] = lambda text: 0.0
        self.requests: Counter[str] = Counter()
        self.successes: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        text = asked(body)
        with self.lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            self.requests[text] += 1
            nth = self.requests[text]
            self.bodies.append(body)
            self.headers.append({key.lower(): value for key, value in handler.headers.items()})
            self.connections.add(handler.client_address)
        time.sleep(self.delay_s(text))
        reply = self.reply(text, nth)
        with self.lock:
            self.busy -= 1
            self.successes[text] += reply is not None and reply[0] == 200
        if reply is None:
            handler.close_connection = True
            handler.connection.close()
            return
        status, headers, payload = reply
        handler.send_response(status)
        for key, value in ({"Content-Type": "application/json"} | headers).items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(payload.encode())))
        handler.end_headers()
        handler.wfile.write(payload.encode())


def problem(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    return status, headers, json.dumps({"error": {"message": message, "type": "t", "param": None, "code": code}})
