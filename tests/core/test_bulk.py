"""The search for cycles waits, and goes on afterwards whatever happened."""

from __future__ import annotations

import gc

import pytest

from allocentric.core.bulk import many_records


def test_the_search_for_cycles_waits_and_goes_on() -> None:
    assert gc.isenabled()
    with many_records(), many_records():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="x"), many_records():
        raise ValueError("x")
    assert gc.isenabled()


def test_who_had_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with many_records():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
