"""What a worker does with a parcel: read its pictures, ask the model, hand over every answer.

Reading and asking overlap: while the model answers one parcel, the pictures of the next are decoded. A model that
takes several calls at a time (`Contestant.in_flight` above 1) is called from as many threads; any other is called from
one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from allocentric.core.errors import DataError, UserError
from allocentric.core.types import Answer, Item, Model, Prompt, Response
from allocentric.eval.dialogues import Exchange, question_of, system_of, turn_text
from allocentric.eval.frames import load_views, pixel_digest, shown_from_video
from allocentric.eval.recipe import Plan, item_digest
from allocentric.eval.wording import worded
from allocentric.eval.work.questions import Answered, sampling_of

DEPTH = 2
"""Parcels a worker holds where its model answers one at a time: that one, and the next with its pictures read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One question as it is sent to a worker, which has the items itself."""

    item_id: str
    """Which item."""
    row: str
    """Digest of what is asked and what is right: a worker with other data must not answer."""
    indices: tuple[int, ...]
    """The frames to show."""
    earlier: tuple[Exchange, ...] = ()
    """In a dialogue, the turns before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A parcel as it is sent to a worker."""

    number: int
    """Number of the parcel."""
    contestant: int
    """Position of the model in `Plan.contestants`."""
    tasks: tuple[Task, ...]
    """In order."""
    in_flight: int = 1
    """Orders the model takes at a time (`Contestant.in_flight`)."""


@dataclass(kw_only=True, slots=True)
class Loaded:
    """An order with its pictures read."""

    order: Order
    """As sent."""
    prompts: list[Prompt | Response]
    """What is put to the model; a response where the pictures can't be read."""
    pixels: list[str | None] = field(default_factory=list)
    """Digests of decoded frames."""


class Asker:
    """Holds one model at a time. `load` and `ask` may be called from different threads."""

    def __init__(self, job: Plan, rows: Mapping[str, str] | None = None) -> None:
        """`rows` are digests by item id that are known already (`item_digest`)."""
        self._job = job
        self._rows = dict(rows or {})
        self._sampling = sampling_of(job)
        self._decoding = threading.Lock()
        self._asking = threading.Lock()
        self._switching = threading.Lock()
        self._contestant: int | None = None
        self._model: Model | None = None

    @cached_property
    def _items(self) -> dict[str, Item]:
        return {item.id: item for item in self._job.items}

    def load(self, order: Order) -> Loaded:
        """Read the pictures of an order. One order at a time is read, which bounds memory.

        Raises:
            UserError: this worker has other data than the driver.
        """
        loaded = Loaded(order=order, prompts=[])
        with self._decoding:
            for task in order.tasks:
                prompt, pixels = self._prompt(task)
                loaded.prompts.append(prompt)
                loaded.pixels.append(pixels)
        return loaded

    def ask(self, loaded: Loaded) -> list[Answered]:
        """The answers to an order, one for each task.

        Raises:
            UserError: the model can't be loaded, or nothing can succeed.
        """
        model, several = self._ready(loaded.order.contestant)
        prompts = [prompt for prompt in loaded.prompts if isinstance(prompt, Prompt)]
        if several:
            responses = model.generate(prompts) if prompts else []
        else:
            with self._asking:
                responses = model.generate(prompts) if prompts else []
        assert len(responses) == len(prompts), f"{model.name} answered {len(responses)} of {len(prompts)} prompts"
        given = iter(responses)
        return [
            Answered(
                item_id=task.item_id,
                response=prompt if isinstance(prompt, Response) else next(given),
                pixels=pixels,
            )
            for task, prompt, pixels in zip(loaded.order.tasks, loaded.prompts, loaded.pixels, strict=True)
        ]

    def close(self) -> None:
        """Let the model go."""
        with self._switching:
            self._let_go()

    def _ready(self, contestant: int) -> tuple[Model, bool]:
        """The model, loaded; whether it takes several calls at a time."""
        with self._switching:
            if self._contestant != contestant or self._model is None:
                self._let_go()
                self._model = self._job.contestants[contestant].build(self._items, self._write)
                self._contestant = contestant
            return self._model, self._job.contestants[contestant].in_flight > 1

    def _write(self, item: Item, answer: Answer) -> str:
        return worded(self._job.benchmark, item, answer, self._job.profile)

    def _let_go(self) -> None:
        """Free the model before the next is loaded: two may not fit."""
        model: Any = self._model
        self._model = self._contestant = None
        if hasattr(model, "close"):
            model.close()

    def _prompt(self, task: Task) -> tuple[Prompt | Response, str | None]:
        item = self._items.get(task.item_id)
        if item is None or self._row(item) != task.row:
            raise UserError(
                f"a worker reads other data than the driver: item {task.item_id} differs; "
                "every machine needs the same files under the same paths"
            )
        try:
            views = load_views(item, task.indices, self._job.recipe.frames)
            pixels = pixel_digest(views) if views and shown_from_video(item) else None
        except DataError as error:
            return Response(text="", finish_reason="error", error=f"item {item.id}: {error}"), None
        text, system = self._job.benchmark.prompt_text(item, self._job.profile), self._job.recipe.system
        if self._job.dialogue:
            text = turn_text(question_of(self._job.benchmark, item, self._job.profile), task.earlier)
            system = system or system_of(item)
        prompt = Prompt(
            item_id=item.id,
            text=text,
            views=views,
            as_video=self._job.recipe.frames.as_video,
            system=system,
            sampling=self._sampling,
        )
        return prompt, pixels

    def _row(self, item: Item) -> str:
        row = self._rows.get(item.id)
        if row is None:
            row = self._rows[item.id] = item_digest(item)
        return row
