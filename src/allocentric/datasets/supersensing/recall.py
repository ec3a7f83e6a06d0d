"""Recall: beside what did a thing stand, in order? It is set down at four places along the walk.

The question of VSI-SUPER-Recall (arXiv 2511.04670), with one word more: places are asked for in the order in which the
thing *first* stood there. Where houses are walked again the thing is there again, in another order, so that frames
that merely show it tell nothing; when a video is played twice nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from allocentric.core.types import Choice, Item
from allocentric.datasets.options import order_options
from allocentric.datasets.supersensing._draft import Draft, Shown
from allocentric.datasets.supersensing._places import Slot, Spot

PLACES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Recall:
    label: str
    slots: Sequence[Slot]
    """Of the four places, then of where the thing is once more."""

    @property
    def needed(self) -> Sequence[Slot]:
        """The four places."""
        return self.slots[:PLACES]

    def items(self, shown: Shown) -> list[Item]:
        """One question about the order of the four places."""
        first: dict[str, int] = {}
        for slot in self.slots[:PLACES]:
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
                things=[self.slots[0].id, *(slot.spot.beside for slot in self.slots[:PLACES])],
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
    """The thing beside four pieces of furniture with different names in four houses, and there again later."""
    look, spots = draft.look(), dict[int, list[Spot]]()
    house_of: dict[str, int] = {}
    houses = dict.fromkeys(stop.house for stop in draft.stops if stop.passing == 0)
    for house in draft.rng.permutation(list(houses)).tolist():
        spots[house] = draft.spots(label, look, draft.stretches_of(house, 0)[:1])
        _match(house, spots, house_of, set())
        if len(house_of) == PLACES:
            break
    else:
        return None
    first = [_slot(draft, label, look, draft.stretches_of(house, 0)[:1], spots[house], place)
             for place, house in house_of.items()]  # fmt: skip
    later = []
    for place, house in house_of.items():
        again = draft.stretches_of(house, 1)[:1]
        found = draft.spots(label, look, again) if again else []
        if any(spot.beside_label == place for spot in found):
            later.append(_slot(draft, label, look, again, found, place))
    return first + later


def _slot(draft: Draft, label: str, look: int, stretches: Sequence[int], spots: Sequence[Spot], place: str) -> Slot:
    there = [spot for spot in spots if spot.beside_label == place]
    return draft.slot(label, look, stretches, there, seen_with_neighbour=True, elsewhere=False)


def _match(house: int, spots: Mapping[int, Sequence[Spot]], house_of: dict[str, int], tried: set[str]) -> bool:
    """Give the house a place of its own, moving other houses to another of theirs where that helps."""
    for place in dict.fromkeys(spot.beside_label for spot in spots[house]):
        if place not in tried:
            tried.add(place)
            if place not in house_of or _match(house_of[place], spots, house_of, tried):
                house_of[place] = house
                return True
    return False
