"""Named groups of benchmarks, as data, and the recipes they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from allocentric.core.config import read_recipe, settings_from_mapping
from allocentric.core.errors import SettingsError, suggestion
from allocentric.core.runlog import disk_errors, write_atomically
from allocentric.eval.recipe import EvalRecipe


@dataclass(frozen=True, kw_only=True)
class Member:
    """A benchmark of a suite."""

    benchmark: str
    """Entry of the benchmark catalog."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the recipe that the suite fixes, e.g. frames."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named group."""

    what: str
    """One line."""
    source: str
    """Who composed it."""
    members: tuple[Member, ...]
    """In order."""


def _members(*names: str, **recipe: Any) -> tuple[Member, ...]:
    return tuple(Member(benchmark=name, recipe=recipe) for name in names)


_EASI = (
    Member(benchmark="vsi_bench", recipe={"frames": {"count": 32}}),
    *_members("mmsi_bench", "mindcube_tiny", "viewspatial", "site_bench", "blink", "threedsrbench", "embspatial"),
)

SUITES: Mapping[str, Suite] = {
    "easi8": Suite(
        what="The eight benchmarks of the EASI leaderboard, VSI-Bench with 32 frames.",
        source="EvolvingLMMs-Lab/EASI@0c1a41e",
        members=_EASI,
    ),
    "spatial-all": Suite(
        what="Every benchmark with published questions that one model can be asked.",
        source="the catalog",
        members=(
            *_EASI,
            *_members(
                "revsi", "vsti_bench", "sti_bench", "ost_bench", "spatialbench", "spar_bench", "spbench", "sibench",
                "vlm4d", "tempcompass", "vsi_super_recall", "vsi_super_count", "lv_haystack", "sat_real", "mulset",
                "remindview", "topviewrs", "q_spatial", "vsr", "stare", "cv_bench", "spookybench", "hstar_bench",
            ),
        ),
    ),
    "quick": Suite(
        what="200 questions each of four benchmarks that differ, to see within minutes whether a model works.",
        source="ours",
        members=(
            Member(benchmark="vsi_bench", recipe={"limit": 200, "frames": {"count": 16}}),
            *_members("viewspatial", "mindcube_tiny", "vsr", limit=200),
        ),
    ),
}  # fmt: skip
"""By name."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "indoor video": ("vsi_bench", "revsi", "vsti_bench", "sti_bench", "ost_bench", "spatialbench", "spbench"),
    "long video": ("vsi_super_recall", "vsi_super_count", "lv_haystack"),
    "motion": ("vlm4d", "tempcompass", "spookybench", "sat_real", "sti_bench"),
    "several views": ("mmsi_bench", "mindcube_tiny", "viewspatial", "mulset", "remindview", "spar_bench"),
    "single image": ("cv_bench", "embspatial", "threedsrbench", "vsr", "q_spatial", "blink", "topviewrs"),
    "panorama": ("hstar_bench",),
}
"""By medium, for filters; a benchmark may be in none or in several."""


def suite(name: str) -> Suite:
    """A suite by name (dashes and underscores are the same). SettingsError with a suggestion for an unknown one."""
    wanted = name.replace("_", "-")
    if wanted not in SUITES:
        raise SettingsError(f"unknown suite {name!r}" + suggestion(wanted, SUITES))
    return SUITES[wanted]


def groups_of(benchmark: str) -> list[str]:
    """Suites and media that a benchmark belongs to."""
    suites = [name for name, group in SUITES.items() if any(one.benchmark == benchmark for one in group.members)]
    return [*suites, *(name for name, members in GROUPS.items() if benchmark in members)]


def recipes(name: str, base: Path, *, data: Path | None = None, overrides: Sequence[str] = ()) -> list[EvalRecipe]:
    """One recipe for every benchmark of a suite.

    Args:
        name: Of the suite.
        base: YAML with what all share (models, batch_size ...), without a benchmark. `benchmarks:` in it may give
            settings by benchmark, e.g. `{viewspatial: {dataset: ...}}`.
        data: Folder with a copy of a benchmark's records under its name; others are loaded as by default.
        overrides: Of the shared settings ("batch_size=4").

    Raises:
        SettingsError: `base` is wrong, or names a benchmark that the suite does not have.
    """
    shared = read_recipe(base, overrides)
    chosen = suite(name)
    own = shared.pop("benchmarks", None) or {}
    if "benchmark" in shared or "name" in shared:
        raise SettingsError(f"{base}: a suite's recipe has no `name` and no `benchmark`; the suite gives both")
    known = [member.benchmark for member in chosen.members]
    for benchmark in own:
        if benchmark not in known:
            raise SettingsError(f"{base}: benchmarks: {name} has no {benchmark!r}" + suggestion(benchmark, known))
    made = []
    for member in chosen.members:
        local = {"dataset": str(data / member.benchmark)} if data and (data / member.benchmark).exists() else {}
        settings = {"name": member.benchmark, **local, **own.get(member.benchmark, {})}
        values = {**shared, **member.recipe, "name": f"{name}-{member.benchmark}", "benchmark": settings}
        if "frames" in member.recipe:
            values["frames"] = {**shared.get("frames", {}), **member.recipe["frames"]}
        made.append(settings_from_mapping(EvalRecipe, values, where=f"{base} ({member.benchmark})"))
    return made


def write_recipes(made: Sequence[EvalRecipe], folder: Path) -> list[Path]:
    """Write recipes as YAML below `folder`, one file each, named after the recipe."""
    paths = []
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for recipe in made:
            path = folder / f"{recipe.name}.yaml"
            text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False)
            write_atomically(path, text)
            paths.append(path)
    return paths
