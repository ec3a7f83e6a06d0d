"""SpatialBench: five levels of spatial cognition, 15 tasks about 114 videos.

arXiv 2511.21471, XPR2004/SpatialBench. Three other works share the name. The overall score weighs five categories.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocentric.core.scoring import MRA_RULES
from allocentric.core.types import Answer, Choice, Item, Number, Sampling, Unreadable
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import Profile, left_out, option_lines, standard_worth, strict
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._readers import NO_LETTER, choice_or
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

CATEGORIES: dict[str, tuple[float, tuple[str, ...]]] = {
    "observation": (0.0944, ("object_counting", "object_size", "room_size", "absolute_distance")),
    "topology": (
        0.1564,
        (
            *("appearance_order", "relative_distance", "relative_direction"),
            *("appearance_order_on_self-defined_route", "relative_counting"),
        ),
    ),
    "symbolic": (0.1759, ("multi-hop_spatial_reasoning", "affordance", "landmark-constrained_pose_localization")),
    "causality": (0.2592, ("spatial_causal_reasoning",)),
    "planning": (0.3141, ("visual_based_commands", "route_plan")),
}
"""Category -> its weight in the overall score and its tasks (evaluate_benchmark_results.py)."""
CELLS = {task: category for category, (_, tasks) in CATEGORIES.items() for task in tasks}
WEIGHTS = {category: weight for category, (weight, _) in CATEGORIES.items()}
COUNTS = {
    "relative_counting": 239, "object_counting": 237, "spatial_causal_reasoning": 234, "object_size": 231,
    "affordance": 230, "appearance_order_on_self-defined_route": 229, "relative_distance": 229,
    "multi-hop_spatial_reasoning": 228, "appearance_order": 228, "relative_direction": 228,
    "landmark-constrained_pose_localization": 226, "route_plan": 226, "absolute_distance": 223,
    "visual_based_commands": 118, "room_size": 87,
}  # fmt: skip
_REQUEST = """

YOUR TASK IS TO PROVIDE ONLY THE FINAL ANSWER.
DO NOT INCLUDE ANY EXPLANATIONS, REASONING, OR THOUGHT PROCESS.
YOUR RESPONSE MUST BE EXTREMELY CONCISE AND CONTAIN ONLY THE ANSWER.

Desired Answer Format:
- For a Multiple choice question, your entire response must be a single letter (e.g., A).
- For a Regression question, your entire response must be a single number (e.g., 240).

Provide the final answer ONLY."""

_BOX = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>", re.DOTALL)
_LAST_LETTER = re.compile(r"([A-D])[^A-Z0-9a-z]*$", re.IGNORECASE)
_FIRST_LETTER = re.compile(r"[^A-Z0-9a-z]*([A-D])", re.IGNORECASE)
_NUMBERS = re.compile(r"\b\d+(?:\.\d+)?\b")


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """The published QA.txt (3,193 questions), or its folder."""
    media: Path | None = None
    """Folder of the videos ("dataset/rgb_video_....mp4" below it), from the hub's XPR2004/SpatialBench."""


def _item(row: Row) -> Item:
    sample = row.value("sample")
    if not isinstance(sample, dict):
        raise row.error(f"field 'sample': expected an object, got {sample!r}")
    row = Row({**sample, **{key: row.record[key] for key in ("_file", "_row")}}, row.where, row.media, row.benchmark)
    form = row.one_of("problem_type", ("multiple_choice", "regression"))
    solution = re.sub(r"</?answer>", "", row.text("solution")).strip()
    row = Row({**row.record, "solution": solution}, row.where, row.media, row.benchmark)
    choices = row.labelled(row.texts("options")) if form == "multiple_choice" else ()
    path = row.text("path").removeprefix("./")
    return row.item(
        id=row.text("problem_id"),
        kind=row.one_of("original_question_type", CELLS),
        prompt=row.text("problem"),
        choices=choices,
        gold=row.letter("solution", len(choices)) if choices else row.quantity("solution"),
        scene=path,
        video=path,
        problem_type=form,
        scene_type=row.text("scene_type"),
    )


def _prompt(item: Item) -> str:
    options = "\n".join(["Options:", *option_lines(item)]) if item.choices else ""
    head = "\nAnalyze the video frames and answer the question.\n\n"  # an empty block of examples stands before it
    return f"{head}Question type: {item.extra['problem_type']}\nQuestion: {item.prompt}\n{options}{_REQUEST}"


def _read(text: str, item: Item) -> Choice | Number | Unreadable:
    """Options: the last character, else the first, where it is a letter A to D in any case, also of a word ("the red
    bed" is D, "Because" is B); else the first option whose text stands on the last line. Numbers: the last one.
    What a model boxes is taken as it is.
    """
    box = _BOX.search(text)
    said = (box.group(1) if box else text).strip()
    if not item.choices:
        numbers = [said] if box else _NUMBERS.findall(said)
        try:
            return Number(float(numbers[-1])) if numbers else Unreadable("no number")
        except ValueError:
            return Unreadable("the box holds no number")
    if box:
        return choice_or(said if len(said) == 1 and said.isascii() and said.isalpha() else None, item)
    found = _LAST_LETTER.search(said) or _FIRST_LETTER.match(said)
    return choice_or(found.group(1), item) if found else _option_on_last_line(said, item)


def _option_on_last_line(said: str, item: Item) -> Choice | Unreadable:
    last = next((line for line in reversed(said.split("\n")) if line.strip()), "")
    for index, choice in enumerate(item.choices):
        if re.search(rf"\b{re.escape(choice.strip('. '))}\b", last, re.IGNORECASE):
            return Choice(index)
    return NO_LETTER


def worth(answer: Answer, item: Item) -> float:
    """Options as usual; numbers by the strict comparison of SpatialBench."""
    if isinstance(answer, Number) and isinstance(item.gold, Number):
        return MRA_RULES["spatialbench"].of(answer.value, item.gold.value)
    return standard_worth(answer, item)


_EXAMPLE = {
    "problem_id": 1,
    "problem": "Which car is third on the left?",
    "problem_type": "multiple_choice",
    "original_question_type": "route_plan",
    "options": ["A. The red one.", "B. The blue one.", "C. The white one.", "D. None."],
    "solution": "<answer>B</answer>",
    "path": "./dataset/one.mp4",
    "scene_type": "outdoor",
}
_NUMBER = {
    "problem_id": 2, "problem": "How many cars are there?", "problem_type": "regression", "options": None,
    "original_question_type": "object_counting", "solution": "12",
}  # fmt: skip

DEFINITION = Definition(
    name="spatialbench",
    source=Source(
        repository="", home="github.com/XPR2004/SpatialBench, QA.txt", files=("QA.txt", "test_sample.txt", "*.json*")
    ),
    item=_item,
    cells=CELLS,
    counts=COUNTS,
    profiles=(
        Profile(
            name="official@dc19317",
            prompt=_prompt,
            read=_read,
            worth=worth,
            empty=left_out,
            sampling=Sampling(max_new_tokens=1024, temperature=0.1),
            defects=(
                "a text that ends in a, b, c or d, else one that starts so, is read as that option, also within words",
                "empty answers leave the denominator",
            ),
        ),
        strict(_prompt, worth=worth),
    ),
    composite=Nested(cells=CELLS, within="micro", across=WEIGHTS),
    license="Apache-2.0",
    citation="arXiv 2511.21471",
    published=(
        PublishedScore(
            name="best constant of every task", overall=40.19, source="computed from QA.txt with the official weights",
            cells={"observation": 30.3, "topology": 47.5, "symbolic": 41.1, "causality": 40.6, "planning": 38.7},
        ),
        PublishedScore(name="random", overall=22.64, source="computed from QA.txt with the official weights"),
    ),
    unknown="the score table of the paper was not found in text",
    examples=({"sample": _EXAMPLE}, {"sample": _EXAMPLE | _NUMBER}),
)  # fmt: skip


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
