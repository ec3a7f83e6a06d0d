"""How the three profiles read texts: published behaviour, odd texts, and time linear in the text."""

from __future__ import annotations

import math

import pytest
from clock import grows_linearly
from hypothesis import given
from hypothesis import strategies as st

from allocentric.core.types import Unreadable
from allocentric.eval.benchmarks._vsi_extraction import (
    first_number,
    last_number,
    letter_by_search,
    letter_of_first_token,
    number_of_first_token,
)

READERS = [letter_of_first_token, number_of_first_token, first_number, letter_by_search, last_number]


@pytest.mark.parametrize("text", ["A", "a", "A.", "\nA", "A\n", "A. chair", "A...", "\tA x"])
def test_first_token_reads_a_letter(text: str) -> None:
    assert letter_of_first_token(text) == "A"


@pytest.mark.parametrize("text", [" A", "A)", "(A)", "A: chair", "**A**", "The answer is A", "", "A\nB", "A,B", "3"])
def test_first_token_reads_no_letter(text: str) -> None:
    assert isinstance(letter_of_first_token(text), Unreadable)


@pytest.mark.parametrize("text", ["3.", "3 m", "\n3", "3", "3e0", "+3", "3.0.", "0_3"])
def test_first_token_reads_a_number(text: str) -> None:
    assert number_of_first_token(text) == 3


@pytest.mark.parametrize("text", ["3m", "~3", "three", "<answer>3</answer>", " 3", "3,5", "3/2", ""])
def test_first_token_reads_no_number(text: str) -> None:
    assert isinstance(number_of_first_token(text), Unreadable)


def test_first_token_takes_what_float_takes() -> None:
    nan = number_of_first_token("nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert number_of_first_token("Infinity now") == math.inf


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are five of them, not 12.", 5),
        ("I counted 3, maybe four", 3),
        ("1,200", 1),
        ("-2.5 m", -2.5),
        ("5.3e0", 5.3),
        ("<think>maybe 7</think>\n<answer>16.8</answer>", 7),
        ("Seventeen", 17),
        ("forty", 40),
        ("someone often", None),
        ("nan", None),
        ("a few", None),
        ("", None),
    ],
)
def test_first_number(text: str, number: float | None) -> None:
    read = first_number(text)
    assert isinstance(read, Unreadable) if number is None else read == number


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**B**", "B"),
        ("b) table", "B"),
        ("\\boxed{C}", "C"),
        ("<answer>Both of them</answer>", "B"),
        ("<answer class='x'> H </answer>", "H"),
        ("<answer>B", "B"),
        ("so it is d</answer>", "D"),
        ("it must be c)</think>", "C"),
        ("<think>C seems right</think>A", "A"),
        ("<think>first B", "B"),
        ("A? No, A.", "A"),
        ("A? No, B.", None),
        ("I choose B because D is wrong.", None),
        ("the answer is a chair", "A"),
        ("the answers a chair", None),
        ("答案：b", "B"),
        ("我选择C", "C"),
        ("A first\nB second", "B"),
        ("Option A: x\nOption B: y\nC it is", "C"),
        ("\n".join(["D alone here", *"123456"]), "D"),
        ("D2", "D"),
        ("G", None),
        ("Table", None),
        ("", None),
        ("\u200bB\ufeff", "B"),
    ],
)
def test_letter_by_search(text: str, letter: str | None) -> None:
    read = letter_by_search(text)
    assert isinstance(read, Unreadable) if letter is None else read == letter


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Between 1 and 56.14", 56.14),
        ("There are five of them, not 12.", 12),
        ("twenty-five", -5),
        ("twenty one", 1),
        ("thirty", None),
        ("1,200", 200),
        ("3.5e1 m", 35),
        ("<think>maybe 7</think>35", 35),
        ("<think>maybe 7</think>no idea", 7),
        ("<think>maybe 7", 7),
        ("<answer>12 to 15</answer> or 20", 12),
        ("<answer>about 12</answer> or 20", 20),
        ("<answer>5<b></answer>", 5),
        ("<answer x>< / answer> 4", 4),
        ("[4, 5]", 4),
        ("['6 m', 5]", 6),
        ("[]", None),
        ("[4 5]", None),
        ("[__import__('os')]", None),
        ("[about 4]", None),
        ("unknown", None),
    ],
)
def test_last_number(text: str, number: float | None) -> None:
    read = last_number(text)
    assert isinstance(read, Unreadable) if number is None else read == number


_PIECES = ["A", "b", "answer", "is", "<answer>", "</answer>", "<think>", "</think>", "[", "]", "(", "1", ".5", "e9"]


@given(st.one_of(st.text(), st.lists(st.sampled_from([*_PIECES, " ", "\n", "seven", "ſix", "选"])).map("".join)))
def test_no_text_makes_a_reader_fail(text: str) -> None:
    for read in READERS:
        assert isinstance(read(text), str | float | Unreadable)


_LONG = ["a", " ", "1", "A ", "<answer", "<answer>", "</answer>", "< ", "answer ", "answer (", "[", "(*", "1e", "\n"]
_LONG += ["<think>", "-", ".", "1.", "option A", "\u200b", "</", "<answer >1", "[-", "seven", "A*", "*_"]


@pytest.mark.parametrize("piece", _LONG)
@pytest.mark.parametrize("closing", ["x", "</answer>"])
def test_time_is_linear(piece: str, closing: str) -> None:
    def read_all(length: int) -> None:
        text = piece * (length // len(piece)) + closing
        for read in READERS:
            read(text)
            read("answer" + text)

    assert grows_linearly(read_all, 25_000)
