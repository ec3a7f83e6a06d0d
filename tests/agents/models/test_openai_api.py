"""The openai_api backend against a real server on the loopback interface that misbehaves in every usual way."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from openai_server import Reply, Server, completion, problem
from PIL import Image as PillowImage

from allocentric.agents.models import openai_api
from allocentric.core.errors import UserError
from allocentric.core.types import Prompt, Response, Sampling, View


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def connect(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")
    models = []

    def make(**settings: Any) -> Any:
        defaults = {"model": "m", "base_url": server.url, "api_key_env": "SECRET_KEY", "first_wait_s": 0.01}
        models.append(openai_api.build(openai_api.Settings(**{**defaults, **settings}), items={}))
        return models[-1]

    yield make
    for model in models:
        model.close()


def prompts(count: int) -> list[Prompt]:
    return [Prompt(item_id=str(k), text=str(k)) for k in range(count)]


def texts(responses: list[Response]) -> list[str]:
    return [response.text for response in responses]


def test_order_concurrency_and_connections(server: Server, connect: Callable[..., Any]) -> None:
    server.delay_s = lambda text: 0.01 + 0.02 * (int(text) % 3)  # later prompts overtake earlier ones
    model = connect(concurrency=3)
    assert texts(model.generate(prompts(15))) == [f"answer {k}" for k in range(15)]
    assert texts(model.generate(prompts(6))) == [f"answer {k}" for k in range(6)]
    assert server.most_busy == 3
    assert len(server.connections) <= 3  # reused across batches
    assert sum(server.requests.values()) == 21


def test_tokens_reason_and_time(server: Server, connect: Callable[..., Any]) -> None:
    server.delay_s = lambda text: 0.05
    server.reply = lambda text, nth: (200, {}, completion("B", finish_reason="length"))
    response = connect().generate(prompts(1))[0]
    assert (response.text, response.finish_reason, response.error) == ("B", "length", None)
    assert (response.prompt_tokens, response.completion_tokens) == (11, 2)
    assert response.seconds is not None
    assert 0.05 <= response.seconds < 20


@pytest.mark.parametrize(
    "hiccup",
    [
        problem(500),
        problem(503),
        problem(429),
        problem(408),
        (200, {}, '{"choices": [{"mess'),
        (200, {}, "<html>bad gateway</html>"),
        (200, {"Content-Type": "text/html"}, "<html>bad gateway</html>"),
        (200, {}, '{"error": "overloaded"}'),
        (200, {}, '{"choices": []}'),
        None,
    ],
    ids=["500", "503", "429", "408", "cut JSON", "HTML", "typed HTML", "no choices", "no choice", "hang-up"],
)
def test_a_hiccup_is_tried_again(hiccup: Reply | None, server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: hiccup if text == "1" and nth <= 2 else (200, {}, completion(f"answer {text}"))
    assert texts(connect().generate(prompts(3))) == ["answer 0", "answer 1", "answer 2"]
    assert server.requests == {"0": 1, "1": 3, "2": 1}  # what succeeded is never asked, and paid for, again


def test_a_timeout_is_tried_again(server: Server, connect: Callable[..., Any]) -> None:
    held = threading.Event()
    server.delay_s = lambda text: float(not held.wait(60)) if server.requests[text] == 1 else 0.0
    model = connect(timeout_s=0.5, max_retries=8)
    assert texts(model.generate(prompts(1))) == ["answer 0"]
    assert not held.is_set()  # answered while the first request still hung
    held.set()
    assert server.requests["0"] >= 2


def test_a_server_that_fails_for_ever(server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: problem(500, "boom\nboom") if text == "1" else (200, {}, completion("fine"))
    good, bad, last = connect(max_retries=2).generate(prompts(3))
    assert (good.text, last.text) == ("fine", "fine")
    assert (bad.text, bad.finish_reason) == ("", "error")
    host = server.url.split("/")[2]
    assert bad.error == f"{host} answered 500: boom boom; gave up after 3 tries"
    assert server.requests["1"] == 3


def test_nobody_listens(connect: Callable[..., Any]) -> None:
    response = connect(base_url="http://127.0.0.1:9/v1", max_retries=1).generate(prompts(1))[0]
    assert str(response.error).startswith("127.0.0.1:9 cannot be reached")
    assert str(response.error).endswith("gave up after 2 tries")


def test_retry_after_is_kept(server: Server, connect: Callable[..., Any]) -> None:
    times: list[float] = []

    def reply(text: str, nth: int) -> Reply:
        times.append(time.perf_counter())
        return problem(429, **{"Retry-After": "0.4"}) if nth == 1 else (200, {}, completion("fine"))

    server.reply = reply
    assert texts(connect().generate(prompts(1))) == ["fine"]
    assert times[1] - times[0] >= 0.39
    assert openai_api._retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert openai_api._retry_after_s({"retry-after": "Fri, 21 Oct 2395 07:28:00 GMT"}) > 1e9
    assert openai_api._retry_after_s({"retry-after": "soon"}) == openai_api._retry_after_s({}) == 0.0


def test_a_server_that_asks_for_an_hour_is_given_up(server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: problem(429, "slow down", **{"Retry-After": "3600"})
    response = connect(max_wait_s=5.0).generate(prompts(1))[0]
    assert "asks to wait 3600 s, more than max_wait_s" in str(response.error)
    assert server.requests["0"] == 1


def test_waits_double(server: Server, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server.reply = lambda text, nth: problem(503)
    monkeypatch.setattr(openai_api, "asyncio", types.SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    connect(max_retries=3, first_wait_s=8.0).generate(prompts(1))
    for wait, longest in zip(waits, (8.0, 16.0, 32.0), strict=True):
        assert longest / 2 <= wait <= longest


def test_a_refused_item_is_not_tried_again(server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: problem(400, "context too long") if text == "0" else (200, {}, completion("fine"))
    bad, good = connect().generate(prompts(2))
    assert str(bad.error).endswith("answered 400: context too long")
    assert good.text == "fine"
    assert server.requests["0"] == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            problem(401, "Incorrect API key provided: sk-very-secret."),
            r"answered 401: Incorrect API key provided: \*\*\*",
        ),
        (problem(404, "The model `m` does not exist"), "answered 404: The model `m` does not exist"),
        (problem(429, "You exceeded your quota", code="insufficient_quota"), "answered 429: You exceeded your quota"),
    ],
    ids=["key", "model", "quota"],
)
def test_the_hopeless_ends_the_run(reply: Reply, words: str, server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: reply
    model = connect(concurrency=1)
    with pytest.raises(UserError, match=words) as caught:
        model.generate(prompts(20))
    assert "sk-very-secret" not in str(caught.value)
    assert sum(server.requests.values()) == 1  # after the first refusal nobody is asked


def test_answers_paid_for_survive_a_key_that_is_withdrawn(server: Server, connect: Callable[..., Any]) -> None:
    server.reply = lambda text, nth: problem(401) if int(text) >= 2 else (200, {}, completion(f"answer {text}"))
    model = connect(concurrency=1)
    responses = model.generate(prompts(5))
    assert texts(responses) == ["answer 0", "answer 1", "", "", ""]
    assert all("answered 401" in str(response.error) for response in responses[2:])
    with pytest.raises(UserError, match="answered 401"):
        model.generate(prompts(1))
    assert sum(server.requests.values()) == 3


def test_what_is_sent(server: Server, connect: Callable[..., Any], tmp_path: Any) -> None:
    red = np.zeros((60, 120, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    PillowImage.fromarray(255 - red).save(tmp_path / "b.jpg", quality=80)
    PillowImage.fromarray(red // 2).save(tmp_path / "c.png")
    views = (
        View(image=red, time_s=0.0),
        View(image=tmp_path / "b.jpg"),
        View(image=tmp_path / "c.png"),
        View(image=lambda: red),
    )
    prompt = Prompt(item_id="a", text="What?", views=views, system="Be brief.")
    prompt = dataclasses.replace(prompt, sampling=Sampling(max_new_tokens=5, temperature=0.5, seed=3))
    connect(detail="low", extra_body={"top_k": 4}).generate([prompt])
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"], body["top_k"]) == ("m", 5, 0.5, 3, 4)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    *pictures, text = body["messages"][1]["content"]
    assert text == {"type": "text", "text": "What?"}
    assert [part["image_url"]["detail"] for part in pictures] == ["low"] * 4
    data = [part["image_url"]["url"].removeprefix("data:image/jpeg;base64,") for part in pictures]
    assert base64.b64decode(data[1]) == (tmp_path / "b.jpg").read_bytes()  # not compressed a second time
    for encoded, expected in zip(data, (red, 255 - red, red // 2, red), strict=True):
        image = PillowImage.open(io.BytesIO(base64.b64decode(encoded)))
        assert (image.format, image.size) == ("JPEG", (120, 60))
        assert np.abs(np.asarray(image).astype(int) - expected).max() <= 4
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"


def test_a_video_is_refused_or_sent_as_frames_never_as_something_else(server: Server, connect: Any) -> None:
    red = np.zeros((6, 8, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    prompt = Prompt(item_id="a", text="What?", views=(View(image=red), View(image=255 - red)), as_video=True)
    refused = connect().generate([prompt])[0]
    assert "frames.as_video: false" in str(refused.error)
    assert server.bodies == []
    connect(video="jpeg_frames").generate([prompt])
    shown, text = server.bodies[0]["messages"][0]["content"]
    assert (shown["type"], text["text"]) == ("video_url", "What?")
    frames = shown["video_url"]["url"].removeprefix("data:video/jpeg;base64,").split(",")
    for encoded, expected in zip(frames, (red, 255 - red), strict=True):
        image = np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(encoded))))
        assert np.abs(image.astype(int) - expected).max() <= 4


def test_pictures_are_shrunk_and_fields_left_out(server: Server, connect: Callable[..., Any], tmp_path: Any) -> None:
    PillowImage.fromarray(np.zeros((60, 120, 3), np.uint8)).save(tmp_path / "a.jpg")
    settings = {"image_max_side_px": 40, "send_temperature": False, "max_tokens_field": "max_completion_tokens"}
    connect(**settings).generate([Prompt(item_id="a", text="?", views=(View(image=tmp_path / "a.jpg"),))])
    body = server.bodies[0]
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 16
    url = body["messages"][0]["content"][0]["image_url"]
    assert set(url) == {"url"}
    assert PillowImage.open(io.BytesIO(base64.b64decode(url["url"].split(",")[1]))).size == (40, 20)


def test_a_missing_picture_costs_only_its_item(server: Server, connect: Callable[..., Any], tmp_path: Any) -> None:
    bad = Prompt(item_id="x", text="x", views=(View(image=tmp_path / "missing.jpg"),))
    first, failed, last = connect().generate([prompts(1)[0], bad, prompts(2)[1]])
    assert (first.text, last.text) == ("answer 0", "answer 1")
    assert "no such picture" in str(failed.error)
    assert "x" not in server.requests


def test_odd_replies(server: Server, connect: Callable[..., Any]) -> None:
    replies = {
        "0": completion(None, message={"role": "assistant", "content": None, "refusal": "I will not."}),
        "1": completion(None, finish_reason="length"),
        "2": completion("", finish_reason="content_filter"),
    }
    server.reply = lambda text, nth: (200, {}, replies[text])
    refused, thought, filtered = connect().generate(prompts(3))
    assert refused.text == "I will not."
    assert (thought.text, thought.finish_reason, thought.error) == ("", "length", None)
    assert (filtered.finish_reason, filtered.error) == ("error", "the server's content filter removed the answer")


def test_it_works_inside_a_running_loop(server: Server, connect: Callable[..., Any]) -> None:
    import asyncio

    async def notebook_cell() -> list[str]:
        return texts(connect().generate(prompts(2)))

    assert asyncio.run(notebook_cell()) == ["answer 0", "answer 1"]


def test_an_interrupt_cancels_what_is_under_way(server: Server, connect: Callable[..., Any]) -> None:
    def interrupt() -> Any:
        raise KeyboardInterrupt

    server.delay_s = lambda text: 0.05
    stop = Prompt(item_id="x", text="x", views=(View(image=interrupt),))
    with pytest.raises(KeyboardInterrupt):
        connect(concurrency=1).generate([*prompts(5), stop])
    time.sleep(0.2)
    assert sum(server.requests.values()) <= 1


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(UserError, match="the environment variable SECRET_KEY with the key of api"):
        openai_api.build(openai_api.Settings(model="m", api_key_env="SECRET_KEY"), items={})
    with pytest.raises(UserError, match="expected base_url like"):
        openai_api.build(openai_api.Settings(model="m", base_url="localhost:8000", api_key_env=None), items={})


def test_no_key_is_needed_where_none_is_named(server: Server, connect: Callable[..., Any]) -> None:
    assert texts(connect(api_key_env=None).generate(prompts(1))) == ["answer 0"]
    assert "sk-very-secret" not in server.headers[0]["authorization"]
