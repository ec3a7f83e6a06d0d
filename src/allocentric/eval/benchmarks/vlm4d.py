"""VLM4D: how things move, 1,371 questions about real and 445 about synthetic videos.

ICCV 2025, ShijieZhou-UCLA/VLM4D. The published judge is a language model (o4-mini); here a rule reads the letter, and
`allocentric check vlm4d` compares it with the letters that were verified by the authors.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from allocentric.core.parsing import read_answer
from allocentric.core.types import Answer, Choice, Item, Sampling
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import STRICT, Profile, option_lines, standard_worth
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import Source

REPOSITORY = "shijiezhou/VLM4D"
COUNTS = {"real": 1371, "synthetic": 445}
CELLS = {kind: kind for kind in COUNTS}
_COT = (
    "Answer the given multiple-choice question step by step. Begin by explaining your reasoning process clearly. In "
    "the last sentence of your response, you must conclude by stating the final answer using the following format: "
    "'Therefore, the final answer is: $LETTER' (without quotes), where $LETTER must be only one of the options (A or "
    "B or C or D). Think step by step before answering."
)
_DIRECT = "Answer with the letter of the right option only (A or B or C or D)."


class Settings(published.Settings):
    """What is asked."""

    dataset: str = REPOSITORY
    """The hub's repository, a folder with the published real_mc.json and synthetic_mc.json, or one of them."""


def _item(row: Row) -> Item:
    options = row.value("choices")
    if not isinstance(options, dict) or list(options) != sorted(options):
        raise row.error(f"field 'choices': expected texts by letter, got {options!r}")
    choices = [str(text) for text in options.values()]
    video = row.text("video")
    name = video.partition("/resolve/main/")[2] or video
    kind = "synthetic" if "videos_synthetic" in name else "real"
    return row.item(
        id=f"{kind}/{row.text('id')}",
        kind=kind,
        prompt=row.text("question"),
        choices=choices,
        gold=row.choice("answer", choices),
        scene=PurePosixPath(name).stem,
        video=name,
        false_positive=str(row.value("answer")).startswith("no "),
    )


def _question(item: Item) -> str:
    return "\n".join([f"Question: {item.prompt}", *option_lines(item)])


def _cot(item: Item) -> str:
    return f"{_question(item)}\n\n{_COT}"


def _direct(item: Item) -> str:
    return f"{_question(item)}\n\n{_DIRECT}"


def _worth(answer: Answer, item: Item) -> float:
    """Whether the option says the same as the right one: one published question lists the right text twice."""
    if isinstance(answer, Choice) and isinstance(item.gold, Choice):
        return float(item.choices[answer.index].strip() == item.choices[item.gold.index].strip())
    return standard_worth(answer, item)


DEFINITION = Definition(
    name="vlm4d",
    source=Source(repository=REPOSITORY, files=("real_mc.json", "synthetic_mc.json", "data/*_mc.json")),
    item=_item,
    cells=CELLS,
    counts=COUNTS,
    profiles=(
        Profile(name=STRICT, prompt=_cot, read=read_answer, sampling=Sampling(max_new_tokens=1024)),
        Profile(name="direct@allocentric", prompt=_direct, read=read_answer, sampling=Sampling(max_new_tokens=16)),
    ),
    composite=Nested(cells=CELLS, across="micro"),
    license="MIT",
    citation="ICCV 2025, VLM4D",
    published=(
        PublishedScore(
            name="Gemini-2.5-Pro",
            overall=61.95,
            cells={"real": 63.46, "synthetic": 57.3},
            source="published responses",
        ),
        PublishedScore(name="GPT-4o", overall=57.49, source="published responses"),
        PublishedScore(name="Llama-4-Scout", overall=54.13, source="published responses"),
        PublishedScore(name="Qwen2.5-VL-72B", overall=52.97, source="published responses"),
        PublishedScore(name="InternVideo2.5-8B", overall=50.72, source="published responses"),
    ),
    unknown="the published direct prompt, and the hub's revision",
    examples=(
        {
            "_file": "real_mc",
            "id": "validation_1",
            "video": "https://huggingface.co/datasets/shijiezhou/VLM4D/resolve/main/videos_real/davis/one.mp4",
            "question_type": "multiple-choice",
            "question": "How often does the batter hit the ball?",
            "choices": {"A": 1, "B": 2, "C": 3, "D": 0},
            "answer": 1,
        },
        {
            "_file": "synthetic_mc",
            "id": "validation_1",
            "video": "https://huggingface.co/datasets/shijiezhou/VLM4D/resolve/main/videos_synthetic/synth_1.mp4",
            "question_type": "multiple-choice",
            "question": "Which direction is the robot moving?",
            "choices": {"A": "left", "B": "no robot there", "C": "not moving", "D": "right"},
            "answer": "no robot there",
        },
    ),
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
