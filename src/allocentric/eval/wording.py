"""How an answer has to be written for a profile to read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from allocentric.agents.models.scripted import text_from_answer
from allocentric.core.types import Answer, Item
from allocentric.eval.protocol import Benchmark


def worded(benchmark: Benchmark, item: Item, answer: Answer, profile: str) -> str:
    """`answer` to `item` as the profile asks for it ("yes", "<answer>B. left</answer>"), else a letter or number."""
    asked: Any = getattr(benchmark, "inner", benchmark)  # an honesty check changes questions, not their wording
    profile_of: Any = getattr(asked, "profile", None)
    write: Any = None if profile_of is None else getattr(profile_of(profile), "write", None)
    return text_from_answer(answer) if write is None else str(write(replace(item, gold=answer)))
