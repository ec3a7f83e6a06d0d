"""Text and tool calls mean the same actions, for heads and walkers; nothing a model says breaks a reader."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocentric.agents.actions_text import PARSERS, HeadAction, parse_action, text_from_action
from allocentric.agents.actions_tools import (
    ANSWER_TOOL,
    CALL_PARSERS,
    HEAD_TOOLS,
    WALK_TOOLS,
    ToolCall,
    call_from_head_action,
    call_from_walk_action,
    head_action_from_call,
    parse_call,
    text_from_call,
    walk_action_from_call,
)
from allocentric.agents.actions_walk import (
    WALK_KINDS,
    WALK_PARSERS,
    WalkAction,
    parse_walk_action,
    text_from_walk_action,
)
from allocentric.core.errors import UserError
from allocentric.core.types import Unreadable
from allocentric.envs import explore, panorama_search

angles = st.floats(-7.0, 7.0)
heads = st.builds(HeadAction, st.sampled_from(["rotate", "submit"]), angles, angles)
walks = st.one_of(
    st.sampled_from([WalkAction(kind) for kind in WALK_KINDS if kind != "answer"]),
    st.builds(WalkAction, st.just("answer"), st.text(max_size=40)),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def same(a: object, b: HeadAction) -> bool:
    return (
        isinstance(a, HeadAction)
        and a.kind == b.kind
        and math.isclose(a.yaw_rad, b.yaw_rad, abs_tol=1e-10)
        and math.isclose(a.pitch_rad, b.pitch_rad, abs_tol=1e-10)
    )


@settings(deadline=None)  # the machine may be busy
@given(heads)
def test_head_actions_survive_text_and_calls(action: HeadAction) -> None:
    for version in ("strict-v1", "lenient-v1"):
        assert same(parse_action(text_from_action(action, "why"), version), action)
        call = parse_call(text_from_call(call_from_head_action(action)), version)
        assert isinstance(call, ToolCall)
        assert same(head_action_from_call(call), action)


@settings(deadline=None)  # the machine may be busy
@given(walks)
def test_walk_actions_survive_text_and_calls(action: WalkAction) -> None:
    for version in WALK_PARSERS:
        assert parse_walk_action(text_from_walk_action(action, "why"), version) == action
        call = parse_call("I think so.\n" + text_from_call(call_from_walk_action(action)), version)
        assert isinstance(call, ToolCall)
        assert walk_action_from_call(call) == action


@settings(deadline=None)  # the machine may be busy
@given(heads)
def test_text_and_tools_give_the_same_action(action: HeadAction) -> None:
    by_text = parse_action(text_from_action(action), "strict-v1")
    assert by_text == head_action_from_call(call_from_head_action(action))


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=80), st.sampled_from(["{}", "<answer>{}</answer>", "<tool_call>{}</tool_call>", "answer({})"]))
def test_no_text_breaks_a_reader(text: str, frame: str) -> None:
    said = frame.replace("{}", text)
    for version in PARSERS:
        assert isinstance(parse_action(said, version), HeadAction | Unreadable)
    for version in WALK_PARSERS:
        assert isinstance(parse_walk_action(said, version), WalkAction | Unreadable)
    for version in CALL_PARSERS:
        assert isinstance(parse_call(said, version), ToolCall | Unreadable)


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(["rotate", "submit", "answer", "stop", "x"]), json_values)
def test_no_call_breaks_a_reader(name: str, arguments: object) -> None:
    said = f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"
    call = parse_call(said, "lenient-v1")
    assert isinstance(call, ToolCall) == isinstance(arguments, dict)
    if isinstance(call, ToolCall):
        assert isinstance(head_action_from_call(call), HeadAction | Unreadable)
        assert isinstance(walk_action_from_call(call), WalkAction | Unreadable)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (ToolCall("zoom", {}), "there is no function 'zoom'; known: rotate, submit"),
        (ToolCall("rotate", {"yaw": 1}), "rotate takes ['pitch', 'yaw'], got ['yaw']"),
        (ToolCall("rotate", {"yaw": 1, "pitch": 2, "roll": 0}), "rotate takes"),
        (ToolCall("rotate", {"yaw": "1", "pitch": 2}), "yaw is a number, got '1'"),
        (ToolCall("rotate", {"yaw": True, "pitch": 2}), "yaw is a number, got 'True'"),
        (ToolCall("submit", {"yaw": 0, "pitch": float("nan")}), "pitch is a number, got 'nan'"),
        (ToolCall("submit", {"yaw": 10**400, "pitch": 0}), "yaw is a number"),
    ],
)
def test_calls_that_do_not_fit_say_why(call: ToolCall, reason: str) -> None:
    read = head_action_from_call(call)
    assert isinstance(read, Unreadable)
    assert reason in read.reason


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("<think>a</think><answer>forward()</answer>", WalkAction("forward"), WalkAction("forward")),
        ("<think>a</think><answer>Left ( )</answer>", WalkAction("left"), WalkAction("left")),
        ("<answer>stop()</answer>", None, WalkAction("stop")),
        ("I go forward() and then left()", None, WalkAction("left")),
        ("<think>a</think><answer>left() | up()</answer>", None, WalkAction("up")),
        ('<think>a</think><answer>answer("B, \\"yes\\"")</answer>', *[WalkAction("answer", 'B, "yes"')] * 2),
        ("<think>a</think><answer>answer('B')</answer>", None, WalkAction("answer", "B")),
        ("<think>a</think><answer>answer(B)</answer>", None, None),
        ("<think>a</think><answer>forward</answer>", None, None),
        ("go straight", None, None),
    ],
)
def test_versions_read_walks_as_they_say(text: str, strict: WalkAction | None, lenient: WalkAction | None) -> None:
    for version, expected in (("strict-v1", strict), ("lenient-v1", lenient)):
        read = parse_walk_action(text, version)
        assert isinstance(read, Unreadable) if expected is None else read == expected, version


def test_one_call_a_turn() -> None:
    one = text_from_call(ToolCall("forward", {}))
    two = one + text_from_call(ToolCall("left", {}))
    assert parse_call(two, "strict-v1") == Unreadable("more than one action")
    assert parse_call(two, "lenient-v1") == ToolCall("left", {})
    assert parse_call(one + " done", "strict-v1") == Unreadable("text after the tool call")
    assert parse_call("[" * 100_000, "lenient-v1").__class__ is Unreadable
    with pytest.raises(UserError, match="unknown tool-call parser 'strict'; did you mean 'strict-v1'"):
        parse_call("", "strict")
    with pytest.raises(UserError, match="unknown action parser"):
        parse_walk_action("", "hstar-v1")


def test_schemas_are_what_servers_take() -> None:
    for tool in (*HEAD_TOOLS, *WALK_TOOLS, ANSWER_TOOL):
        assert json.loads(json.dumps(tool)) == tool
        assert tool["type"] == "function"
        parameters = tool["function"]["parameters"]
        assert set(parameters["required"]) == set(parameters["properties"])
        assert parameters["additionalProperties"] is False


def test_kinds_stand_in_the_order_of_the_environments_moves() -> None:
    moves = {name: getattr(explore, name.upper()) for name in WALK_KINDS if name != "answer"}
    assert moves == {kind: index for index, kind in enumerate(WALK_KINDS[:-1])}
    assert (panorama_search.ROTATE, panorama_search.SUBMIT, panorama_search.NOTHING) == (0, 1, 2)
