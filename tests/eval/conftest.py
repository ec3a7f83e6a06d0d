"""The fake benchmark, entered into the catalog for the tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from allocentric.core.catalog import Catalog
from allocentric.core.config import settings_from_mapping
from allocentric.eval.recipe import EvalRecipe


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module fake_benchmark, installed for one test."""
    path = Path(__file__).parent / "fake_benchmark.py"
    spec = importlib.util.spec_from_file_location("fake_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fake_benchmark", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(Catalog, "load", Catalog.load)
    monkeypatch.setattr(Catalog, "resolve", Catalog.resolve)
    module.install()
    return module


@pytest.fixture
def recipe(fake: ModuleType, tmp_path: Path):
    """Makes recipes on the fake benchmark: recipe(limit=10, benchmark={"scenes": 3})."""

    def make(benchmark=None, **values) -> EvalRecipe:
        settings = {"name": "fake", "pictures": str(tmp_path / "pictures"), **(benchmark or {})}
        base = {"name": "test", "benchmark": settings, "models": [{"name": "scripted", "policy": "oracle"}]}
        return settings_from_mapping(EvalRecipe, {"replicates": 200, **base, **values}, where="test")

    return make
