"""Rewards of single-turn reinforcement: the scorer of the leaderboard, and the form of the answer, each logged apart.

`correct` is what evaluation would score: options, graded numbers (mean relative accuracy), intersection over union of
boxes, orders, paths. `format` is 1 for a text of the form asked for. `length` is the soft punishment of overlong
answers of DAPO (arXiv 2503.14476, section 3.4): 0 up to `free_tokens`, falling to -1 at `most_tokens`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from allocentric.agents.actions_text import strict_answer
from allocentric.core import config
from allocentric.core.types import Item, Score, Unreadable

Reward = Callable[..., list[float]]
"""As TRL calls it, with the columns of the rows by name."""
_BARE = re.compile(r"[^\n<>]{1,80}")


class RewardSettings(config.Settings):
    """What is paid, and how much of it counts."""

    correct: float = 1.0
    """Weight of the score."""
    format: float = 0.0
    """Weight of the form."""
    length: float = 0.0
    """Weight of the punishment of length."""
    free_tokens: int = Field(default=256, ge=0)
    """Length without punishment."""
    most_tokens: int = Field(default=512, ge=1)
    """Length of the full punishment."""
    kinds: dict[str, float] = Field(default_factory=dict)
    """Factor of `correct` by question type; 1 for types that are not named."""
    threshold: float | None = Field(default=None, gt=0, le=1)
    """Pay 1 for a score of at least this and 0 below, instead of the graded score; None pays the score."""

    @model_validator(mode="after")
    def _some(self) -> RewardSettings:
        if not any((self.correct, self.format, self.length)):
            raise ValueError("every reward has the weight 0")
        if self.length and self.free_tokens >= self.most_tokens:
            raise ValueError(f"free_tokens {self.free_tokens} must be below most_tokens {self.most_tokens}")
        return self


class Rewards:
    """Functions for TRL's `reward_funcs` and their weights, and a count of groups that teach nothing."""

    def __init__(
        self,
        settings: RewardSettings,
        *,
        items: Sequence[Item],
        score: Callable[[Item, str], Score],
        tags: bool,
        group: int,
    ) -> None:
        """
        Args:
            settings: Weights.
            items: What the `index` of a row stands for.
            score: Scores a text as the answer to an item.
            tags: The form asked for is <think>...</think><answer>...</answer>; else one short line.
            group: Completions of one prompt, which follow each other.
        """
        self._settings, self._items, self._score, self._tags, self._group = settings, items, score, tags, group
        every: dict[str, Reward] = {"correct": self.correct, "format": self.format, "length": self.length}
        chosen = {name: function for name, function in every.items() if getattr(settings, name)}
        self.functions: list[Reward] = list(chosen.values())
        """In the order of `weights`."""
        self.weights: list[float] = [getattr(settings, name) for name in chosen]
        """Of the functions."""
        if not settings.correct:  # scores are watched even where they aren't paid
            self.functions.append(self.correct)
            self.weights.append(0.0)

    def correct(
        self,
        completions: Sequence[Any],
        index: Sequence[int],
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float]:
        """The score of each completion, by the factor of its question type."""
        scores = [self._score(self._items[k], text_of(said)) for k, said in zip(index, completions, strict=True)]
        values = [score.value or 0.0 for score in scores]
        if log_metric is not None:
            self._log(log_metric, index, scores, values)
        paid = values if self._settings.threshold is None else [float(v >= self._settings.threshold) for v in values]
        return [v * self._settings.kinds.get(self._items[k].kind, 1.0) for k, v in zip(index, paid, strict=True)]

    def format(self, completions: Sequence[Any], **_: Any) -> list[float]:
        """1 for a text of the form asked for, 0 for any other."""
        return [float(has_form(text_of(said), tags=self._tags)) for said in completions]

    def length(self, completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        """0 down to -1."""
        free, most = self._settings.free_tokens, self._settings.most_tokens
        return [-min(max(len(ids) - free, 0) / (most - free), 1.0) for ids in completion_ids]

    def _log(
        self, log: Callable[[str, float], None], index: Sequence[int], scores: Sequence[Score], values: Sequence[float]
    ) -> None:
        by_kind: dict[str, list[float]] = defaultdict(list)
        for k, value in zip(index, values, strict=True):
            by_kind[self._items[k].kind].append(value)
        for kind, found in by_kind.items():
            log(f"score/{kind}", sum(found) / len(found))
        unreadable = [isinstance(score.answer, Unreadable) for score in scores]
        log("unreadable", sum(unreadable) / len(unreadable))
        for name, share in group_shares(values, unreadable, self._group).items():
            log(f"groups/{name}", share)


def group_shares(values: Sequence[float], unreadable: Sequence[bool], group: int) -> Mapping[str, float]:
    """Shares of the groups that teach nothing about the answer: all scores equal (all right, all wrong, other), and of
    those without one readable text.
    """
    starts = range(0, len(values), group)
    groups = [(values[k : k + group], unreadable[k : k + group]) for k in starts]
    flat = [found for found, _ in groups if max(found) == min(found)]
    return {
        "equal": len(flat) / len(groups),
        "all_right": sum(found[0] == 1 for found in flat) / len(groups),
        "all_wrong": sum(found[0] == 0 for found in flat) / len(groups),
        "all_unreadable": sum(all(bad) for _, bad in groups) / len(groups),
    }


def has_form(text: str, *, tags: bool) -> bool:
    """Whether a text is <think>...</think><answer>...</answer> and nothing else; or, without tags, one short line."""
    if tags:
        return not isinstance(strict_answer(text), Unreadable)
    return _BARE.fullmatch(text.strip()) is not None


def text_of(completion: Any) -> str:
    """The text of a completion as TRL hands it over: messages whose content is text or parts, or plain text."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())
