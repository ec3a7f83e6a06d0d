"""Recall: beside what did a thing stand, in order? It is set down at four places along the walk.

The question of VSI-SUPER-Recall (arXiv 2511.04670), with one word more: places are asked for in the order in which the
thing *first* stood there. Where houses are walked again the thing is there again, in another order, so that frames
that merely show it tell nothing; when a video is played twice nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allocentric.core.types import Choice, Item
from allocentric.datasets.options import order_options
from allocentric.datasets.supersensing._draft import Draft, Shown
from allocentric.datasets.supersensing._places import Slot

PLACES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Recall:
    label: str
    slots: Sequence[Slot]

    def items(self, shown: Shown) -> list[Item]:
        """One question about the order of the four places."""
        first: dict[str, int] = {}
        for slot in self.slots:
            put = slot.put()
            first[slot.spot.beside_label] = min(k for k, visit in enumerate(shown.visits) if put in visit.edit.put)
        order = sorted(first, key=lambda place: first[place])
        options = order_options(order, shown.rng)
        mixed = [options[k] for k in shown.rng.permutation(len(options))]
        prompt = (
            "These are frames of a video.\nWhich of the following correctly represents the order in which the "
            f"{self.label} first appeared beside each of these in the video?"
        )
        return [
            shown.item(
                task="recall",
                prompt=prompt,
                choices=[", ".join(option) for option in mixed],
                gold=Choice(mixed.index(tuple(order))),
                label=", ".join(order),
                things=[self.slots[0].id, *(slot.spot.beside for slot in self.slots)],
                asks={"thing": self.label, "places": sorted(order), "orders": [list(option) for option in mixed]},
            )
        ]


def draw(draft: Draft, count: int) -> list[_Recall]:
    """At most `count` questions, each with a thing at four places with different names."""
    questions: list[_Recall] = []
    for _ in range(count):
        label = draft.take_name()
        if label is None:
            break
        slots = _four_places(draft, label)
        if slots is None:
            draft.names.insert(0, label)
        else:
            questions.append(_Recall(label, slots))
    return questions


def _four_places(draft: Draft, label: str) -> list[Slot] | None:
    look, slots, names = draft.look(), list[Slot](), set[str]()
    houses = dict.fromkeys(stop.house for stop in draft.stops if stop.passing == 0)
    for house in draft.rng.permutation(list(houses)).tolist():
        stretches = (draft.stretches_of(house, 0)[0], *draft.stretches_of(house, 1)[:1])
        spots = draft.spots(label, look, stretches)
        places = list(dict.fromkeys(spot.beside_label for spot in spots if spot.beside_label not in names))
        if not places:
            continue
        names.add(places[0])
        there = [spot for spot in spots if spot.beside_label == places[0]]
        slots.append(draft.slot(label, look, stretches, there, seen_with_neighbour=True))
        if len(slots) == PLACES:
            return slots
    return None
