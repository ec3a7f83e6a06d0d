"""The driver of a run: hands out parcels, keeps answers, gives back what the dead held. It alone writes the folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from allocentric.core.errors import UserError
from allocentric.core.types import Response
from allocentric.eval.results import failed
from allocentric.eval.work.asker import DEPTH, Order, Task
from allocentric.eval.work.crew import Broken, Crew, Died, Done, Event, Joined, Refused
from allocentric.eval.work.questions import Answered, Inquiry, Question
from allocentric.eval.work.queue import MOST_DEATHS, Parcel, WorkQueue, parcels_of, pictures_of

_MOST_DEATHS_IN_A_ROW = 12
"""Workers that may die without any answer in between."""

Keep: TypeAlias = Callable[[Question, Answered], None]
"""Takes every answer: on its way to the disk when this returns."""


@dataclass(kw_only=True)
class _Holding:
    """What one worker has."""

    parcels: dict[int, Parcel] = field(default_factory=dict)
    """By number."""
    contestant: int | None = None
    """Model of the last parcel."""
    pictures: str | None = None
    """Pictures of the last parcel."""


class Driver:
    """Runs a queue empty with a crew."""

    def __init__(
        self, inquiry: Inquiry, queue: WorkQueue, crew: Crew, *, keep: Keep, say: Callable[[str], None], where: str
    ) -> None:
        """`say` takes lines for the log; `where` is the run folder, for messages."""
        self._inquiry = inquiry
        self._queue = queue
        self._crew = crew
        self._keep = keep
        self._say = say
        self._where = where
        self._held: defaultdict[int, _Holding] = defaultdict(_Holding)
        self._in_flight: defaultdict[int, int] = defaultdict(int)
        self._failures: defaultdict[int, int] = defaultdict(int)
        self._deaths = 0
        self._stop: Exception | None = None

    def run(self, after: Callable[[], None]) -> None:
        """Ask everything; `after` is called whenever something happened.

        Raises:
            UserError: a model keeps failing, can't be loaded, or its workers keep dying. What was under way by then
                has been waited for and kept, as it may have been paid for.
        """
        while True:
            if self._stop is None:
                self._hand_out()
            if not any(self._in_flight.values()) and (self._stop is not None or not len(self._queue)):
                break
            for event in self._crew.wait():
                self._take(event)
            after()
        if self._stop is not None:
            raise self._stop

    # ---------------------------------------------------------------------------------------------------- handing out

    def _hand_out(self) -> None:
        """Parcels to all that have room, one each in turn, so that nobody waits while another hoards."""
        hungry = list(self._crew.members())
        while hungry:
            hungry = [worker for worker in hungry if self._hand_one(worker)]

    def _hand_one(self, worker: int) -> bool:
        held = self._held[worker]
        if not self._has_room(held):
            return False
        idle = not held.parcels
        parcel = self._queue.take(contestant=held.contestant, pictures=held.pictures, idle=idle)
        if parcel is None:
            return False
        held.parcels[parcel.number] = parcel
        held.contestant, held.pictures = parcel.contestant, parcel.pictures
        self._in_flight[parcel.contestant] += 1
        self._crew.send(worker, self._order(parcel))
        return True

    def _has_room(self, held: _Holding) -> bool:
        if not held.parcels:
            return True
        assert held.contestant is not None
        if any(parcel.deaths for parcel in held.parcels.values()):
            return False
        most = self._inquiry.job.contestants[held.contestant].in_flight
        if most > 1:  # a server: its limit holds for all workers together
            return self._in_flight[held.contestant] < most
        return len(held.parcels) < DEPTH

    def _order(self, parcel: Parcel) -> Order:
        job = self._inquiry.job
        tasks = tuple(
            Task(
                item_id=job.items[question.item].id,
                row=self._inquiry.rows[question.item],
                indices=self._inquiry.frames(question.item).indices,
                earlier=question.earlier,
            )
            for question in parcel.questions
        )
        in_flight = job.contestants[parcel.contestant].in_flight
        return Order(number=parcel.number, contestant=parcel.contestant, tasks=tasks, in_flight=in_flight)

    # --------------------------------------------------------------------------------------------------------- taking

    def _take(self, event: Event) -> None:
        match event:
            case Joined():
                return
            case Done(worker=worker, number=number, answers=answers):
                parcel = self._put_down(worker, number)
                self._deaths = 0
                for question, answered in zip(parcel.questions, answers, strict=True):
                    self._kept(question, answered)
            case Died(worker=worker, reason=reason):
                self._bury(worker, reason)
            case Refused(worker=worker, number=number, message=message):
                self._fail(worker, number, UserError(message))
            case Broken(worker=worker, number=number, trace=trace):
                self._fail(worker, number, RuntimeError(f"a worker failed:\n{trace}"))

    def _put_down(self, worker: int, number: int) -> Parcel:
        parcel = self._held[worker].parcels.pop(number)
        self._in_flight[parcel.contestant] -= 1
        return parcel

    def _kept(self, question: Question, answered: Answered) -> None:
        self._keep(question, answered)
        one = self._inquiry.job.contestants[question.contestant]
        if not failed(answered.response):
            self._failures[question.contestant] = 0
            return
        self._failures[question.contestant] += 1
        reason = _reason(answered.response)
        self._say(f"{one.label}: item {answered.item_id} failed: {reason}")
        if self._failures[question.contestant] >= self._inquiry.job.recipe.stop_after_failures:
            self._end(
                UserError(
                    f"{one.label} failed {self._failures[question.contestant]} times in a row, last: {reason}; "
                    f"answers so far are kept in {self._where}: repeat the command to continue"
                )
            )

    def _bury(self, worker: int, reason: str) -> None:
        held = self._held.pop(worker, _Holding())
        self._say(f"worker {worker} {reason} with {len(held.parcels)} parcels, which others get")
        for parcel in held.parcels.values():
            self._in_flight[parcel.contestant] -= 1
            for question in self._queue.give_back(parcel, parcel.questions):
                self._kept(question, self._given_up(question, reason))
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS_IN_A_ROW:
            self._end(
                UserError(
                    f"{self._deaths} workers in a row died before they answered anything, the last one {reason}; "
                    f"answers so far are kept in {self._where}: see log.txt there, and repeat the command to continue"
                )
            )

    def _given_up(self, question: Question, reason: str) -> Answered:
        words = f"{MOST_DEATHS} workers died over it, the last one {reason}"
        response = Response(text="", finish_reason="error", error=words)
        return Answered(item_id=self._inquiry.job.items[question.item].id, response=response)

    def _fail(self, worker: int, number: int | None, error: Exception) -> None:
        """A model that can't go on: what others have under way is still waited for."""
        if number is not None:
            self._put_down(worker, number)
        self._end(error)

    def _end(self, error: Exception) -> None:
        if self._stop is None:
            self._stop = error
            for worker, number in self._crew.recall():
                self._put_down(worker, number)


def parcels_in_order(
    inquiry: Inquiry, pending: Sequence[Sequence[Question]], batch_size: int
) -> list[tuple[int, str, Sequence[Question]]]:
    """The parcels of all models, in the order they are to be done.

    Args:
        inquiry: The questions.
        pending: For each model, what is left to ask.
        batch_size: Questions of a parcel; one where the model takes several calls at a time, so that no answer waits
            for another.
    """
    parcels: list[tuple[int, str, Sequence[Question]]] = []
    for contestant, questions in enumerate(pending):
        size = 1 if inquiry.job.contestants[contestant].in_flight > 1 else batch_size
        for group in parcels_of(questions, inquiry, size):
            parcels.append((contestant, pictures_of(inquiry.job.items[group[0].item]), group))
    return parcels


def _reason(response: Response) -> str:
    return " ".join((response.error or "no reason given").split())
