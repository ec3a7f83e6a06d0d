"""Published benchmarks with their invented records on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from allocentric.core.catalog import BENCHMARKS
from allocentric.eval.benchmarks._published import PublishedBenchmark

Open = Callable[..., PublishedBenchmark]


def published_modules() -> list[ModuleType]:
    """Every benchmark of the catalog with a definition."""
    modules = [BENCHMARKS.load(name) for name in BENCHMARKS.names()]
    return [module for module in modules if hasattr(module, "DEFINITION")]


@pytest.fixture
def open_examples(tmp_path: Path, panorama_folder: Path) -> Open:
    """open_examples(module, record, ..., setting=value): the benchmark over records, the examples where none given."""

    def opened(module: ModuleType, *records: dict[str, Any], **settings: Any) -> PublishedBenchmark:
        definition = module.DEFINITION
        if definition.read is not None:  # no usual file: panoramas with their annotations
            return module.build(module.Settings(dataset=str(panorama_folder), **settings))
        stems: dict[str, list[dict[str, Any]]] = {}
        for record in records or definition.examples:
            content = {key: value for key, value in record.items() if key != "_file"}
            stems.setdefault(record.get("_file", "test"), []).append(content)
        folder = tmp_path / definition.name
        folder.mkdir(exist_ok=True)
        for stem, rows in stems.items():
            (folder / f"{stem}.json").write_text(json.dumps(rows))
        dataset = folder / f"{next(iter(stems))}.json" if len(stems) == 1 else folder
        return module.build(module.Settings(dataset=str(dataset), **settings))

    return opened
