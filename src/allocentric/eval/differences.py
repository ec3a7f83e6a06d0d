"""Where the profiles of a benchmark disagree about the same text, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from allocentric.core.types import Answer, Choice, Item, Number, Order, Score, Text, Unreadable
from allocentric.eval.protocol import Benchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileDifference:
    """One text that is worth different scores."""

    item: Item
    """What was asked."""
    text: str
    """Raw answer."""
    scores: Mapping[str, Score]
    """By profile."""

    @property
    def why(self) -> str:
        """What every profile read, in one line: "official@51e089c reads 3: 0.6; ..."."""
        return "; ".join(f"{profile} {_account(score)}" for profile, score in self.scores.items())


def profile_differences(
    benchmark: Benchmark, texts: Mapping[str, str], profiles: Sequence[str] | None = None
) -> list[ProfileDifference]:
    """Score texts under several profiles and keep those with more than one score.

    Args:
        benchmark: Whose items and profiles.
        texts: Raw answers by item id; items without one are passed over.
        profiles: Which to compare; None takes all.
    """
    names = benchmark.profiles if profiles is None else tuple(profiles)
    found = []
    for item in benchmark.items():
        if item.id in texts:
            scores = {name: benchmark.score(item, texts[item.id], name) for name in names}
            if len({score.value for score in scores.values()}) > 1:
                found.append(ProfileDifference(item=item, text=texts[item.id], scores=scores))
    return found


def _account(score: Score) -> str:
    worth = "left out" if score.value is None else f"{score.value:g}"
    if isinstance(score.answer, Unreadable):
        return f"can't read it ({score.answer.reason}): {worth}"
    return f"reads {_shown(score.answer)}: {worth}"


def _shown(answer: Answer) -> str:
    match answer:
        case Choice(index):
            return chr(ord("A") + index)
        case Number(value, unit):
            return f"{value:g} {unit}".strip()
        case Text(text):
            return repr(text)
        case Order(labels):
            return ", ".join(labels)
    return str(answer)
