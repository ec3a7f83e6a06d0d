"""The guard, the bounds and the answers of the server, without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from allocentric.core.runlog import RunLog
from allocentric.envs.questions import LONGEST_ANSWER
from allocentric.eval.play.messages import LARGEST_BODY_BYTES
from allocentric.eval.play.server import is_loopback

TOKEN = "right-token"
Post = Callable[..., Any]


def begun(post: Post) -> dict[str, Any]:
    """What the page knows after a person began the first episode: its name and the moment."""
    page = post("join").json()["page"]
    state = post("begin", page=page, number=0).json()["state"]
    return {"page": page, **{key: state[key] for key in ("number", "attempt", "sequence")}}


# ------------------------------------------------------------------------------------------------------- the guard


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%F0%9F%A6%86", "%ff"])
@pytest.mark.parametrize("rest", ["/", "/view.jpg?number=0&attempt=a&sequence=0&index=0", "/join", "/nothing"])
def test_without_the_token_nothing_is_answered(client: TestClient, token: str, rest: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, f"/{token}{rest}", json={})
        assert answer.status_code == 403
        assert TOKEN not in answer.text
    assert client.get("/favicon.ico").status_code == 403


def test_the_token_elsewhere_does_not_help(client: TestClient) -> None:
    assert client.get(f"/?token={TOKEN}").status_code == 403
    assert client.get(f"/x/{TOKEN}/").status_code == 403
    assert client.get("/", headers={"Authorization": TOKEN, "Cookie": f"token={TOKEN}"}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["example.org", "127.0.0.1.example.org", "localhost.example.org:8000", "", "10.0.0.1", "[::1", "a@127.0.0.1.b"],
)
def test_a_foreign_host_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get(f"/{TOKEN}/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "LOCALHOST"])
def test_this_machine_is_served(client: TestClient, host: str) -> None:
    assert client.get(f"/{TOKEN}/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://example.org"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "https://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_can_not_post(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post(f"/{TOKEN}/join", json={}, headers=headers).status_code == 403
    assert client.post(f"/{TOKEN}/join", json={}).status_code == 200


def test_a_link_from_elsewhere_opens_the_page_but_embeds_nothing(client: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert client.get(f"/{TOKEN}/", headers=link).status_code == 200
    assert client.get(f"/{TOKEN}/view.jpg", headers=link | {"Sec-Fetch-Dest": "image"}).status_code == 403


def test_forms_of_other_sites_can_not_be_json(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post(f"/{TOKEN}/join", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415


def test_bodies_are_bounded(client: TestClient) -> None:
    json_type = {"Content-Type": "application/json"}
    assert client.post(f"/{TOKEN}/act", content=b" " * (LARGEST_BODY_BYTES + 1), headers=json_type).status_code == 413
    parts = (b" " * 4096 for _ in range(LARGEST_BODY_BYTES // 4096 + 1))  # no Content-Length
    assert client.post(f"/{TOKEN}/act", content=parts, headers=json_type).status_code == 413
    assert client.post(f"/{TOKEN}/act", content=b" " * LARGEST_BODY_BYTES, headers=json_type).status_code == 400


def test_paths_lead_nowhere_else(client: TestClient) -> None:
    for path in ("../page.html", "..%2f..%2fetc/passwd", "page.html", "%2e%2e/samples.jsonl", "view.jpg/../../x"):
        assert client.get(f"/{TOKEN}/{path}").status_code in (403, 404)
    assert client.get(f"/{TOKEN}/join").status_code == 405
    assert client.delete(f"/{TOKEN}/").status_code == 405


def test_every_answer_is_hardened(client: TestClient) -> None:
    for answer in (
        client.get(f"/{TOKEN}/"),
        client.get("/wrong/"),
        client.get(f"/{TOKEN}/nothing"),
        client.post(f"/{TOKEN}/join", json={}),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "set-cookie" not in answer.headers


def test_the_page_runs_its_own_script_only_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get(f"/{TOKEN}/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert policy["script-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"""\w+://|["'(]//""", answer.text)
    for way_in in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert way_in not in answer.text
    assert not re.search(r"\son\w+=", answer.text)  # no handlers in the markup: the policy would not run them


@pytest.mark.parametrize(
    ("host", "is_this_machine"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],
)
def test_loopback(host: str, is_this_machine: bool) -> None:
    assert is_loopback(host) is is_this_machine


# --------------------------------------------------------------------------------------------------------- the game


def test_the_view_is_the_environments(client: TestClient, post: Post, session: Any) -> None:
    moment = begun(post)
    query = {key: moment[key] for key in ("number", "attempt", "sequence")} | {"index": 0}
    answer = client.get(f"/{TOKEN}/view.jpg", params=query)
    assert answer.headers["content-type"] == "image/jpeg"
    shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR_RGB).astype(float)
    real = session.picture(moment["number"], moment["attempt"], moment["sequence"], 0)
    assert shown.shape == (48, 64, 3)
    assert np.abs(shown - real).mean() < 6
    for other in ({"sequence": 1}, {"attempt": "old"}, {"number": 1}, {"index": 1}):
        assert client.get(f"/{TOKEN}/view.jpg", params=query | other).status_code == 409
    assert client.get(f"/{TOKEN}/view.jpg", params={"number": "x"}).status_code == 400
    assert client.get(f"/{TOKEN}/view.jpg", params=query | {"number": "9" * 5000}).status_code == 409


def test_actions_over_http(post: Post) -> None:
    moment = begun(post)
    turned = post("act", **moment, deed={"kind": "rotate", "yaw_rad": 0.5}).json()["state"]
    assert turned["sequence"] == 1
    stale = post("act", **moment, deed={"kind": "submit"})
    assert (stale.status_code, stale.json()["reason"]) == (409, "stale")
    ended = post("act", **moment | {"sequence": 1}, deed={"kind": "submit"}).json()["state"]
    assert ended["phase"] == "ended"
    late = post("act", **moment | {"sequence": 2}, deed={"kind": "submit"})
    assert (late.status_code, late.json()["reason"]) == (409, "over")
    assert "the episode is over" in late.json()["message"]


def test_two_pages_over_http(post: Post) -> None:
    moment = begun(post)
    held = post("join")
    assert (held.status_code, held.json()["reason"]) == (423, "held")
    second = post("join", take=True).json()
    assert second["state"]["attempt"] == moment["attempt"]
    taken = post("act", **moment, deed={"kind": "submit"})
    assert (taken.status_code, taken.json()["reason"]) == (423, "taken")
    assert post("leave", page=second["page"]).status_code == 200
    assert post("join").status_code == 200


@pytest.mark.parametrize(
    "deed",
    [
        {},
        {"kind": "fly"},
        {"kind": "rotate", "yaw_rad": 100.0},
        {"kind": "rotate", "yaw_rad": "0.5"},
        {"kind": "rotate", "yaw_rad": None},
        {"kind": "rotate", "yaw_rad": 1e400},
        {"kind": "answer", "text": "a" * (LONGEST_ANSWER + 1)},
        {"kind": "answer", "text": ["a"]},
        {"kind": "move", "move": "through the wall"},
        {"kind": "submit", "success": True},
        "submit",
    ],
)
def test_a_request_that_is_not_understood_changes_nothing(client: TestClient, post: Post, deed: Any) -> None:
    moment = begun(post)
    text = json.dumps({**moment, "deed": deed})
    answer = client.post(f"/{TOKEN}/act", content=text, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong")
    assert "\n" not in answer.json()["message"]
    assert post("state", page=moment["page"]).json()["state"]["sequence"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"page": NaN}', b"[" * 60000])
def test_a_body_that_is_not_json(client: TestClient, body: bytes) -> None:
    for name in ("join", "state", "begin", "act", "leave", "results", "close"):
        answer = client.post(f"/{TOKEN}/{name}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400


def test_the_table_gathers_baselines_and_only_the_holder_may_close(
    post: Post, stopped: list[bool], log: RunLog
) -> None:
    moment = begun(post)
    post("act", **moment, deed={"kind": "submit"})
    shown = post("results", page=moment["page"]).json()["results"]
    missing = shown["missing"]
    while shown["missing"]:
        shown = post("results", page=moment["page"]).json()["results"]
        assert shown["missing"] == missing - 1
        missing -= 1
    policies = {row["policy"]: row["overall"] for row in shown["table"]["policies"]}
    assert next(iter(policies)) == "Ada"
    assert policies["oracle"]["score"] == 100.0
    assert all(cell["n"] == 6 for name, cell in policies.items() if name != "Ada")
    assert post("close", page="stranger").status_code == 423
    assert not stopped
    assert post("close", page=moment["page"]).status_code == 200
    assert stopped == [True]
    for file in log.folder.rglob("*"):
        assert TOKEN.encode() not in file.read_bytes()
