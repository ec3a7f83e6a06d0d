"""Catalogs list files without importing them."""

from __future__ import annotations

import sys

import pytest

from allocentric.core import catalog
from allocentric.core.errors import UserError


@pytest.mark.parametrize("kind", sorted(catalog.ALL))
def test_every_entry_has_a_summary_and_loads(kind: str) -> None:
    entries = catalog.ALL[kind]
    assert entries.names(), f"no entries in {entries.folder}"
    for name in entries.names():
        assert entries.summary(name)
        assert hasattr(entries.load(name), entries.entry)


def test_dashes_and_suggestions() -> None:
    assert catalog.BENCHMARKS.resolve("vsi-bench") == "vsi_bench"
    with pytest.raises(UserError, match="did you mean 'object_counting'"):
        catalog.QUESTIONS.resolve("object-countin")


def test_listing_imports_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "allocentric.agents.models.hf", raising=False)
    assert "hf" in catalog.MODELS.names()
    assert "allocentric.agents.models.hf" not in sys.modules
