"""What runs inside a worker process or actor: it makes the plan itself and answers orders until it is let go.

A worker reads the benchmark from the same files as the driver, so only ids travel, never pictures or items.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from allocentric.core.errors import UserError
from allocentric.eval.recipe import EvalRecipe, plan
from allocentric.eval.work.asker import Asker, Loaded, Order
from allocentric.eval.work.inline import Threads


def asker_of(recipe: EvalRecipe, folder: str, prepare: Callable[[], None] | None) -> Asker:
    """An asker for `recipe`, whose relative paths start at `folder`.

    Raises:
        UserError: this machine lacks the folder or the data.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"a worker can't enter {folder} ({error.strerror}); "
            "every machine needs the same files under the same paths"
        ) from None
    if prepare is not None:
        prepare()
    return Asker(plan(recipe))


def outcome_of(work: Callable[[], Any]) -> tuple[str, Any]:
    """("done", result), ("refused", one line) for a UserError, or ("broken", traceback)."""
    try:
        return "done", work()
    except UserError as error:
        return "refused", str(error)
    except Exception:
        return "broken", traceback.format_exc()


def serve(
    connection: Connection[Any, Any], recipe: EvalRecipe, folder: str, prepare: Callable[[], None] | None
) -> None:
    """Body of a worker process: orders come in over `connection`, (what, number, content) go out.

    The process ends when the other end is closed, which is also what the driver's death does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    server = _Server(connection)
    what, asker = outcome_of(lambda: asker_of(recipe, folder, prepare))
    if what == "done":
        server.run(asker)
    else:
        server.send(what, None, asker)


class _Server:
    """One thread receives orders, one reads pictures, the main one asks; or several read and ask at a time."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Order, Callable[[], Loaded]]] = queue.SimpleQueue()

    def run(self, asker: Asker) -> None:
        threading.Thread(target=self._receive, args=(asker,), name="receiving", daemon=True).start()
        self.send("joined", None, None)
        while True:
            self._answer(asker, *self._jobs.get())

    def send(self, what: str, number: int | None, content: Any) -> None:
        with self._sending:
            self._connection.send((what, number, content))

    def _receive(self, asker: Asker) -> None:
        """Start reading an order's pictures when it comes, so that they are there when its turn does."""
        reader, askers = Threads(1), Threads()
        while True:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # nobody wants the answers any more; a model at work would not notice otherwise
            if order.in_flight > 1:
                load = partial(asker.load, order)
                askers.run(partial(self._answer, asker, order, load), at_most=order.in_flight)
            else:
                self._jobs.put((order, reader.future(partial(asker.load, order))))

    def _answer(self, asker: Asker, order: Order, load: Callable[[], Loaded]) -> None:
        what, content = outcome_of(lambda: asker.ask(load()))
        self.send(what, order.number, content)
