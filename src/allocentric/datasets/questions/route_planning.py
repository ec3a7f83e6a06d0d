"""Which turns lead a robot from object to object.

Template as VSI-Bench publishes it; its generator is not public, so the rule is ours. The robot stands on the free
floor beside the start object and faces another in the same room; it walks straight towards an object's centre until
the floor ends beside it, then turns on the spot. A turn is "left" or "right" between 45 and 135 degrees and "back"
beyond 135. Every turn keeps a margin from those bounds, both from where the robot really stands and from the object's
centre, so it does not matter on which side of a thing one imagines it; every leg is free of obstacles all the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from allocentric.core import config
from allocentric.core.geometry import bearing_rad
from allocentric.core.types import Choice, Item, Object, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import (
    Array,
    Context,
    Seen,
    balanced,
    context_of,
    settings_of,
    shuffled,
)
from allocentric.datasets.questions._walking import Walker, walker_of

KIND = "route_planning"
TEMPLATE = (
    "You are a robot beginning at the {start} facing the {face}. You want to navigate to the {destination}. You will "
    "perform the following actions (Note: for each [please fill in], choose either 'turn back,' 'turn left,' or "
    "'turn right.'): {actions}. You have reached the final destination."
)
TURNS = ("back", "left", "right")


class Settings(config.Settings):
    """Which routes are asked about."""

    margin_rad: float = math.radians(10)
    """Every turn keeps this distance from 45 and 135 degrees."""
    max_turns: int = 3
    """Most turns of a route."""
    min_leg_m: float = 0.8
    """Shortest walk between two objects."""
    reach_m: float = 0.5
    """How near to an object's box the robot has to come."""
    tries: int = 400
    """How many random routes are tried per scene."""
    max_items: int = 24
    """Most questions per scene."""
    seen: Seen = Seen()
    """When an object counts as shown."""


PROFILES: Mapping[str, Settings] = {"vsi": Settings(), "revsi": Settings(margin_rad=math.radians(35), max_items=9)}
"""The margin is that of the directions: 10 or 35 degrees, here from 45 and 135."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Start object, faced object and the objects walked to, as indices; where the robot stops; its turns."""

    start: int
    """Where it begins."""
    face: int
    """What it faces at first."""
    stops: tuple[int, ...]
    """Objects walked to, in order; the first is `face` where the first action is to walk."""
    points_m: tuple[Array, ...]
    """Where it stands: at the start, then beside each stop."""
    bearings_rad: tuple[float, ...]
    """Angle of each turn from where it stands."""
    turns: tuple[str, ...]
    """Word of each turn."""


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """Routes over shown objects that are each the only one of their category, evenly over the sequences of turns.

    Scenes without rooms have no floor to walk on: no questions.
    """
    settings = settings_of(PROFILES, profile)
    if not scene.rooms:
        return []
    context = context_of(scene, views, settings.seen)
    routes = list(_routes(context, walker_of(scene), rng, settings))
    items = []
    for chosen in balanced([route.turns for route in routes], settings.max_items, rng):
        items.append(_item(context, routes[chosen], rng, settings))
    return items


def spoken(turns: Sequence[str]) -> str:
    """A sequence of turns as an option says it."""
    return ", ".join(f"Turn {turn.capitalize()}" for turn in turns)


def _routes(context: Context, walker: Walker, rng: np.random.Generator, settings: Settings) -> Iterator[Route]:
    """Different routes found by random walks from object to object."""
    things = context.scene.objects
    reached = [index for index in context.unique.tolist() if walker.can_be_reached(things[index])]
    if len(reached) < 3:
        return
    found: set[tuple[int, ...]] = set()
    for _ in range(settings.tries):
        start = reached[int(rng.integers(len(reached)))]
        beside = [k for k in reached if k != start and things[k].room_id == things[start].room_id]
        if not beside:  # nobody faces what is behind a wall
            continue
        face = beside[int(rng.integers(len(beside)))]
        turns = int(rng.integers(1, settings.max_turns + 1))
        point = walker.stand(things[start], context.poses[face, :2, 3], settings.reach_m)
        route = None if point is None else _walk(context, walker, reached, (start, face, point), turns, rng, settings)
        if route is not None and (route.start, route.face, *route.stops) not in found:
            found.add((route.start, route.face, *route.stops))
            yield route


def _walk(
    context: Context,
    walker: Walker,
    reached: Sequence[int],
    start: tuple[int, int, Array],
    turns: int,
    rng: np.random.Generator,
    settings: Settings,
) -> Route | None:
    """A route of `turns` turns, or None where the dice led nowhere."""
    things = context.scene.objects
    origin, face, point = start
    points, stops, bearings, words = [point], [], [], []
    here, ahead = origin, face  # the object beside the robot, and the one whose centre it faces
    if rng.random() < 0.5:  # the first action is to walk to what it faces
        arrived = _leg(walker, point, things[face], settings)
        if arrived is None:
            return None
        points.append(arrived)
        stops.append(face)
        here = face
    for _ in range(turns):
        options = [index for index in reached if index not in (origin, face, *stops)]
        nearer = points[-1]
        choices = _turns(context, options, here, ahead, nearer, points[-2] if here == ahead else None, settings)
        for k in rng.permutation(len(choices)).tolist():
            index, angle, word = choices[k]
            arrived = _leg(walker, nearer, things[index], settings)
            if arrived is not None:
                break
        else:
            return None
        points.append(arrived)
        stops.append(index)
        bearings.append(angle)
        words.append(word)
        here = ahead = index
    return Route(origin, face, tuple(stops), tuple(points), tuple(bearings), tuple(words))


def _leg(walker: Walker, start: Array, thing: Object, settings: Settings) -> Array | None:
    arrived = walker.walk(start, thing, settings.reach_m)
    if arrived is None or np.linalg.norm(arrived - start) < settings.min_leg_m:
        return None
    to_centre = np.asarray(thing.world_from_object)[:2, 3] - arrived
    return arrived if np.linalg.norm(to_centre) > 0.05 else None  # on the centre there is no direction to face


def _turns(
    context: Context,
    options: Sequence[int],
    here: int,
    ahead: int,
    point: Array,
    previous: Array | None,
    settings: Settings,
) -> list[tuple[int, float, str]]:
    """(object, angle, word) of every unambiguous turn towards one of `options`.

    The robot stands at `point` beside object `here`, facing the centre of `ahead`; where it has walked up to `here`,
    `previous` is where it came from.
    """
    if not options:
        return []
    centres = context.poses[:, :2, 3]
    targets = centres[list(options)]
    from_point = bearing_rad(point, centres[ahead] - point, targets)
    heading = centres[ahead] - centres[here] if previous is None else centres[here] - previous
    from_centre = bearing_rad(centres[here], heading, targets)
    found = []
    for index, angle, other in zip(options, from_point.tolist(), from_centre.tolist(), strict=True):
        word = _word(angle, settings.margin_rad)
        if word is not None and word == _word(other, settings.margin_rad):
            found.append((index, angle, word))
    return found


def _word(angle_rad: float, margin_rad: float) -> str | None:
    size_rad, ahead_rad, back_rad = abs(angle_rad), math.pi / 4, 3 * math.pi / 4
    if size_rad >= back_rad + margin_rad:
        return "back"
    if ahead_rad + margin_rad <= size_rad <= back_rad - margin_rad:
        return "left" if angle_rad > 0 else "right"
    return None


def _item(context: Context, route: Route, rng: np.random.Generator, settings: Settings) -> Item:
    labels = [context.label(index) for index in route.stops]
    gold = spoken(route.turns)
    others = [spoken(turns) for turns in product(TURNS, repeat=len(route.turns)) if turns != route.turns]
    wrong = [others[k] for k in rng.permutation(len(others))[:3].tolist()]
    options, place = shuffled([gold, *wrong], gold, rng)
    objects = list(dict.fromkeys([route.start, route.face, *route.stops]))
    return context.item(
        kind=KIND,
        prompt=TEMPLATE.format(
            start=context.label(route.start),
            face=context.label(route.face),
            destination=labels[-1],
            actions=_actions(labels, walks_first=route.stops[0] == route.face),
        ),
        choices=options,
        gold=Choice(place),
        derivation=_derivation(context, route, gold, settings),
        objects=objects,
        label=gold,
    )


def _actions(labels: Sequence[str], *, walks_first: bool) -> str:
    parts = [part for label in labels for part in ("[please fill in]", f"Go forward until the {label}")]
    return " ".join(f"{number}. {part}" for number, part in enumerate(parts[walks_first:], 1))


def _derivation(context: Context, route: Route, gold: str, settings: Settings) -> Derivation:
    """Stand, then per leg: turn (the bearing from where the robot stands) and walk."""
    steps = Derivation()
    found = {
        index: context.find(steps, context.label(index))
        for index in dict.fromkeys([route.start, route.face, *route.stops])
    }
    centres = {
        index: steps.add("centre", context.poses[index, :2, 3].tolist(), objects=reference)
        for index, reference in found.items()
        if index != route.start
    }
    beside = {"objects": found[route.start], "towards": centres[route.face], "reach_m": settings.reach_m}
    at = steps.add("stand", route.points_m[0].tolist(), **beside)
    ahead, words = route.face, []
    angles, turns = iter(route.bearings_rad), iter(route.turns)
    for place, index in enumerate(route.stops):
        if index != route.face:
            angle = steps.add("bearing", next(angles), at=at, facing=centres[ahead], to=centres[index])
            words.append(steps.add("sector", next(turns), bearing_rad=angle, level="turn"))
        point = route.points_m[place + 1].tolist()
        at = steps.add("walk", point, start=at, objects=found[index], reach_m=settings.reach_m)
        ahead = index
    steps.add("turns", gold, words=words)
    return steps
