"""A crew of one: this process. The model is called on the thread that waits, or from several where it takes that."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from allocentric.core.errors import UserError
from allocentric.eval.recipe import Plan
from allocentric.eval.work.asker import Asker, Loaded, Order
from allocentric.eval.work.crew import Done, Event, Joined, Refused

_ME = 0


class InlineCrew:
    """Implements `Crew`."""

    def __init__(self, job: Plan, rows: Mapping[str, str]) -> None:
        self._asker = Asker(job, rows)
        self._loads: deque[tuple[Order, Callable[[], Loaded]]] = deque()
        self._reader = Threads(1)
        self._askers: Threads | None = None
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._events.put(Joined(worker=_ME))

    def members(self) -> Sequence[int]:
        """This process."""
        return (_ME,)

    def send(self, worker: int, order: Order) -> None:
        """Take an order; its pictures are read from now on, or when a thread is free for it."""
        assert worker == _ME
        if order.in_flight > 1:
            if self._askers is None:
                self._askers = Threads()
            self._askers.run(lambda: self._answer(order), at_most=order.in_flight)
        elif any(task.indices for task in order.tasks):
            self._loads.append((order, self._reader.future(lambda: self._asker.load(order))))
        else:
            self._loads.append((order, lambda: self._asker.load(order)))

    def wait(self) -> Sequence[Event]:
        """Answer the next order, or wait for an answer of those under way."""
        if self._loads and self._events.empty():
            order, load = self._loads.popleft()
            try:
                answers = self._asker.ask(load())
            except UserError as error:
                return [Refused(worker=_ME, number=order.number, message=str(error))]
            return [Done(worker=_ME, number=order.number, answers=answers)]
        event = self._events.get()
        if isinstance(event, BaseException):
            raise event
        return [event]

    def recall(self) -> Sequence[tuple[int, int]]:
        """Orders whose turn has not come."""
        waiting = [(_ME, order.number) for order, _ in self._loads]
        self._loads.clear()
        return waiting

    def close(self) -> None:
        """Let the model go; threads that still wait for an answer end with the process."""
        self._asker.close()

    def _answer(self, order: Order) -> None:
        try:
            answers = self._asker.ask(self._asker.load(order))
            self._events.put(Done(worker=_ME, number=order.number, answers=answers))
        except UserError as error:
            self._events.put(Refused(worker=_ME, number=order.number, message=str(error)))
        except BaseException as error:  # raised again by `wait`
            self._events.put(error)


class Threads:
    """Daemon threads that run what they are given: unlike a pool's, they never keep a process from ending."""

    def __init__(self, count: int = 0) -> None:
        self._count = 0
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._grow(count)

    def run(self, job: Callable[[], None], *, at_most: int) -> None:
        """Run a job, on one of `at_most` threads."""
        if self._count < at_most:
            self._grow(self._count + 1)
        self._jobs.put(job)

    def future(self, job: Callable[[], Loaded]) -> Callable[[], Loaded]:
        """Run a job; the function returned waits for its result."""
        done = threading.Event()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(job())
            except BaseException as error:  # raised by whoever asks for the result
                outcome.append(error)
            done.set()

        def result() -> Loaded:
            done.wait()
            if isinstance(outcome[0], BaseException):
                raise outcome[0]
            loaded: Loaded = outcome[0]
            return loaded

        self._jobs.put(work)
        return result

    def _grow(self, count: int) -> None:
        for _ in range(count - self._count):
            threading.Thread(target=self._loop, name="asking", daemon=True).start()
        self._count = max(self._count, count)

    def _loop(self) -> None:
        while True:
            self._jobs.get()()
