"""Those who work on a run, whatever they are: this process, processes of this machine, or actors of a Ray cluster.

All of them do the same with the same orders, so the answers do not depend on who gave them. A crew starts workers,
carries orders to them and tells what happened; what to do about it is the driver's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from allocentric.core.errors import SettingsError
from allocentric.eval.work.asker import Order
from allocentric.eval.work.questions import Answered, Inquiry


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many work on a run, and where. Never part of its settings: the answers are the same for all of them."""

    count: int = 1
    """Workers; 1 without Ray asks in this process."""
    ray: str | None = None
    """Address of a Ray cluster ("auto" for the one `ray start` began here, "local" for one of this process's own);
    None keeps to this machine's processes."""
    gpus: float = 0.0
    """GPUs of each worker. Processes take whole ones of those that are visible, in order."""
    cpus: float = 1.0
    """Cores that Ray reserves for each worker."""
    prepare: Callable[[], None] | None = None
    """Called first in every worker, a top-level function: enters what does not lie in this package's folders."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingsError(f"expected 1 worker or more, got {self.count}")
        if self.gpus < 0 or self.cpus < 0:
            raise SettingsError(f"expected no negative number of GPUs or cores, got {self.gpus} and {self.cpus}")
        if self.ray is None and self.gpus != int(self.gpus):
            raise SettingsError(f"processes take whole GPUs, got {self.gpus}; Ray can share one (--ray local)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A worker is ready for orders."""

    worker: int
    """Its number; a replacement has another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """An order is answered."""

    worker: int
    """Who answered."""
    number: int
    """Number of the parcel."""
    answers: Sequence[Answered]
    """One for each task, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Died:
    """A worker is gone with all it held; its place is filled again."""

    worker: int
    """Who."""
    reason: str
    """Like "killed by SIGKILL"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A worker can't go on, and no other could: a user's mistake in one line."""

    worker: int
    """Who."""
    number: int | None
    """Number of the parcel; None where the worker could not even start."""
    message: str
    """What is wrong and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A worker met a defect of ours."""

    worker: int
    """Who."""
    number: int | None
    """Number of the parcel; None where the worker could not even start."""
    trace: str
    """The traceback."""


Event: TypeAlias = Joined | Done | Died | Refused | Broken


class Crew(Protocol):
    """Workers with numbers."""

    def members(self) -> Sequence[int]:
        """Numbers of those that joined and live."""
        ...

    def send(self, worker: int, order: Order) -> None:
        """Give a worker an order. It may hold several."""
        ...

    def wait(self) -> Sequence[Event]:
        """What happened since the last call; waits a while for the first event, and may return nothing."""
        ...

    def recall(self) -> Sequence[tuple[int, int]]:
        """Take back orders that can't have begun, as (worker, number)."""
        ...

    def close(self) -> None:
        """End all workers. What they still do is lost."""
        ...


def crew_of(workers: Workers, inquiry: Inquiry, most_in_flight: int) -> Crew:
    """The crew that `workers` asks for; `most_in_flight` is the most orders that one of them holds.

    Raises:
        UserError: too few GPUs, no such cluster.
        MissingPackageError: Ray is absent.
    """
    if workers.ray is not None:
        from allocentric.eval.work.cluster import RayCrew

        return RayCrew(inquiry.job.recipe, workers, most_in_flight)
    if workers.count > 1:
        from allocentric.eval.work.processes import ProcessCrew

        return ProcessCrew(inquiry.job.recipe, workers)
    from allocentric.eval.work.inline import InlineCrew

    return InlineCrew(inquiry.job, known_rows(inquiry))


def known_rows(inquiry: Inquiry) -> Mapping[str, str]:
    """Digest of every item by its id."""
    return {item.id: row for item, row in zip(inquiry.job.items, inquiry.rows, strict=True)}
