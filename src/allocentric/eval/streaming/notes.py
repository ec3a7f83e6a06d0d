"""Notes that text memories hand over, read back: the map of `cognitive_map`, the events of `hippo`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_CELLS = re.compile(r"cells of ([\d.]+) m:")
_THING = re.compile(r"(.+) at \((-?\d+), (-?\d+)\), seen ([\d.]+)-([\d.]+) s")
_EVENT = re.compile(r"event ([\d.]+)-([\d.]+) s: (.*)")


@dataclass(frozen=True, slots=True)
class Noted:
    """A thing on the map."""

    label: str
    """Its name."""
    xy_m: tuple[float, float]
    """Middle of its cell in the world."""
    first_s: float
    """When it was first seen."""
    last_s: float
    """When it was last seen."""

    def gap_m(self, other: Noted) -> float:
        """Distance of the cells' middles."""
        return math.dist(self.xy_m, other.xy_m)


@dataclass(frozen=True, slots=True)
class Event:
    """What a stretch of the stream held."""

    first_s: float
    """Its beginning."""
    labels: frozenset[str]
    """Names of what was seen."""


def map_of(notes: Sequence[str]) -> list[Noted] | None:
    """Things in the order first seen; None where the notes are no map."""
    size = next((float(found[1]) for line in notes if (found := _CELLS.match(line))), None)
    if size is None:
        return None
    things = [found for line in notes if (found := _THING.fullmatch(line))]
    noted = [
        Noted(one[1], ((int(one[2]) + 0.5) * size, (int(one[3]) + 0.5) * size), float(one[4]), float(one[5]))
        for one in things
    ]
    return sorted(noted, key=lambda thing: thing.first_s)


def events_of(notes: Sequence[str]) -> list[Event]:
    """Events in order of time; empty where the notes hold none."""
    found = [match for line in notes if (match := _EVENT.fullmatch(line))]
    return sorted(
        (Event(float(one[1]), frozenset(one[3].split(", "))) for one in found), key=lambda event: event.first_s
    )


def first_beside(things: Sequence[Noted], label: str, places: Sequence[str], most_m: float) -> dict[str, float]:
    """Place in question -> when a thing was first noted nearest to it, up to `most_m` away."""
    first: dict[str, float] = {}
    for thing in (one for one in things if one.label == label):
        marks = [(thing.gap_m(mark), mark.label) for mark in things if mark.label in places]
        gap, place = min(marks, default=(math.inf, ""))
        if gap <= most_m:
            first.setdefault(place, thing.first_s)
    return first


def first_of(things: Sequence[Noted], labels: Sequence[str], within_m: float) -> list[Noted] | None:
    """The first thing with the first label, and the nearest to it of each other label; None where one is missing."""
    anchor = next((one for one in things if one.label == labels[0]), None)
    if anchor is None:
        return None
    found = [anchor]
    for label in labels[1:]:
        near = min(
            (one for one in things if one.label == label and one.gap_m(anchor) <= within_m),
            key=anchor.gap_m,
            default=None,
        )
        if near is None:
            return None
        found.append(near)
    return found


def possible_changes(things: Sequence[Noted], label: str, walk_s: float) -> set[str]:
    """What may have happened to a thing: two cells are a move; one, noted for longer than a walk takes, is none."""
    found = [one for one in things if one.label == label]
    if len(found) > 1:
        return {"moved"}
    if not found:
        return {"moved", "appeared", "vanished", "stayed"}
    return {"stayed"} if found[0].last_s - found[0].first_s > walk_s else {"appeared", "vanished"}
