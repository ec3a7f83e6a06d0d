"""The page's tables name every method and say of it what its class says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn.contract import Dims

DIMS = Dims(width=2048, heads=16, kv_heads=8, head_dim=128, layers=28)


def table(repository: Path) -> dict[str, list[str]]:
    page = (repository / "docs" / "attention.md").read_text().partition("## Methods")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in rows}


def test_every_method_is_on_the_page(repository: Path) -> None:
    assert sorted(table(repository)) == METHODS.names()


@pytest.mark.parametrize("name", METHODS.names())
def test_the_page_says_what_the_method_says(repository: Path, name: str) -> None:
    module = METHODS.load(name)
    method = module.build(module.Settings(), DIMS)
    *_, runs, streams, geometry = table(repository)[name]
    assert runs.split(", ") == ["causal"] * method.causal + ["both ways"] * method.bidirectional
    assert streams == ("yes" if method.streams else "no")
    assert geometry == ("yes" if method.needs_geometry else "no")
