"""What is evaluated on what: the recipe, and the benchmark and models it stands for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from allocentric.core import config
from allocentric.core.bulk import many_records
from allocentric.core.catalog import BENCHMARKS, HONESTY, MODELS, Catalog
from allocentric.core.config import Settings, resolved, settings_from_mapping
from allocentric.core.errors import SettingsError, UserError, suggestion
from allocentric.core.records import answer_bytes, digest, json_bytes_of_texts
from allocentric.core.types import Answer, Item, Model
from allocentric.eval.frames import FramesPolicy
from allocentric.eval.protocol import Benchmark
from allocentric.eval.video import sampled_digest

BASELINES = ("random", "constant", "frequency")
"""Scripted policies that stand beside every model."""


class EvalRecipe(config.Settings):
    """One evaluation: a benchmark, the models to ask, and how."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """First part of the run folder's name."""
    benchmark: dict[str, Any]
    """`name` of a benchmark, and its settings."""
    models: tuple[dict[str, Any], ...] = ()
    """For each: `name` of a model backend, its settings, and optionally the `label` it has on the leaderboard."""
    profile: str | None = None
    """Profile that words the prompts and heads the table; None takes the benchmark's first. All are scored."""
    frames: FramesPolicy = FramesPolicy()
    """Which pictures are shown."""
    batch_size: int = Field(default=8, ge=1)
    """Prompts handed to a model at a time."""
    limit: int | None = Field(default=None, ge=1)
    """Ask only this many items, drawn with `seed`, as even over the question types as they allow."""
    seed: int = 0
    """Of the limit, the random baseline, sampling and the bootstrap."""
    baselines: bool = True
    """Add the random, constant and frequency baselines."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest answer; None takes what the profile says, which is too short for models that reason first."""
    system: str | None = None
    """System message."""
    replicates: int = Field(default=2000, ge=100)
    """Bootstrap replicates of the intervals."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Nominal coverage of the intervals."""
    check: str | None = None
    """Honesty check that changes the questions (`allocentric list honesty`); None asks them as published."""
    stop_after_failures: int = Field(default=20, ge=1)
    """Give up on a model after this many failed answers in a row; what is answered is kept."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One row of the leaderboard before it has answered."""

    label: str
    """Shown, unique in the run."""
    backend: str
    """Entry of the model catalog."""
    settings: Settings
    """The backend's own."""
    baseline: bool
    """Added beside the models."""

    def record(self) -> dict[str, Any]:
        """Backend and every setting in force, as JSON values."""
        return {"name": self.backend, **resolved(self.settings)}

    def identity(self) -> str:
        """Digest of the settings and of the files of a local model folder: other weights are another model."""
        return digest([self.record(), _folder_state(self.record().values())])

    @cached_property
    def in_flight(self) -> int:
        """Calls of `generate` the model takes at a time, from as many threads; 1 unless the backend says more."""
        count = getattr(MODELS.load(self.backend), "in_flight", None)
        return 1 if count is None else int(count(self.settings))

    def build(self, items: Mapping[str, Item], write: Callable[[Item, Answer], str] | None = None) -> Model:
        """Load the model. `write` words an answer as the run's profile asks for it; only baselines use that."""
        backend = MODELS.load(self.backend)
        wording = {"write": write} if getattr(backend, "writes_answers", False) else {}
        model: Model = backend.build(self.settings, items=items, **wording)
        return model


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe with everything resolved."""

    recipe: EvalRecipe
    """As given."""
    benchmark: Benchmark
    """Loaded."""
    items: tuple[Item, ...]
    """Those that are asked, in the benchmark's order."""
    contestants: tuple[Contestant, ...]
    """Models in the recipe's order, then baselines."""
    profile: str
    """Primary profile."""
    settings: dict[str, Any]
    """Every setting in force, as JSON values; itself a recipe. Its hash names the run folder."""

    @property
    def dialogue(self) -> bool:
        """Whether the questions about a scene are asked as one dialogue (`eval.dialogues`)."""
        return bool(getattr(self.benchmark, "dialogue", False))


@many_records()
def plan(recipe: EvalRecipe) -> Plan:
    """Load the benchmark and resolve every setting. No model is loaded.

    Raises:
        UserError: An unknown name or setting (with a suggestion), or two models with the same label.
    """
    benchmark, benchmark_record = load_benchmark(recipe.benchmark)
    profile = _profile(recipe.profile, benchmark)
    contestants = _contestants(recipe)
    if recipe.limit is not None and getattr(benchmark, "dialogue", False):
        raise SettingsError("limit draws single questions, which tears dialogues apart; leave it out, or name `ids`")
    items = tuple(limited(benchmark.items(), recipe.limit, seed=recipe.seed))
    if not items:
        raise UserError(f"the benchmark {benchmark.name} has no items with these settings")
    models = [{**c.record(), "label": c.label} for c in contestants if not c.baseline]
    settings = {**resolved(recipe), "benchmark": benchmark_record, "models": models, "profile": profile}
    job = Plan(
        recipe=recipe, benchmark=benchmark, items=items, contestants=contestants, profile=profile, settings=settings
    )
    return job if recipe.check is None else _changed(job, recipe.check)


def _changed(job: Plan, check: str) -> Plan:
    """The plan under an honesty check. Its settings stay those of the plain run, so that they can be planned again."""
    changed: Plan = HONESTY.load(check).change(job)
    return changed


def load_benchmark(values: Mapping[str, Any]) -> tuple[Benchmark, dict[str, Any]]:
    """The benchmark that `values` names and its resolved settings."""
    name, settings = _entry(BENCHMARKS, values)
    benchmark: Benchmark = BENCHMARKS.load(name).build(settings)
    return benchmark, {"name": name, **resolved(settings)}


def limited(items: Iterable[Item], limit: int | None, *, seed: int) -> list[Item]:
    """`limit` items drawn evenly over the kinds (small kinds give all they have), in the original order."""
    every = list(items)
    if limit is None or limit >= len(every):
        return every
    order = np.random.default_rng([seed, 0x11317]).permutation(len(every))
    rank_in_kind: dict[str, int] = {}
    ranked = []
    for index in order:
        kind = every[index].kind
        rank_in_kind[kind] = rank_in_kind.get(kind, -1) + 1
        ranked.append((rank_in_kind[kind], kind, int(index)))
    return [every[index] for index in sorted(index for _, _, index in sorted(ranked)[:limit])]


def item_digest(item: Item) -> str:
    """Hash of what is asked and what is right, so that an answer never outlives its question."""
    asked = json_bytes_of_texts([item.id, item.kind, item.prompt, item.choices])
    return hashlib.sha256(asked[:-1] + b"," + answer_bytes(item.gold) + b"]").hexdigest()[:16]


def items_digest(items: Iterable[Item]) -> str:
    """Hash of what is asked and what is right in all of them."""
    return rows_digest([item_digest(item) for item in items])


def rows_digest(rows: Sequence[str]) -> str:
    """Hash of all items by their own hashes."""
    return hashlib.sha256(json_bytes_of_texts(list(rows))).hexdigest()


def _profile(wanted: str | None, benchmark: Benchmark) -> str:
    if wanted is None:
        return benchmark.profiles[0]
    if wanted not in benchmark.profiles:
        raise SettingsError(f"{benchmark.name} has no profile {wanted!r}" + suggestion(wanted, benchmark.profiles))
    return wanted


def _contestants(recipe: EvalRecipe) -> tuple[Contestant, ...]:
    chosen = [contestant(values, baseline=False) for values in recipe.models]
    labels = [one.label for one in chosen]
    for label in labels:
        if labels.count(label) > 1:
            raise SettingsError(f"two models are called {label!r}; give each its own `label`")
    if recipe.baselines:
        for policy in BASELINES:
            if policy not in labels:
                values = {"name": "scripted", "policy": policy, "seed": recipe.seed}
                chosen.append(contestant(values, baseline=True))
    if not chosen:
        raise SettingsError("the recipe names no models and has baselines: false; there is nothing to ask")
    return tuple(chosen)


def contestant(values: Mapping[str, Any], *, baseline: bool) -> Contestant:
    """The model that `values` (`name` of a backend, its settings, `label`) stand for; UserError where wrong."""
    rest = {key: value for key, value in values.items() if key != "label"}
    name, settings = _entry(MODELS, rest)
    label = values.get("label") or _default_label(name, resolved(settings))
    if not isinstance(label, str):
        raise SettingsError(f"label: expected text, got {label!r}")
    return Contestant(label=label, backend=name, settings=settings, baseline=baseline)


def _entry(catalog: Catalog, values: Mapping[str, Any]) -> tuple[str, Settings]:
    if not isinstance(values.get("name"), str):
        known = suggestion("", catalog.names())
        raise SettingsError(f"a {catalog.kind} needs a `name`, got {dict(values)!r}{known}")
    name = catalog.resolve(values["name"])
    rest = {key: value for key, value in values.items() if key != "name"}
    return name, settings_from_mapping(catalog.load(name).Settings, rest, where=f"{catalog.kind} {name}")


def _default_label(backend: str, settings: Mapping[str, Any]) -> str:
    for key in ("policy", "path", "model"):
        if isinstance(settings.get(key), str):
            return str(settings[key]).rstrip("/").rpartition("/")[2]
    return backend


def _folder_state(values: Iterable[Any]) -> str:
    folders = [Path(value) for value in values if isinstance(value, str) and Path(value).is_dir()]
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    lines = [f"{file.name} {sampled_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
