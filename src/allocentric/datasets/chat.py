"""Items as chat records: the messages of a training example, and the files other trainers read.

The question is worded as VSI-Bench's evaluator words it (vision-x-nyu/thinking-in-space@51e089c), so that a model
trained on these records is asked the same way later.
"""

from __future__ import annotations

from pathlib import PurePath
from string import ascii_uppercase
from typing import Any, Literal

from pydantic import Field

from allocentric.core import config
from allocentric.core.types import Item, Number
from allocentric.datasets._rationale import LAST, rationale, short_answer, training_text

Record = dict[str, Any]
AnswerFormat = Literal["short", "rationale", "steps"]
"""short: a letter, a number or words. rationale: the derivation in <think>, then the short answer in <answer>. steps:
the derivation alone, whose last sentence is the answer, for models too small for more."""

OPENING = "These are frames of a video."
ASK_NUMBER = "Please answer the question using a single word or phrase."
ASK_CHOICE = "Answer with the option's letter from the given choices directly."
ASK_STEPS = "Give the steps, then the answer."
ASK_RATIONALE = "Think step by step between <think> and </think>, then give {what} between <answer> and </answer>."


class Settings(config.Settings):
    """One file of chat records beside the Parquet data."""

    format: Literal["openai", "llava", "sharegpt"]
    """`openai`: messages with image_url parts. `llava`: `conversations` and `image`. `sharegpt`: `conversations` and
    `images` (`videos` with placeholder_per "item")."""
    placeholder: str = "<image>"
    """What stands for a picture in the text of `llava` and `sharegpt` records."""
    placeholder_per: Literal["frame", "item"] = "frame"
    """One placeholder for every frame, or a single one for all of an item's (a trainer that reads them as a video)."""
    name: str = Field("", pattern=r"^[\w.-]*$")
    """File name without ending; empty takes the format's."""

    @property
    def stem(self) -> str:
        """File name without split and ending."""
        return self.name or self.format


def options_of(item: Item) -> list[str]:
    """Options with their letters, "A. front-left"; empty for open questions."""
    return [f"{ascii_uppercase[index]}. {text}" for index, text in enumerate(item.choices)]


def prompt_text(item: Item, answer: AnswerFormat = "short") -> str:
    """The full user text of an item."""
    parts = [OPENING] if item.views else []
    parts.append(item.prompt)
    if item.choices:
        parts += ["Options:", *options_of(item)]
    parts.append(request_of(item, answer))
    return "\n".join(parts)


def request_of(item: Item, answer: AnswerFormat = "short") -> str:
    """The last line of a question: how it is to be answered."""
    if answer == "short":
        return ASK_CHOICE if item.choices else ASK_NUMBER
    if answer == "steps":
        return ASK_STEPS
    if item.choices:
        return ASK_RATIONALE.format(what="the option's letter")
    return ASK_RATIONALE.format(what="a single number" if isinstance(item.gold, Number) else "the answer")


def answer_text(item: Item, answer: AnswerFormat = "short") -> str:
    """The full assistant text of an item; an item without a derivation has its short answer in the place of steps."""
    if answer == "steps":
        return rationale(item) or short_answer(item)
    return short_answer(item) if answer == "short" else training_text(item)


def answer_of_steps(text: str) -> str:
    """What follows the last "The answer is" of a derivation; all of a text without one."""
    return text.rpartition(LAST)[2]


def messages_of(item: Item, answer: AnswerFormat = "short") -> list[Record]:
    """User and assistant message, one image placeholder per view, as Hugging Face chat templates and TRL read it."""
    pictures = [{"type": "image", "text": None} for _ in item.views]
    question = {"type": "text", "text": prompt_text(item, answer)}
    reply = {"type": "text", "text": answer_text(item, answer)}
    return [{"role": "user", "content": [*pictures, question]}, {"role": "assistant", "content": [reply]}]


def record_of(item: Item, settings: Settings, answer: AnswerFormat = "short") -> Record:
    """An item as one line of a chat file. Views must hold paths, which are written as they are."""
    frames = [view.image.as_posix() for view in item.views if isinstance(view.image, PurePath)]
    if settings.format == "openai":
        pictures = [{"type": "image_url", "image_url": {"url": frame}} for frame in frames]
        question = {"type": "text", "text": prompt_text(item, answer)}
        reply = {"role": "assistant", "content": answer_text(item, answer)}
        return {"id": item.id, "messages": [{"role": "user", "content": [*pictures, question]}, reply]}
    places = min(len(frames), 1) if settings.placeholder_per == "item" else len(frames)
    turns = [
        {"from": "human", "value": f"{settings.placeholder}\n" * places + prompt_text(item, answer)},
        {"from": "gpt", "value": answer_text(item, answer)},
    ]
    record: Record = {"id": item.id, "conversations": turns}
    if not frames:
        return record
    if settings.format == "llava":
        return record | {"image": frames}
    return record | ({"videos": [frames]} if settings.placeholder_per == "item" else {"images": frames})
