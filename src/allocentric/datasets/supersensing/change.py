"""Change: what moved, appeared or vanished between the first two walks through a house?

One house of every course is walked twice. Where houses are walked again, it is walked twice more, and things have
changed once more: what they did between the first two walks is asked all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allocentric.core.types import Choice, Item
from allocentric.datasets.supersensing._draft import Draft, Shown
from allocentric.datasets.supersensing._places import Slot

OUTCOMES = ("moved", "appeared", "vanished", "stayed")
TEXTS = {
    "moved": "it was moved to another place",
    "appeared": "it appeared",
    "vanished": "it vanished",
    "stayed": "it stayed where it was",
}
_PLACES = {"moved": ("a", "b"), "appeared": ("", "a"), "vanished": ("a", ""), "stayed": ("a", "a")}
"""Where a thing is at the first and at the second walk; "" is nowhere."""


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    label: str
    slots: Sequence[Slot]
    needed: Sequence[Slot]
    """Where the thing is on the first two walks."""

    def items(self, shown: Shown) -> list[Item]:
        """One question on the first two walks."""
        house, thing_id = self.slots[0].house, self.slots[0].id
        walks = [visit for visit in shown.visits if visit.house == house][:2]
        before, after = (next((put.bottom_m for put in visit.edit.put if put.id == thing_id), None) for visit in walks)
        gold = outcome(before, after)
        if gold is None:
            return []
        mixed = [OUTCOMES[k] for k in shown.rng.permutation(len(OUTCOMES))]
        return [
            shown.item(
                task="change",
                prompt=f"One house, in which there was a {self.label} at some time, was walked through more than once."
                f" Between the first and the second walk through that house, what happened to the {self.label}?",
                choices=[TEXTS[name] for name in mixed],
                gold=Choice(mixed.index(gold)),
                label=gold,
                things=[thing_id],
                asks={"thing": self.label, "outcomes": mixed},
            )
        ]


def outcome(before: object, after: object) -> str | None:
    """What happened to a thing at the place `before` and then `after`; None is nowhere, twice is no change."""
    if before is None:
        return None if after is None else "appeared"
    if after is None:
        return "vanished"
    return "stayed" if before == after else "moved"


def draw(draft: Draft, count: int) -> list[_Change]:
    """At most `count` things in the houses that are walked twice, the outcomes as even as their number allows."""
    twice = [stop.house for stop in draft.stops if len(draft.stretches_of(stop.house, 0)) > 1]
    houses = list(dict.fromkeys(twice))
    questions: list[_Change] = []
    order = [OUTCOMES[k] for k in draft.rng.permutation(len(OUTCOMES))]
    for number in range(count):
        if not houses or not draft.names:
            break
        label = draft.names[-1]
        house = houses[number % len(houses)]
        slots = _slots(draft, house, label, order[number % len(order)])
        if slots:
            draft.take_name()
            asked = set(draft.stretches_of(house, 0))
            questions.append(_Change(label, slots, [slot for slot in slots if asked & set(slot.stretches)]))
    return questions


def _slots(draft: Draft, house: int, label: str, happened: str) -> list[Slot]:
    """The thing at up to two places; empty where the house has no room for it."""
    others = [name for name in OUTCOMES if name != happened]
    later = others[int(draft.rng.integers(len(others)))]
    where: dict[str, list[int]] = {}
    for passing, name in enumerate((happened, later)):
        for stretch, place in zip(draft.stretches_of(house, passing), _PLACES[name], strict=False):
            where.setdefault(place, []).append(stretch)
    where.pop("", None)
    look = draft.look()
    slots = [draft.slot(label, look, there, draft.spots(label, look, there)) for there in where.values()]
    return slots if all(slot.spots for slot in slots) else []
