"""Count: how many different objects of a kind did the video show, over all rooms?

The question of VSI-SUPER-Count (arXiv 2511.04670). An object counts where some frame shows it large enough to be
recognised; walked past again or played again it is still one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from allocentric.core.types import Answer, Item, Number, Text
from allocentric.datasets.supersensing._draft import Draft, Shown
from allocentric.datasets.supersensing._places import THINGS, Slot

_LEAST = 3
"""Fewest objects of a kind that is asked about."""


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    count: int
    query_times: int = 0
    slots: Sequence[Slot] = ()
    needed: Sequence[Slot] = ()

    def items(self, shown: Shown) -> list[Item]:
        """One question for each of some kinds with enough objects, their numbers as different as may be."""
        ids = _ids_by_label(shown, len(shown.visits))
        enough = sorted(label for label, found in ids.items() if len(found) >= _LEAST)
        mixed = shown.rng.permutation(enough).tolist() if enough else []
        chosen = _evenly(sorted(mixed, key=lambda label: len(ids[label])), self.count)
        items = [self._item(shown, label, Number(float(len(ids[label])))) for label in chosen]
        if self.query_times:
            items += [self._streaming(shown, label) for label in chosen]
        return items

    def _item(self, shown: Shown, label: str, gold: Answer) -> Item:
        return shown.item(
            task="count",
            prompt=f"How many different {label}(s) are there in the video?",
            gold=gold,
            label=str(int(gold.value)) if isinstance(gold, Number) else "",
            things=(),
            asks={"thing": label},
        )

    def _streaming(self, shown: Shown, label: str) -> Item:
        """The count so far at evenly spaced ends of stretches, answered by a list."""
        total = len(shown.visits)
        ends = sorted({round(total * (k + 1) / self.query_times) for k in range(self.query_times)} - {0})
        answers = [len(_ids_by_label(shown, end).get(label, ())) for end in ends]
        times = [end * shown.eyes.stream.settings.stretch_s for end in ends]
        return shown.item(
            task="count_streaming",
            prompt=f"How many different {label}(s) are there in the video?",
            gold=Text(json.dumps([float(answer) for answer in answers])),
            label=str(answers),
            things=(),
            asks={"thing": label, "query_times": times},
        )


def _evenly(ranked: Sequence[str], count: int) -> list[str]:
    """`count` of them at equal steps from the first to the last."""
    if len(ranked) <= count:
        return list(ranked)
    return [ranked[round(k * (len(ranked) - 1) / max(count - 1, 1))] for k in range(count)]


def _ids_by_label(shown: Shown, stretches: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for visit in dict.fromkeys(shown.visits[:stretches]):
        seen = shown.eyes.seen_in(visit)
        for thing in shown.eyes.things(visit).values():
            if thing.id in seen and thing.label not in THINGS:
                found.setdefault(thing.label, set()).add(thing.id)
    return found


def draw(draft: Draft, count: int, query_times: int = 0) -> list[_Counts]:  # noqa: ARG001 - sets nothing down
    """`count` kinds, and each asked at `query_times` times as well."""
    return [_Counts(count, query_times)] if count else []
