"""Can a set be answered without looking? Blind baselines against chance, per question type.

Three baselines never see a picture: the most frequent answer, the answer each type's training folds make most likely
(by meaning, not by letter), and a text classifier over the question and its options. All are fitted on other scenes
than they are judged on (k-fold over scenes, after "test-set training", arXiv 2511.04655), so a figure above chance is
a shortcut in the text that carries over to new scenes, not memory of a scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allocentric.core import config
from allocentric.core.errors import UserError
from allocentric.core.records import digest
from allocentric.core.scoring import mean_relative_accuracy
from allocentric.core.stats import Statistic, cluster_bootstrap
from allocentric.core.types import Choice, Item, Number
from allocentric.datasets import text_baseline

Array = NDArray[np.float64]


class ShortcutError(UserError):
    """A set can be answered without its pictures better than its recipe allows."""


class Settings(config.Settings):
    """What the audit allows. A limit is broken when the lower end of a figure's 95 % interval lies above it."""

    enabled: bool = True
    """False skips the audit; the data card then says so."""
    folds: int = Field(5, ge=2)
    """Folds over scenes."""
    max_lift: float = Field(0.15, ge=0.0)
    """Choice types: how far a blind baseline's accuracy may lie above chance."""
    max_mra: float = Field(0.75, gt=0.0, le=1.0)
    """Number types: largest mean relative accuracy of a blind baseline."""
    limits: Mapping[str, float] = {}
    """By question type, instead of max_lift or max_mra."""
    max_items: int = Field(4000, ge=10)
    """A type with more items is audited on this many of them, chosen by content hash."""
    replicates: int = Field(1000, ge=100)
    """Bootstrap replicates of the intervals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One baseline on one question type."""

    kind: str
    """Question type."""
    baseline: str
    """"majority", "prior" or "text"."""
    metric: str
    """"accuracy" or "mra"."""
    n: int
    """Items judged."""
    scenes: int
    """Scenes they come from."""
    value: float
    """Mean score in [0, 1]."""
    low: float | None
    """Lower end of the 95 % interval over scenes; None with a single scene."""
    high: float | None
    """Upper end."""
    chance: float | None
    """Expected accuracy of a uniform guess; None for numbers."""
    limit: float
    """Largest value the recipe allows."""

    @property
    def passed(self) -> bool:
        """Whether the figure may be at the limit or below."""
        return (self.value if self.low is None else self.low) <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Every figure of a set."""

    figures: tuple[Figure, ...]
    """By question type, then baseline."""

    @property
    def broken(self) -> list[Figure]:
        """Figures beyond their limit."""
        return [figure for figure in self.figures if not figure.passed]

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        figures = [{**asdict(figure), "passed": figure.passed} for figure in self.figures]
        return {"passed": not self.broken, "figures": figures}

    def check(self) -> None:
        """Raise ShortcutError with the figures where a limit is broken."""
        if self.broken:
            told = "; ".join(
                f"{f.kind}: {f.baseline} {100 * f.value:.1f} ({_ends(f)}), allowed {100 * f.limit:.1f}"
                for f in self.broken
            )
            raise ShortcutError(
                f"the audit found text that gives answers away: {told}; "
                "change the questions, or raise audit.limits knowingly"
            )


def _ends(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "one scene"
    return f"95 % interval {100 * figure.low:.1f} to {100 * figure.high:.1f}"


def audit(items: Sequence[Item], settings: Settings, *, seed: int = 0) -> Audit:
    """Judge the blind baselines on every question type of `items`.

    Raises UserError where a type's items come from fewer than two scenes, which leaves nothing to hold out.
    """
    by_kind: dict[str, list[Item]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    figures = [figure for kind in sorted(by_kind) for figure in _audit_kind(kind, by_kind[kind], settings, seed)]
    return Audit(figures=tuple(figures))


def _audit_kind(kind: str, items: list[Item], settings: Settings, seed: int) -> list[Figure]:
    items = sorted(items, key=lambda item: digest([seed, item.id]))[: settings.max_items]
    scenes = sorted({item.scene_id for item in items})
    if len(scenes) < 2:
        raise UserError(
            f"the audit of {kind!r} needs items from 2 scenes or more, got {len(scenes)}; "
            "add scenes or set audit.enabled: false"
        )
    chance = _chance(items)
    limit = settings.limits.get(kind, settings.max_mra if chance is None else chance + settings.max_lift)
    baselines = _NUMBER_BASELINES if chance is None else _CHOICE_BASELINES
    figures = []
    for name, baseline in baselines.items():
        scores = _cross_validated(items, scenes, baseline, settings.folds, seed)
        clusters = [item.scene_id for item in items]
        interval = cluster_bootstrap(_mean_of(scores), clusters, replicates=settings.replicates, seed=seed)["mean"]
        figures.append(
            Figure(
                kind=kind,
                baseline=name,
                metric="mra" if chance is None else "accuracy",
                n=len(items),
                scenes=len(scenes),
                value=float(scores.mean()),
                low=_finite(interval.low),
                high=_finite(interval.high),
                chance=chance,
                limit=limit,
            )
        )
    return figures


def _mean_of(scores: Array) -> Statistic:
    return lambda weights: {"mean": (weights @ scores) / weights.sum(axis=1)}


def _chance(items: Sequence[Item]) -> float | None:
    if not items[0].choices:
        return None
    return float(np.mean([1.0 / len(item.choices) for item in items]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


Baseline = Callable[[Sequence[Item], Sequence[Item]], Array]
"""(training items, test items) -> (N,) scores of the test items."""


def _cross_validated(items: Sequence[Item], scenes: Sequence[str], baseline: Baseline, folds: int, seed: int) -> Array:
    order = np.random.default_rng([seed, 0xA0D17]).permutation(len(scenes))
    fold_of_scene = {scenes[index]: place % min(folds, len(scenes)) for place, index in enumerate(order.tolist())}
    fold = np.array([fold_of_scene[item.scene_id] for item in items])
    scores = np.zeros(len(items))
    for held_out in np.unique(fold):
        train = [item for item, f in zip(items, fold, strict=True) if f != held_out]
        test = [item for item, f in zip(items, fold, strict=True) if f == held_out]
        scores[fold == held_out] = baseline(train, test)
    return scores


# ---------------------------------------------------------------------------------------------------------- choices


def _place(item: Item) -> int:
    assert isinstance(item.gold, Choice)
    return item.gold.index


def _most_frequent_letter(train: Sequence[Item], test: Sequence[Item]) -> Array:
    letter = int(np.bincount([_place(item) for item in train]).argmax())
    return np.array([float(_place(item) == letter) for item in test])


def _likeliest_meaning(train: Sequence[Item], test: Sequence[Item]) -> Array:
    """Pick the option whose text was right most often among the times it was offered."""
    offered: dict[str, float] = {}
    right: dict[str, float] = {}
    for item in train:
        for index, text in enumerate(item.choices):
            offered[text] = offered.get(text, 0.0) + 1.0
            right[text] = right.get(text, 0.0) + float(index == _place(item))
    scores = []
    for item in test:
        rate = [(right.get(text, 0.0) + 1.0) / (offered.get(text, 0.0) + len(item.choices)) for text in item.choices]
        best = np.flatnonzero(np.isclose(rate, max(rate)))
        scores.append(float(_place(item) in best) / len(best))  # a tie is a guess among the tied
    return np.array(scores)


def _text_choice(train: Sequence[Item], test: Sequence[Item]) -> Array:
    picked = text_baseline.pick_options(train, [_place(item) for item in train], test)
    return np.array([float(choice == _place(item)) for choice, item in zip(picked, test, strict=True)])


# ---------------------------------------------------------------------------------------------------------- numbers


def _value(item: Item) -> float:
    assert isinstance(item.gold, Number)
    return item.gold.value


def _mra(predictions: Sequence[float], test: Sequence[Item]) -> Array:
    return np.asarray(mean_relative_accuracy(np.asarray(predictions), np.array([_value(item) for item in test])))


def _most_frequent_number(train: Sequence[Item], test: Sequence[Item]) -> Array:
    values, counts = np.unique([_value(item) for item in train], return_counts=True)
    return _mra([float(values[counts.argmax()])] * len(test), test)


def _best_constant(train: Sequence[Item], test: Sequence[Item]) -> Array:
    """The constant with the best mean relative accuracy on the training items."""
    values = np.unique([_value(item) for item in train])
    if len(values) > 64:
        values = np.quantile(values, np.linspace(0, 1, 64))
    score = [_mra([float(value)] * len(train), train).mean() for value in values]
    return _mra([float(values[int(np.argmax(score))])] * len(test), test)


def _text_number(train: Sequence[Item], test: Sequence[Item]) -> Array:
    return _mra(text_baseline.predict_numbers(train, [_value(item) for item in train], test), test)


_CHOICE_BASELINES: Mapping[str, Baseline] = {
    "majority": _most_frequent_letter,
    "prior": _likeliest_meaning,
    "text": _text_choice,
}
_NUMBER_BASELINES: Mapping[str, Baseline] = {
    "majority": _most_frequent_number,
    "prior": _best_constant,
    "text": _text_number,
}
