"""Which of many candidate items make a set: quotas per type, labels balanced by meaning, the same choice every time.

Candidates are taken in turn: one of every label, within a label one of every letter, within that one of every scene,
ties by a hash of the content. So any prefix is as even as the candidates allow, whatever order they came in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from allocentric.core.errors import UserError
from allocentric.core.records import digest
from allocentric.core.types import Choice, Item

_FREE_RIGHT = 2
"""Times an option may be right before its share counts."""


class ShortageError(UserError):
    """Scenes do not give as many questions of a type as the recipe asks for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What selection needs to know of an item."""

    id: str
    """Content hash."""
    kind: str
    """Question type."""
    scene_id: str
    """Scene it is asked about."""
    label: str
    """Meaning of the answer."""
    letter: int
    """Place of the right option; -1 for open questions."""
    choices: tuple[str, ...]
    """Option texts."""


def candidate_of(item: Item) -> Candidate:
    """The selection's view of an item."""
    letter = item.gold.index if isinstance(item.gold, Choice) else -1
    return Candidate(item.id, item.kind, item.scene_id, item.evidence.label, letter, item.choices)


def select(
    candidates: Iterable[Candidate], quotas: Mapping[str, int | None], *, max_label_ratio: float, allow_short: bool
) -> list[Candidate]:
    """The items of a set, in the order of `quotas`, then of drawing.

    Args:
        candidates: Any order; of equal ids the first counts.
        quotas: Items wanted by type; None takes as many as stay balanced.
        max_label_ratio: Types whose options are always the same words: no word is the answer more often than this
            times the rarest one. Other choice types: no option is right more often than this times its even share of
            the times it is offered.
        allow_short: Take what there is where a type has fewer than its quota.

    Raises:
        ShortageError: A type has too few; names the type, what was got and what was wanted.
    """
    by_kind: dict[str, dict[str, Candidate]] = {kind: {} for kind in quotas}
    for candidate in candidates:
        if candidate.kind in by_kind:
            by_kind[candidate.kind].setdefault(candidate.id, candidate)
    chosen: list[Candidate] = []
    for kind, quota in quotas.items():
        usable = balanced(list(by_kind[kind].values()), max_label_ratio)
        if not allow_short and len(usable) < (1 if quota is None else quota):
            raise ShortageError(_shortage(kind, quota, len(usable), list(by_kind[kind].values())))
        chosen += usable[:quota]
    return chosen


def balanced(candidates: Sequence[Candidate], max_label_ratio: float) -> list[Candidate]:
    """The candidates of one type in the order they are taken, without those that would tip the balance."""
    if not candidates:
        return []
    words = closed_words(candidates)
    if words is None and not candidates[0].choices:
        return _interleaved(candidates, ("label", "scene_id"))
    if words is None:
        return _evenly_right(_interleaved(candidates, ("letter", "label", "scene_id")), max_label_ratio)
    groups = [[c for c in candidates if c.label == word] for word in words]
    most = int(min(len(group) for group in groups) * max_label_ratio)
    kept = [c for group in groups for c in _interleaved(group, ("letter", "scene_id"))[:most]]
    return _interleaved(kept, ("label", "letter", "scene_id"))


def closed_words(candidates: Sequence[Candidate]) -> tuple[str, ...] | None:
    """The options of a type that always offers the same words in some order, sorted; None for other types."""
    words = tuple(sorted(candidates[0].choices))
    if not words or any(tuple(sorted(c.choices)) != words or c.label not in words for c in candidates):
        return None
    return words


def _evenly_right(candidates: Sequence[Candidate], max_label_ratio: float) -> list[Candidate]:
    """Candidates in order, without those that would make an option right much more often than when it is offered.

    A chair is the nearest thing more often than a printer; a guesser who knows that needs no picture. So an option is
    right at most `max_label_ratio` times its even share of the times it is offered, after the first few.
    """
    offered: Counter[str] = Counter()
    right: Counter[str] = Counter()
    kept: list[Candidate] = []
    waiting = list(candidates)
    grown = True
    while grown and waiting:  # what is kept offers other options, which makes room for more
        passed_over = []
        for candidate in waiting:
            allowed = max_label_ratio / len(candidate.choices) * (offered[candidate.label] + 1)
            if right[candidate.label] + 1 > allowed + _FREE_RIGHT:
                passed_over.append(candidate)
                continue
            kept.append(candidate)
            right[candidate.label] += 1
            offered.update(candidate.choices)
        grown, waiting = len(passed_over) < len(waiting), passed_over
    return kept


def _interleaved(candidates: Sequence[Candidate], keys: Sequence[str], path: str = "") -> list[Candidate]:
    """One of every value of the first key in turn; within a value, recursively by the other keys, then by id."""
    if not keys:
        return sorted(candidates, key=lambda c: c.id)
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(str(getattr(candidate, keys[0])), []).append(candidate)
    # Values are ordered by a hash with the way that led here, or the same letter would come first under every label.
    names = sorted(groups, key=lambda name: digest([path, name]))
    queues = [_interleaved(groups[name], keys[1:], f"{path}/{name}") for name in names]
    depth = max(len(queue) for queue in queues)
    return [queue[turn] for turn in range(depth) for queue in queues if turn < len(queue)]


def _shortage(kind: str, quota: int | None, got: int, candidates: Sequence[Candidate]) -> str:
    wanted = "at least one" if quota is None else str(quota)
    counts = Counter(c.label for c in candidates)
    detail = ""
    words = closed_words(candidates) if candidates else None
    if words is not None and got < len(candidates):
        detail = " (candidates by answer: " + ", ".join(f"{word} {counts[word]}" for word in words) + ")"
    return (
        f"question type {kind!r}: got {got} balanced items, expected {wanted}{detail}; "
        "add scenes, lower the quota, or set allow_short: true"
    )
