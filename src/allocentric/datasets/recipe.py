"""What a set is made from: the recipe, and the plan it becomes once every name in it is found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from allocentric.core.catalog import QUESTIONS, RENDERERS, SOURCES, Catalog
from allocentric.core.config import Settings, resolved, settings_from_mapping, settings_hash
from allocentric.core.errors import DataError, SettingsError, suggestion
from allocentric.datasets import audit as audits
from allocentric.datasets.chat import AnswerFormat
from allocentric.datasets.chat import Settings as ChatFile
from allocentric.datasets.export import safe_name
from allocentric.datasets.questions._context import settings_of
from allocentric.datasets.shards import SceneJob
from allocentric.scenes import trajectory


class MakeRecipe(Settings):
    """What a set is made from. Everything here, and nothing else, decides its content."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """Name of the set; starts the folder's name."""
    seed: int = Field(0, ge=0)
    """Seed of walks, questions and selection."""
    source: Mapping[str, Any]
    """`name` of a scene source (`allocentric list sources`) and its settings."""
    renderer: Mapping[str, Any] | None = None
    """`name` of a renderer (`allocentric list renderers`) and its settings; null asks from boxes alone."""
    walk: trajectory.Settings = trajectory.Settings()
    """How to walk through each scene, and with which camera."""
    frames: int = Field(32, ge=1)
    """Frames shown per scene, spread evenly over its walk."""
    jpeg_quality: int = Field(90, ge=1, le=95)
    """Quality of the saved frames."""
    types: Mapping[str, int | None]
    """Question type -> number of items; null takes as many as stay balanced."""
    profile: str = "vsi"
    """Filters of every question type ("vsi", "revsi")."""
    per_scene: int | None = Field(None, ge=1)
    """Most candidates of one type in one scene; null is the profile's own bound."""
    max_label_ratio: float = Field(1.5, ge=1.0)
    """Fixed options (directions): none is right more often than this times the rarest. Other options: none is right
    more often than this times its even share of the times it is offered."""
    allow_short: bool = False
    """Take what there is where a type gives fewer items than wanted, instead of stopping."""
    answer: AnswerFormat = "short"
    """Assistant text of the `messages` column: "short" letter or number, "rationale" in <think> and <answer>, or
    "steps" alone."""
    splits: Mapping[str, float] = {"train": 1.0}
    """Split -> share of the scenes; no scene is in two splits."""
    chat: tuple[ChatFile, ...] = ()
    """Chat files to write beside the Parquet data."""
    audit: audits.Settings = audits.Settings()
    """What a blind baseline may reach."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if abs(sum(self.splits.values()) - 1.0) > 1e-6 or any(share <= 0 for share in self.splits.values()):
            raise ValueError(f"splits must be positive shares that sum to 1, got {dict(self.splits)}")
        if not all(name.isidentifier() for name in self.splits):
            raise ValueError(f"splits must have names of letters, digits and '_', got {', '.join(self.splits)}")
        if not self.types:
            raise ValueError("types must name at least one question type")
        if any(quota is not None and quota < 1 for quota in self.types.values()):
            raise ValueError("types must ask for 1 item or more each; leave a type out to have none of it")
        stems = Counter(file.stem for file in self.chat)
        if any(count > 1 for count in stems.values()):
            raise ValueError("chat files must have different names; set chat.<n>.name")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A recipe with its parts found and checked."""

    recipe: MakeRecipe
    """As given."""
    job: SceneJob
    """What every scene is made with."""
    quotas: Mapping[str, int | None]
    """The recipe's types under their full names."""
    scene_ids: tuple[str, ...]
    """In the source's order."""
    settings: Mapping[str, Any]
    """Every setting in force, as JSON values."""


def plan_of(recipe: MakeRecipe, folder: Path) -> Plan:
    """Find source, renderer, question types and profile. UserError with a suggestion for an unknown name."""
    source_name, source = _part(SOURCES, recipe.source, "source")
    renderer_name, renderer = None, None
    if recipe.renderer is not None:
        renderer_name, renderer = _part(RENDERERS, recipe.renderer, "renderer")
    quotas = {QUESTIONS.resolve(name): quota for name, quota in recipe.types.items()}
    if len(quotas) < len(recipe.types):
        raise SettingsError(f"types: the same question type is named twice in {', '.join(recipe.types)}")
    for name in quotas:
        settings_of(QUESTIONS.load(name).PROFILES, recipe.profile)
    for name in recipe.audit.limits:
        if name not in quotas:
            raise SettingsError(f"audit.limits: {name!r} is not among the recipe's types" + suggestion(name, quotas))
    built = SOURCES.load(source_name).build(source)
    job = SceneJob(
        folder=folder,
        source=built,
        renderer=renderer_name,
        renderer_settings=renderer,
        walk=recipe.walk,
        frames=recipe.frames,
        jpeg_quality=recipe.jpeg_quality,
        types=tuple(quotas),
        profile=recipe.profile,
        per_scene=recipe.per_scene,
        seed=recipe.seed,
    )
    settings = resolved(recipe) | {"source": {"name": source_name, **resolved(source)}, "types": quotas}
    if renderer is not None:
        settings |= {"renderer": {"name": renderer_name, **resolved(renderer)}}
    scene_ids = tuple(safe_name(scene_id) for scene_id in built.scene_ids())
    if not scene_ids:
        raise DataError(f"the source {source_name!r} has no scenes with these settings")
    return Plan(recipe=recipe, job=job, quotas=quotas, scene_ids=scene_ids, settings=settings)


def _part(catalog: Catalog, values: Mapping[str, Any], key: str) -> tuple[str, Settings]:
    if not isinstance(values.get("name"), str):
        raise SettingsError(f"{key}: expected a group of settings with a name, got {json.dumps(dict(values))[:80]}")
    name = catalog.resolve(values["name"])
    rest = {k: v for k, v in values.items() if k != "name"}
    settings: Settings = settings_from_mapping(catalog.load(name).Settings, rest, where=f"{key} {name!r}")
    return name, settings


def set_folder(data_dir: Path, recipe: MakeRecipe) -> Path:
    """The folder of a recipe's set: another setting is another folder."""
    return data_dir / f"{recipe.name}-{settings_hash(plan_of(recipe, data_dir).settings)}"
