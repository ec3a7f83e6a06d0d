"""Millions of small records at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def many_records() -> Iterator[None]:
    """Python's search for unreachable cycles waits until the end.

    Every time the number of objects has grown by a quarter, that search looks at all of them. Records hold no cycles,
    so while a million are made it finds nothing and takes a third of the time. Calls may be nested.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
