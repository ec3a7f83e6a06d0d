"""A crew of processes on this machine, each with a model and its share of the cores and GPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from allocentric.core.errors import UserError
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.work.asker import Order
from allocentric.eval.work.crew import Broken, Died, Done, Event, Joined, Refused, Workers
from allocentric.eval.work.worker import serve

_WAIT_S = 0.5
_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(kw_only=True)
class _Member:
    """A process and the end of its pipe that is ours."""

    process: Any
    """`multiprocessing.Process`, spawned."""
    connection: Connection[Any, Any]
    """Orders out, answers in."""
    place: int
    """Which share of the machine it has; its replacement gets the same."""
    joined: bool = False
    """Whether it takes orders."""


class ProcessCrew:
    """Implements `Crew`."""

    def __init__(self, recipe: EvalRecipe, workers: Workers) -> None:
        self._recipe = recipe
        self._workers = workers
        self._shares = shares(workers)
        # spawn: a forked child would inherit locks and graphics contexts of this process
        self._context = multiprocessing.get_context("spawn")
        self._members: dict[int, _Member] = {}
        self._next = 0
        for place in range(workers.count):
            self._start(place)

    def members(self) -> Sequence[int]:
        """Processes that are ready."""
        return [number for number, member in self._members.items() if member.joined]

    def send(self, worker: int, order: Order) -> None:
        """Send an order. A process that is gone is noticed by `wait`."""
        try:
            self._members[worker].connection.send(order)
        except (BrokenPipeError, ConnectionResetError):
            return

    def wait(self) -> Sequence[Event]:
        """Receive what the processes sent, and replace those that died."""
        by_end = {id(member.connection): number for number, member in self._members.items()}
        by_sentinel = {member.process.sentinel: number for number, member in self._members.items()}
        ends: list[Any] = [member.connection for member in self._members.values()]
        ready = wait([*ends, *by_sentinel], timeout=_WAIT_S)
        events: list[Event] = []
        for number in {by_sentinel[end] if isinstance(end, int) else by_end[id(end)] for end in ready}:
            events += self._received(number)
        return events

    def recall(self) -> Sequence[tuple[int, int]]:
        """None: whether one has begun is known to the worker alone."""
        return ()

    def close(self) -> None:
        """Close the pipes, which ends the processes, and wait for them."""
        for member in self._members.values():
            member.connection.close()
        for member in self._members.values():
            member.process.join(_WAIT_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._members.clear()

    def _start(self, place: int) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._recipe, str(Path.cwd()), self._workers.prepare)
        process = self._context.Process(target=serve, args=arguments, name=f"asking-{place}", daemon=True)
        with _environment(self._shares[place]):
            process.start()
        theirs.close()
        self._members[self._next] = _Member(process=process, connection=ours, place=place)
        self._next += 1

    def _received(self, number: int) -> list[Event]:
        """Everything a process has sent; its death comes last, so that what it answered before counts."""
        member, events = self._members[number], list[Event]()
        try:
            while member.connection.poll():
                events.append(self._event(number, *member.connection.recv()))
        except (EOFError, OSError):
            events.append(self._buried(number, member))
        return events

    def _event(self, worker: int, what: str, parcel: int | None, content: Any) -> Event:
        if what == "joined":
            self._members[worker].joined = True
            return Joined(worker=worker)
        if what == "refused":
            return Refused(worker=worker, number=parcel, message=content)
        if what == "broken":
            return Broken(worker=worker, number=parcel, trace=content)
        assert parcel is not None
        return Done(worker=worker, number=parcel, answers=content)

    def _buried(self, number: int, member: _Member) -> Died:
        member.connection.close()
        member.process.join()
        del self._members[number]
        self._start(member.place)
        return Died(worker=number, reason=exit_words(member.process.exitcode))


def exit_words(code: int | None) -> str:
    """How a process ended: "killed by SIGKILL", "ended with exit code 1"."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def shares(workers: Workers) -> list[Mapping[str, str]]:
    """Environment variables of each process: its part of the cores and, where asked for, of the GPUs.

    Raises:
        UserError: there are fewer GPUs than that.
    """
    cores = max(1, len(os.sched_getaffinity(0)) // workers.count)
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    each = int(workers.gpus)
    if each == 0:
        return [{"OMP_NUM_THREADS": threads}] * workers.count
    gpus = visible_gpus()
    if each * workers.count > len(gpus):
        raise UserError(
            f"{workers.count} workers with {each} GPUs each need {each * workers.count}, but {len(gpus)} are visible "
            f"(nvidia-smi, {_GPUS})"
        )
    return [
        {"OMP_NUM_THREADS": threads, _GPUS: ",".join(gpus[place * each : (place + 1) * each])}
        for place in range(workers.count)
    ]


def visible_gpus() -> list[str]:
    """Names by which CUDA_VISIBLE_DEVICES would list the GPUs this process may use."""
    listed = os.environ.get(_GPUS)
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip()]
    return [str(index) for index, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*")))]


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment of a child that is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
