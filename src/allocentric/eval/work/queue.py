"""The queue of a run: parcels of questions, the costliest first, given back by workers that die.

There is no barrier anywhere: a worker that is free takes the next parcel, of its own model as long as there is one,
else of the next model. Long videos go first, so that no worker is left alone with one in the end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from allocentric.core.types import Item
from allocentric.eval.frames import FrameChoice
from allocentric.eval.work.questions import Inquiry, Question

MOST_DEATHS = 3
"""A question is given up when this many workers died while they had nothing else to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """Questions that one worker answers together."""

    number: int
    """Unique in the run; the place in the order."""
    contestant: int
    """Position of the model in `Plan.contestants`."""
    pictures: str
    """What its first question is about, as `pictures_of` names it."""
    questions: tuple[Question, ...]
    """At least one, all to the same model."""
    deaths: int = 0
    """Workers that died over it."""


def pictures_of(item: Item) -> str:
    """Name of what an item's pictures are taken from: its video, else its scene."""
    return str(item.video) if item.video is not None and not item.views else item.scene_id


def cost_of(item: Item, frames: FrameChoice) -> tuple[int, int]:
    """What an item costs, to be compared: frames a model is shown, then bytes of the video they are taken from."""
    if not frames.indices:
        return 0, 0
    video = item.video if item.video is not None and not item.views else None
    return len(frames.indices), video.stat().st_size if video is not None and video.is_file() else 0


def parcels_of(questions: Sequence[Question], inquiry: Inquiry, size: int) -> Iterator[Sequence[Question]]:
    """Groups of at most `size` questions to one model.

    Questions about the same pictures stay together, so that these are read once; pictures with the costliest questions
    go first, equal ones in the order of the items.
    """
    items = inquiry.job.items
    groups: dict[str, list[Question]] = {}
    costs: dict[str, tuple[int, int]] = {}
    for question in questions:
        item = items[question.item]
        name = pictures_of(item)
        groups.setdefault(name, []).append(question)
        if name not in costs:
            costs[name] = (0, 0)
        if item.video is not None or inquiry.job.recipe.frames.count:
            costs[name] = max(costs[name], cost_of(item, inquiry.frames(question.item)))
    order = sorted(groups, key=lambda name: costs[name], reverse=True)  # stable
    ordered = [question for name in order for question in groups[name]]
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


class WorkQueue:
    """Parcels that wait. Not for several threads: the driver alone holds it."""

    def __init__(self, parcels: Iterable[tuple[int, str, Sequence[Question]]]) -> None:
        """`parcels` are (contestant, pictures, questions) in the order they are to be done."""
        self._waiting: dict[int, OrderedDict[int, Parcel]] = {}
        self._places: dict[tuple[int, str], OrderedDict[int, None]] = {}
        self._suspects: list[Parcel] = []
        self._next = 0
        for contestant, pictures, questions in parcels:
            self._add(contestant, pictures, tuple(questions))

    def __len__(self) -> int:
        """Parcels that wait."""
        return sum(map(len, self._waiting.values())) + len(self._suspects)

    def take(self, *, contestant: int | None, pictures: str | None, idle: bool) -> Parcel | None:
        """The parcel a worker should do next, or None where there is none for it now.

        Args:
            contestant: Model that it has loaded; another one only where it is idle.
            pictures: What it looked at last; the same is preferred.
            idle: Whether it has nothing else to do. Only such a worker is trusted with a parcel others died over, so
                that nothing else is blamed if it dies too.
        """
        if idle and self._suspects:
            return self._suspects.pop()
        for model in [contestant] if contestant in self._waiting else list(self._waiting) if idle else []:
            if model is not None and self._waiting[model]:
                return self._pop(model, pictures)
        return None

    def give_back(self, parcel: Parcel, unanswered: Sequence[Question]) -> list[Question]:
        """Take back what a dead worker left unanswered, question by question; return those that are given up."""
        deaths = parcel.deaths + 1
        if deaths >= MOST_DEATHS and len(parcel.questions) == 1:
            return list(unanswered)
        for question in unanswered:
            self._suspects.append(replace(parcel, number=self._number(), questions=(question,), deaths=deaths))
        return []

    def _add(self, contestant: int, pictures: str, questions: tuple[Question, ...]) -> None:
        number = self._number()
        parcel = Parcel(number=number, contestant=contestant, pictures=pictures, questions=questions)
        self._waiting.setdefault(contestant, OrderedDict())[number] = parcel
        self._places.setdefault((contestant, pictures), OrderedDict())[number] = None

    def _pop(self, contestant: int, pictures: str | None) -> Parcel:
        waiting = self._waiting[contestant]
        same = self._places.get((contestant, pictures)) if pictures is not None else None
        number = next(iter(same)) if same else next(iter(waiting))
        parcel = waiting.pop(number)
        place = self._places[contestant, parcel.pictures]
        del place[number]
        if not place:
            del self._places[contestant, parcel.pictures]
        if not waiting:
            del self._waiting[contestant]
        return parcel

    def _number(self) -> int:
        self._next += 1
        return self._next - 1
