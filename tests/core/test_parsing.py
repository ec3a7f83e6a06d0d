"""The general reader: awkward styles, refusals, robustness, and verified published extractions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clock import grows_linearly
from hypothesis import given
from hypothesis import strategies as st

from allocentric.core.parsing import final_part, read_answer, read_choice, read_number, read_order, read_text
from allocentric.core.quantities import quantities
from allocentric.core.types import Choice, Item, Number, Order, Span, Text, Unreadable

SIDES = ("front-left", "front-right", "left", "right")
THINGS = ("chair", "table", "sofa", "tv")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "B",
            "b",
            "B.",
            "(B)",
            "(b).",
            "**B**",
            "[B]",
            "B)",
            "B: table",
            "B. table",
            "B - table",
            '"B"',
            "B\nbecause",
        ),
        *("The answer is B", "the answer is (B) table", "Answer: B", "answer is b.", "Option B", "I choose B."),
        *("Answer: **B**", "My answer would be option B, because A is far", "I pick B since it's near"),
        *(
            "<think>A? no, C</think>B",
            "<think>A</think><answer>B</answer>",
            "<answer>A</answer> no <answer>B</answer>",
        ),
        *("\\boxed{B}", "so \\boxed{\\text{B}}", "<answer>B", "<answer> (b) </answer>", "\u200bB"),
        *("table", "Table.", "It is the table", "<answer>the table</answer>", "A clear view shows the table"),
        *("The correct one is (B)", "It must be B, I think", "The answer is a table"),
        *("First I said the answer is A. On second look the answer is B.", "The correct option is B) table"),
    ],
)
def test_option_b_is_read(text: str) -> None:
    assert read_choice(text, THINGS) == Choice(1)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        *(("front-left", 0), ("It is to my front-left.", 0), ("left", 2), ("to the left, not far", 2), ("RIGHT", 3)),
        *(("A", 0), ("A because it is near", 0), ("The answer is A because it is near", 0), ("(A) front-left", 0)),
        *(("Answer: A front-left", 0), ("I choose A", 0)),
    ],
)
def test_similar_options_are_kept_apart(text: str, index: int) -> None:
    assert read_choice(text, SIDES) == Choice(index)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("<think>it could be B", "while thinking"),
        ("I can't tell", "names no option"),
        ("left or right", "several options: left, right"),
        ("(A) or (B)", "several options: A, B"),
        ("E", "none of the options A-D"),
        ("a chair", "names no option"),
        ("<answer></answer>", "empty"),
    ],
)
def test_no_guess_at_options(text: str, reason: str) -> None:
    read = read_choice(text, SIDES)
    assert isinstance(read, Unreadable)
    assert reason in read.reason


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        *(("3", "", 3), ("three", "", 3), ("Three chairs.", "", 3), ("There are twenty-five of them", "", 25)),
        *(("one hundred and five", "", 105), ("two thousand three hundred", "", 2300), ("a dozen? dozen", "", 12)),
        *(
            ("3.5 m", "m", 3.5),
            ("about 3.5m", "m", 3.5),
            ("~3.5", "m", 3.5),
            ("350 cm", "m", 3.5),
            ("3.5 m", "cm", 350),
        ),
        *(("two and a half meters", "m", 2.5), ("10 feet", "m", 3.048), ("5' long", "m", 5), ("1,200", "cm", 1200)),
        *(("1,5 m", "m", 1.5), ("3/4", "m", 0.75), ("2e1", "", 20), ("-2", "m", -2), ("\u22122 m", "m", -2)),
        *(
            ("18.1 square meters (approximately)", "m2", 18.1),
            ("18.1 m\u00b2", "m2", 18.1),
            ("20 sq ft", "m2", 1.8580608),
        ),
        *(("18 m2", "m2", 18), ("18 m^2", "m2", 18), ("18 sqm", "m2", 18), ("Answer: 4", "", 4)),
        *(("I counted 3 here and 2 there, so 5 in total", "", 5), ("3 + 2 = 5", "", 5), ("2.5 m (250 cm)", "m", 2.5)),
        *(
            ("8.2 feet (2.5 m)", "m", 2.5),
            ("the 2 chairs are 3.5 m apart", "m", 3.5),
            ("5\nI saw 2, then 3 more", "", 5),
        ),
        *(
            ("<think>maybe 7</think>\n<answer>16.8</answer>", "m", 16.8),
            ("\\boxed{42}", "", 42),
            ("**4.6**", "m", 4.6),
        ),
        *(
            ("3 inches", "cm", 7.62),
            ("20 ms", "m", 20),
            ("It measures 3 by eye: 3", "", 3),
            ("The 3D view shows 4", "", 4),
            ("bed2 and bed3: 2", "", 2),
        ),
    ],
)
def test_numbers_are_read(text: str, unit: str, value: float) -> None:
    read = read_number(text, unit)
    assert isinstance(read, Number), read
    assert read.value == pytest.approx(value, rel=1e-12)
    assert read.unit == unit


@pytest.mark.parametrize(
    ("text", "unit", "reason"),
    [
        *(("", "", "empty"), ("a few", "", "no number"), ("nan", "", "no number"), ("unknown", "m", "no number")),
        *(("between 2 and 3 meters", "m", "range"), ("2-3", "", "range"), ("2 to 3 m", "m", "range")),
        *(("so 2 or 3", "", "range"), ("2 chairs, 3 tables", "", "several numbers: 2, 3")),
        *(("3 m", "m2", "gives m, not m2"), ("1e999", "", "too large"), ("<think>5", "", "while thinking")),
    ],
)
def test_no_guess_at_numbers(text: str, unit: str, reason: str) -> None:
    read = read_number(text, unit)
    assert isinstance(read, Unreadable), read
    assert reason in read.reason


def test_orders_and_texts() -> None:
    assert read_order("First the TV, then chair, sofa; last a table.", THINGS) == Order(
        ("tv", "chair", "sofa", "table")
    )
    assert read_order("tv, chair, sofa", THINGS) == Unreadable("does not mention 'table'")
    assert read_order("coffee table, table", ("table", "coffee table")) == Order(("coffee table", "table"))
    assert read_text("<answer> the  big\nsofa. </answer>") == Text("the big sofa")
    assert read_text(" . ") == Unreadable("no words")
    assert final_part("<think>x</think> y <think>z</think>") == Unreadable("the text is empty")


def test_the_gold_answer_decides_the_reader() -> None:
    def item(gold: Choice | Number | Text | Order | Span) -> Item:
        return Item(id="1", kind="k", prompt="?", choices=THINGS, gold=gold, scene_id="s", source="test")

    assert read_answer("B", item(Choice(0))) == Choice(1)
    assert read_answer("2 m", item(Number(1.0, "cm"))) == Number(200.0, "cm")
    assert read_answer("B", item(Text("x"))) == Text("B")
    assert read_answer("b a", item(Order(("a", "b")))) == Order(("b", "a"))
    with pytest.raises(TypeError, match="no reader"):
        read_answer("1 s to 2 s", item(Span(1.0, 2.0)))


@pytest.mark.parametrize(
    ("name", "agreement"),
    [
        ("real_direct_Llama-4-Scout", 0.99),
        ("real_cot_InternVideo2_5_Chat_8B_1fps", 0.99),
        ("real_cot_gpt-4o_32frame", 0.99),
        ("synthetic_cot_pixtral-12b", 0.98),
    ],
)
def test_verified_extractions_of_vlm4d(shared_data: Path, name: str, agreement: float) -> None:
    same = total = 0
    for record in json.loads((shared_data / "vlm4d" / f"responses_{name}.json").read_text()):
        letters = list(record["choices"])
        verified = str(record["extracted_answer"])[:1]
        if verified in letters and record["response"]:
            total += 1
            read = read_choice(record["response"], [str(choice) for choice in record["choices"].values()])
            same += read == Choice(letters.index(verified))
    assert total > 100
    assert same / total >= agreement


_PIECES = [
    "A",
    "(b)",
    "answer is ",
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    "\\boxed{",
    "}",
    "1,",
    "2.5",
    " and ",
]
_PIECES += [
    "twenty-",
    "five",
    " to ",
    "m",
    "\u00b2",
    " ",
    "\n",
    "-",
    "/",
    "front-left",
    "so ",
    "=",
    "e9",
    "\u0661",
    "\u0130",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(_PIECES)).map("".join)))
def test_no_text_makes_a_reader_fail(text: str) -> None:
    assert isinstance(read_choice(text, SIDES), Choice | Unreadable)
    assert isinstance(read_number(text, "m"), Number | Unreadable)
    assert isinstance(read_number(text), Number | Unreadable)
    assert isinstance(read_text(text), Text | Unreadable)
    assert isinstance(read_order(text, SIDES), Order | Unreadable)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_plain_floats_are_read_exactly(value: float) -> None:
    assert [quantity.value for quantity in quantities(f"{value!r} m")] == [value]


_LONG = [
    "a",
    " ",
    "1",
    "A ",
    "<answer>",
    "</answer>",
    "<think>",
    "answer is ",
    "answer (",
    "\\boxed{",
    "(A)",
    "1,",
    "1.5 m ",
]
_LONG += [
    "twenty-",
    "five ",
    "so 1 ",
    "1 to ",
    "\n",
    "-",
    "e",
    "1e",
    "front-left ",
    "A because ",
    "=",
    "1/",
    "\u00b2",
    "sq ",
    "'",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", _LONG)
def test_time_is_linear(piece: str) -> None:
    def read(length: int) -> None:
        text = piece * (length // len(piece))
        for attempt in (text, "answer" + text + "x", "1" + text):
            read_choice(attempt, SIDES)
            read_number(attempt, "m")
            read_order(attempt, SIDES)
            read_text(attempt)

    assert grows_linearly(read, 10_000)


# --------------------------------------------------------------------------------------------------- final answers

WAYS = ("left", "not moving", "right", "no bus there")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("It is not moving, or right.\nTherefore, the final answer is: C", 2),
        ("Either way. Therefore, the final answer is: $C$ (right)", 2),
        ("The final answer is option (C) rather than B.", 2),
        ("Therefore, the final answer is:\n$:\nA: left", 0),
        ("A or C are plausible. \u6700\u7ec8\u7b54\u6848: B", 1),
        ("\u56e0\u6b64\u7b54\u6848\u662f\uff1aD", 3),
        ("Final Answer: moving to the left side", 0),
        ("The final answer is: A. No, wait.\nThe final answer is: D", 3),
        ("Therefore, the final answer is: $A or C", None),
        ("Therefore, the final answer is: $B$ or $C$ (either is plausible)", None),
        ("So the final answer is either A or C, depending. Final answer: A or C", None),
        ("There is no bus there, perhaps. Therefore, the final answer is: $LETTER", None),
        ("It is not moving. Final answer: cannot be determined", None),
        ("I think left. Therefore, the final answer is: N/A", None),
        ("The final answer is: A if it moves left.\nThe final answer is: C if it moves right.", None),
        ("Therefore, the final answer is: $B (not moving) if it stands, otherwise $A (left).", None),
        ("Therefore, the answer is A or C.", None),
    ],
)
def test_the_final_answer_counts_and_may_name_no_option(text: str, index: int | None) -> None:
    answer = read_choice(text, WAYS)
    assert answer == Choice(index) if index is not None else isinstance(answer, Unreadable), answer
