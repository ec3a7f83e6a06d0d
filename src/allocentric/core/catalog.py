"""Name -> file -> object, without registries.

A folder is a catalog; a file in it that defines the catalog's entry name (a function, or IDS for environments) is an
entry; its name is the file's name.
Listing reads source text and imports nothing, so `allocentric list` stays fast and shows entries whose optional
packages are absent. Dashes and underscores are the same in names.
"""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from allocentric.core.errors import UserError, suggestion

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Catalog:
    """One kind of thing that one file can add."""

    kind: str
    """Shown in messages ("scene source")."""
    folder: str
    """Below the package ("scenes/sources")."""
    entry: str
    """Top-level name that makes a file an entry ("build")."""

    def names(self) -> list[str]:
        """Entry names, sorted."""
        pattern = re.compile(rf"^(?:def {self.entry}\(|{self.entry} = )", re.MULTILINE)
        files = sorted((_ROOT / self.folder).glob("[a-z]*.py"))
        return [file.stem for file in files if pattern.search(file.read_text(encoding="utf-8"))]

    def summary(self, name: str) -> str:
        """First line of the file's docstring."""
        source = (_ROOT / self.folder / f"{name}.py").read_text(encoding="utf-8")
        if source.startswith('"""'):  # nearly every file; parsing all of them would cost a tenth of a second
            return source[3:].partition("\n")[0].removesuffix('"""').strip()
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def resolve(self, name: str) -> str:
        """The entry called `name` (dashes allowed), or a UserError with a suggestion."""
        wanted = name.replace("-", "_")
        names = self.names()
        if wanted not in names:
            raise UserError(f"unknown {self.kind} {name!r}" + suggestion(wanted, names))
        return wanted

    def load(self, name: str) -> ModuleType:
        """Import the entry's file."""
        module = f"allocentric.{self.folder.replace('/', '.')}.{self.resolve(name)}"
        return importlib.import_module(module)


SOURCES = Catalog("scene source", "scenes/sources", "build")
RENDERERS = Catalog("renderer", "scenes/render", "build")
QUESTIONS = Catalog("question type", "datasets/questions", "ask")
ENVIRONMENTS = Catalog("environment", "envs", "IDS")
MODELS = Catalog("model backend", "agents/models", "build")
BENCHMARKS = Catalog("benchmark", "eval/benchmarks", "build")
METHODS = Catalog("attention method", "sparse_attn/methods", "build")
MIXERS = Catalog("mixer", "sparse_attn/mixers", "build")
EXECUTORS = Catalog("executor", "sparse_attn/executors", "attend")
CHECKS = Catalog("check", "eval/checks", "check")
HONESTY = Catalog("honesty check", "eval/honesty", "change")
MEMORY = Catalog("memory policy", "agents/memory", "build")
ENCODERS = Catalog("encoder", "agents/encoders", "build")
KV_MEMORY = Catalog("memory in a KV cache", "agents/kv_memory", "build")
FOCUS = Catalog("focus method", "agents/focus", "build")
STAGES = Catalog("training stage", "train", "trainer")

ALL: dict[str, Catalog] = {
    "sources": SOURCES,
    "renderers": RENDERERS,
    "questions": QUESTIONS,
    "environments": ENVIRONMENTS,
    "models": MODELS,
    "benchmarks": BENCHMARKS,
    "methods": METHODS,
    "mixers": MIXERS,
    "executors": EXECUTORS,
    "checks": CHECKS,
    "honesty": HONESTY,
    "memory": MEMORY,
    "encoders": ENCODERS,
    "kv_memory": KV_MEMORY,
    "focus": FOCUS,
    "stages": STAGES,
}
