"""Independent pieces of work on several processes that never outlive the one that asked."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from allocentric.core.errors import UserError


def each(work: Callable[[str], None], names: Sequence[str], workers: int) -> Iterator[str]:
    """Do `work` for every name, yielding names as they are done; one worker works in this process, in order.

    `work` must be picklable. The first UserError stops the rest and is raised here; a worker that dies is one too.
    """
    if workers == 1 or len(names) < 2:
        for name in names:
            work(name)
            yield name
        return
    # spawn: a forked child would inherit locks and graphics contexts of this process
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(names)), mp_context=context, initializer=_follow_parent)
    try:
        futures = {pool.submit(partial(_told, work), name): name for name in names}
        for future in as_completed(futures):
            complaint = future.result()
            if complaint is not None:
                raise UserError(complaint)
            yield futures[future]
    except BrokenProcessPool:
        raise UserError(
            "a worker process died, perhaps for lack of memory; what is done is kept: "
            "repeat the command, with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _told(work: Callable[[str], None], name: str) -> str | None:
    """The message of a UserError instead of the error: some of them can't be pickled."""
    try:
        work(name)
    except UserError as error:
        return str(error)
    return None


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
