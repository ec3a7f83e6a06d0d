"""A crew of Ray actors, on one machine or on a cluster that `ray start` began.

Ray places the workers, counts their cores and GPUs and notices when one or its machine is gone. The driver alone
writes the run folder; the other machines only need the same package and the same files under the same paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from allocentric.core.errors import MissingPackageError, UserError
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.work.asker import Asker, Order
from allocentric.eval.work.crew import Broken, Died, Done, Event, Joined, Refused, Workers
from allocentric.eval.work.worker import asker_of, outcome_of

_WAIT_S = 0.5
_LOCAL = "local"


class RayWorker:
    """The actor. Ray calls it from several threads, so that pictures are read while the model answers."""

    def __init__(self, recipe: EvalRecipe, folder: str, prepare: Callable[[], None] | None) -> None:
        self._made = outcome_of(lambda: asker_of(recipe, folder, prepare))
        self._asking = ThreadPoolExecutor(1)  # the one thread a model and its graphics contexts belong to

    def join(self) -> tuple[str, Any]:
        """("joined", None), or why it can't work."""
        what, content = self._made
        return ("joined", None) if what == "done" else (what, content)

    def answer(self, order: Order) -> tuple[str, Any]:
        """What `outcome_of` says of an order."""
        asker: Asker = self._made[1]
        if order.in_flight > 1:
            return outcome_of(lambda: asker.ask(asker.load(order)))
        return outcome_of(lambda: self._asking.submit(asker.ask, asker.load(order)).result())


class RayCrew:
    """Implements `Crew`."""

    def __init__(self, recipe: EvalRecipe, workers: Workers, most_in_flight: int) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise MissingPackageError("ray", needed_for="asking on a Ray cluster", extra="ray") from None
        self._ray: Any = ray
        self._recipe = recipe
        self._workers = workers
        self._most_in_flight = most_in_flight
        self._connected = connect(ray, str(workers.ray), workers)
        self._actors: dict[int, Any] = {}
        self._joined: set[int] = set()
        self._calls: dict[Any, tuple[int, int | None]] = {}
        self._next = 0
        for _ in range(workers.count):
            self._start()

    def members(self) -> Sequence[int]:
        """Actors that Ray has placed and that are ready."""
        return sorted(self._joined)

    def send(self, worker: int, order: Order) -> None:
        """Call the actor."""
        call = self._actors[worker].answer.remote(order)
        self._calls[call] = (worker, order.number)

    def wait(self) -> Sequence[Event]:
        """Results that have arrived."""
        if not self._calls:
            return []
        ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=_WAIT_S)
        if ready:
            ready, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        answered: list[Event] = []
        dead: dict[int, str] = {}
        for call in ready:
            worker, number = self._calls.pop(call)
            try:
                what, content = self._ray.get(call)
            except self._ray.exceptions.RayError as error:  # the actor, its process or its machine is gone
                dead[worker] = " ".join(str(error).split())[:200]
                continue
            answered.append(self._event(worker, what, number, content))
        return [*answered, *(self._buried(worker, reason) for worker, reason in dead.items())]

    def recall(self) -> Sequence[tuple[int, int]]:
        """None: whether one has begun is known to the worker alone."""
        return ()

    def close(self) -> None:
        """End the actors; the cluster stays, unless it was this process's own."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        if self._connected:
            self._ray.shutdown()

    def _start(self) -> None:
        remote = self._ray.remote(RayWorker)
        options = {
            "num_cpus": self._workers.cpus,
            "num_gpus": self._workers.gpus,
            "max_concurrency": self._most_in_flight + 1,
            "scheduling_strategy": "SPREAD",
        }
        actor = remote.options(**options).remote(self._recipe, str(Path.cwd()), self._workers.prepare)
        self._actors[self._next] = actor
        self._calls[actor.join.remote()] = (self._next, None)
        self._next += 1

    def _event(self, worker: int, what: str, number: int | None, content: Any) -> Event:
        if what == "joined":
            self._joined.add(worker)
            return Joined(worker=worker)
        if what == "refused":
            return Refused(worker=worker, number=number, message=content)
        if what == "broken":
            return Broken(worker=worker, number=number, trace=content)
        assert number is not None
        return Done(worker=worker, number=number, answers=content)

    def _buried(self, worker: int, reason: str) -> Died:
        del self._actors[worker]
        self._joined.discard(worker)
        self._calls = {call: held for call, held in self._calls.items() if held[0] != worker}
        self._start()
        return Died(worker=worker, reason=reason)


def connect(ray: Any, address: str, workers: Workers) -> bool:
    """Connect this process to a cluster; True where it was not connected before.

    Raises:
        UserError: no cluster answers at `address`.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False}
    if address == _LOCAL:
        settings["num_cpus"] = max(1, round(workers.cpus * workers.count))
    else:
        settings = {"log_to_driver": False}
    try:
        ray.init(address=address, configure_logging=False, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({' '.join(str(error).split())[:120]}); "
            "start one with `ray start --head`, or give --ray local"
        ) from None
    return True
