"""Readers of head actions: what each version takes and refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocentric.agents.actions_text import PARSERS, HeadAction, parse_action, text_from_action
from allocentric.core.errors import UserError
from allocentric.core.types import Unreadable

TURN = HeadAction("rotate", math.radians(-45.0), 0.0)


@pytest.mark.parametrize(
    ("text", "readers"),
    [
        ("<think>left</think><answer>rotate(-45,0)</answer>", {"hstar-v1", "strict-v1", "lenient-v1"}),
        ("<think></think>\n<answer> rotate( -45 , 0 ) </answer>\n", {"hstar-v1", "strict-v1", "lenient-v1"}),
        ("<answer>rotate(-45,0)</answer>", {"hstar-v1", "lenient-v1"}),
        ("Sure! <answer>rotate(-45,0)</answer> bye", {"hstar-v1", "lenient-v1"}),
        ("<think>a</think><answer>rotate(-45,0)|rotate(-45,0)</answer>", {"hstar-v1", "lenient-v1"}),
        ("<think>a</think><answer>Rotate(-45,0)</answer>", {"strict-v1", "lenient-v1"}),
        ("<think>a</think><answer>rotate(-45.0, 0°)</answer>", {"strict-v1", "lenient-v1"}),
        ("I will rotate(-45,0).", {"lenient-v1"}),
        ("<think>a</think><answer>rotate(-45,0)</answer><answer>rotate(-45,0)</answer>", {"hstar-v1", "lenient-v1"}),
        ("<think>a</think><answer>zoom(2)</answer>", set()),
        ("<think></think><answer></answer>", set()),
        ("<think>a</think><answer>rotate(nan,0)</answer>", set()),
        ("<think>a</think><answer>rotate(-45)</answer>", set()),
        ("", set()),
    ],
)
def test_every_version_reads_what_it_says(text: str, readers: set[str]) -> None:
    for version in PARSERS:
        action = parse_action(text, version)
        assert (action == TURN) == (version in readers), version
        assert isinstance(action, Unreadable) == (version not in readers), version


def test_huge_magnitudes_are_left_to_the_protocol() -> None:
    text = "<think>a</think><answer>rotate(100000,0)</answer>"
    assert all(parse_action(text, version) == HeadAction("rotate", math.radians(1e5), 0.0) for version in PARSERS)


def test_refusals_say_why() -> None:
    several = parse_action("<think>a</think><answer>rotate(1,2)|submit(3,4)</answer>", "strict-v1")
    assert several == Unreadable("more than one action")
    assert "whole numbers" in str(parse_action("<answer>submit(30.5,0)</answer>", "hstar-v1"))
    with pytest.raises(UserError, match="unknown action parser 'hstar'; did you mean 'hstar-v1'"):
        parse_action("", "hstar")


@settings(deadline=None)
@given(st.sampled_from(["rotate", "submit"]), st.integers(-720, 720), st.integers(-180, 180))
def test_whole_angles_survive_the_text_in_every_version(kind, yaw: int, pitch: int) -> None:
    action = HeadAction(kind, math.radians(yaw), math.radians(pitch))
    for version in PARSERS:
        assert parse_action(text_from_action(action, "why"), version) == action


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_breaks_a_reader(text: str) -> None:
    for version in PARSERS:
        parse_action(f"<answer>{text}</answer>", version)
        parse_action(text, version)
