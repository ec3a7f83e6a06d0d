"""Backends for tests of crews, entered into the catalogs of every process that works: `install`.

What the backend "steady" does besides answering is no setting of it, so that disturbed and undisturbed runs have the
same keys: a file beside its notes says how long an answer takes and over which item the process kills itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from allocentric.core import config
from allocentric.core.catalog import MODELS, Catalog
from allocentric.core.types import Prompt, Response

FAKE_BENCHMARK = Path(__file__).resolve().parent.parent / "eval" / "fake_benchmark.py"


class Settings(config.Settings):
    """Where the backend notes what it does."""

    notes: str
    """Files beside this one (which need not exist) tell of every question and answer, and who got it."""


def behave(
    folder: Path, *, seconds: float = 0.0, deadly: str | None = None, lives: int = 0, together: int = 1
) -> None:
    """Forget all notes, and say what happens.

    An answer takes `seconds`; the item `deadly` kills, `lives` times (0 is always); nobody answers before `together`
    processes have been asked.
    """
    folder.mkdir(exist_ok=True)
    for note in folder.iterdir():
        note.unlink()
    (folder / "behaviour.json").write_text(
        json.dumps({"seconds": seconds, "deadly": deadly, "lives": lives, "together": together})
    )


class Model:
    """Says 1, 2 or 3, depending on the item."""

    name = "steady"

    def __init__(self, settings: Settings) -> None:
        self._folder = Path(settings.notes).parent
        self._behaviour = json.loads((self._folder / "behaviour.json").read_text())

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        for prompt in batch:
            self._note("asked", prompt.item_id)
            if prompt.item_id == self._behaviour["deadly"] and self._kills():
                os.kill(os.getpid(), signal.SIGKILL)
        while len({path.name.split("_")[2] for path in self._folder.glob("asked_*")}) < self._behaviour["together"]:
            time.sleep(0.05)
        time.sleep(self._behaviour["seconds"] * len(batch))
        for prompt in batch:
            self._note("answered", prompt.item_id)
        return [Response(text=f"{sum(map(ord, prompt.item_id)) % 3 + 1}", seconds=0.1) for prompt in batch]

    def _kills(self) -> bool:
        before = len(list(self._folder.glob("killed_*")))
        if self._behaviour["lives"] and before >= self._behaviour["lives"]:
            return False
        self._note("killed", str(before))
        return True

    def _note(self, what: str, item_id: str) -> None:
        (self._folder / f"{what}_{item_id}_{os.getpid()}_{time.monotonic_ns()}").touch()


def install() -> None:
    """Enter the fake benchmark and the backend "steady" into the catalogs of this process."""
    if "fake_benchmark" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fake_benchmark", FAKE_BENCHMARK)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["fake_benchmark"] = module
        spec.loader.exec_module(module)
    sys.modules["fake_benchmark"].install()
    install_model()


def install_model() -> None:
    """Enter the backend "steady" into the model catalog of this process."""
    load, resolve = Catalog.load, Catalog.resolve
    module = SimpleNamespace(Settings=Settings, build=lambda settings, *, items: Model(settings))

    def load_steady(self: Catalog, name: str) -> Any:
        return module if self is MODELS and name == "steady" else load(self, name)

    def resolve_steady(self: Catalog, name: str) -> str:
        return "steady" if self is MODELS and name == "steady" else resolve(self, name)

    Catalog.load, Catalog.resolve = load_steady, resolve_steady  # type: ignore[method-assign, assignment]
