"""`allocentric make`: one recipe -> one balanced, audited, documented set of questions.

Scenes are worked on one per process; each leaves a shard. Then items are selected over all scenes, audited, and only a
set that passes is exported; the data card is written last and marks the set as complete. Killed at any point, the same
command continues with the shards that are whole and gives the same bytes, on any number of workers.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from allocentric import __version__
from allocentric.core.config import settings_hash
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.records import digest
from allocentric.core.runlog import disk_errors, lock, read_json, write_atomically
from allocentric.core.types import Item
from allocentric.datasets import audit as audits
from allocentric.datasets.card import Facts, write_card
from allocentric.datasets.export import write_chat, write_parquet, write_scene
from allocentric.datasets.pool import each
from allocentric.datasets.recipe import MakeRecipe, Plan, plan_of
from allocentric.datasets.selection import Candidate, candidate_of, select
from allocentric.datasets.shards import Shard, make_shard, read_shard

_WORK = ".work"
_SUMMARY = "set.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeSet:
    """A finished set."""

    folder: Path
    """Where it lies."""
    splits: Mapping[str, int]
    """Split -> items."""
    types: Mapping[str, Mapping[str, int]]
    """Question type -> {"items", "scenes", "labels"}: how many there are of each, over all splits."""
    audit: Mapping[str, Any] | None
    """audit.json; None where the recipe leaves it out."""
    scenes_made: int
    """Scenes worked on by this call; the others were there already."""
    seconds: float
    """Wall time of this call."""

    @property
    def total(self) -> int:
        """Items in all splits."""
        return sum(self.splits.values())

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {**asdict(self), "folder": str(self.folder), "items": self.total}


def make(recipe: MakeRecipe, folder: Path, *, workers: int = 1, progress: Progress | None = None) -> MadeSet:
    """Make the set of `recipe` in `folder`, continuing what an earlier call left there.

    Args:
        recipe: What to make.
        folder: Where; empty, new, or with an earlier call's work on the same recipe.
        workers: Processes for scenes; no effect on the result.
        progress: Told about scenes and stages.

    Raises:
        UserError: Wrong settings, too few questions, a shortcut found by the audit, a full disk. What was made before
            is kept for the next call, except by a changed recipe.
    """
    started_s = time.monotonic()
    if workers < 1:
        raise SettingsError(f"expected 1 worker or more, got {workers}")
    plan = plan_of(recipe, folder)
    finished = _finished(plan)
    if finished is not None:
        return finished
    progress = progress or SilentProgress()
    with _held(plan):
        try:
            made = _make_scenes(plan, workers, progress)
            with disk_errors(folder):
                summary = _assemble(plan, progress)
        finally:
            progress.stop()
    with disk_errors(folder):
        shutil.rmtree(folder / _WORK)
    return _made(folder, summary, scenes_made=made, seconds=time.monotonic() - started_s)


# --------------------------------------------------------------------------------------------------------- beginning


def _finished(plan: Plan) -> MadeSet | None:
    """What an earlier call has finished, or None. DataError where the folder holds another recipe's set."""
    folder = plan.job.folder
    if not (folder / "README.md").is_file():
        return None
    summary = read_json(folder, _SUMMARY)
    if summary is None or settings_hash(summary["settings"]) != settings_hash(plan.settings):
        raise DataError(f"{folder} holds a set made from other settings; choose another folder, or remove it")
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    return _made(folder, summary, scenes_made=0, seconds=0.0)


def _made(folder: Path, summary: Mapping[str, Any], *, scenes_made: int, seconds: float) -> MadeSet:
    return MadeSet(
        folder=folder,
        splits=summary["splits"],
        types=summary["types"],
        audit=read_json(folder, "audit.json"),
        scenes_made=scenes_made,
        seconds=seconds,
    )


@contextmanager
def _held(plan: Plan) -> Iterator[None]:
    """Create or reopen the folder and keep other processes out."""
    folder = plan.job.folder
    with disk_errors(folder):
        held = _claim(folder)
    try:
        with disk_errors(folder):
            _reopen(folder, plan.settings)
        yield
    finally:
        os.close(held)


def _claim(folder: Path) -> int:
    work = folder / _WORK
    if folder.is_dir() and not work.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no set in the making; choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    return lock(work / "lock")


def _reopen(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note what the work is done with, or see that it is the same as before."""
    before, now = read_json(folder / _WORK, "work.json"), {"settings": settings, "version": __version__}
    if before is None:
        write_atomically(folder / _WORK / "work.json", json.dumps(now, indent=2, sort_keys=True) + "\n")
    elif settings_hash(before) != settings_hash(now):
        what = "recipe" if before["version"] == __version__ else f"version of allocentric ({before['version']})"
        raise DataError(
            f"{folder} holds the beginning of a set with another {what}; choose another folder, or remove it"
        )
    for partial_frames in (folder / "media").glob(".*"):
        shutil.rmtree(partial_frames)


def _make_scenes(plan: Plan, workers: int, progress: Progress) -> int:
    """Make the shards that are not there yet; returns how many those were."""
    missing = [scene_id for scene_id in plan.scene_ids if read_shard(plan.job.folder, scene_id) is None]
    progress.start(len(plan.scene_ids), "scenes")
    progress.advance(len(plan.scene_ids) - len(missing))
    for scene_id in each(partial(make_shard, plan.job), missing, workers):
        progress.advance(1, scene_id)
    return len(missing)


# --------------------------------------------------------------------------------------------------------- finishing


def _assemble(plan: Plan, progress: Progress) -> Mapping[str, Any]:
    """Select, audit, and only then write what looks like a set. Returns the summary that is kept in set.json."""
    folder, recipe = plan.job.folder, plan.recipe
    progress.start(3, "selecting, auditing, writing")
    chosen = select(
        _candidates(plan), plan.quotas, max_label_ratio=recipe.max_label_ratio, allow_short=recipe.allow_short
    )
    items, scenes = _load_chosen(plan, chosen)
    if not items:
        raise DataError(f"no scene of the source gives a question of the types {', '.join(plan.quotas)}")
    progress.advance(1)
    for part in ("data", "scenes", "chat", "plots"):  # of an earlier call that was cut short
        shutil.rmtree(folder / part, ignore_errors=True)
    result = None
    if recipe.audit.enabled:
        result = audits.audit(items, recipe.audit, seed=recipe.seed)
        write_atomically(folder / "audit.json", json.dumps(result.as_json(), indent=2) + "\n")
        result.check()
    progress.advance(1)
    splits = _split(plan, items)
    summary = {
        "settings": plan.settings,
        "splits": {name: len(part) for name, part in splits.items()},
        "types": {kind: _type_counts([item for item in items if item.kind == kind]) for kind in plan.quotas},
    }
    _write(plan, splits, scenes, summary, result)
    progress.advance(1)
    return summary


def _type_counts(items: Sequence[Item]) -> dict[str, int]:
    scenes, labels = {item.scene_id for item in items}, {item.evidence.label for item in items}
    return {"items": len(items), "scenes": len(scenes), "labels": len(labels)}


def _candidates(plan: Plan) -> Iterator[Candidate]:
    for scene_id in plan.scene_ids:
        for item in _shard(plan, scene_id).items():
            yield candidate_of(item)


def _shard(plan: Plan, scene_id: str) -> Shard:
    shard = read_shard(plan.job.folder, scene_id)
    if shard is None:
        raise DataError(f"the work on scene {scene_id!r} in {plan.job.folder} was damaged; repeat the command")
    return shard


def _load_chosen(plan: Plan, chosen: Sequence[Candidate]) -> tuple[list[Item], dict[str, Shard]]:
    """Items in the order of scenes, types and ids, and the shards of their scenes."""
    wanted: dict[str, set[str]] = {}
    for candidate in chosen:
        wanted.setdefault(candidate.scene_id, set()).add(candidate.id)
    kinds = list(plan.quotas)
    items: list[Item] = []
    scenes = {}
    for scene_id in plan.scene_ids:
        if scene_id in wanted:
            scenes[scene_id] = shard = _shard(plan, scene_id)
            items += sorted(shard.items(wanted[scene_id]), key=lambda item: (kinds.index(item.kind), item.id))
    return items, scenes


def _split(plan: Plan, items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items by split; scenes are dealt by a hash of seed and scene, in the recipe's shares."""
    shares = plan.recipe.splits
    used = sorted({item.scene_id for item in items}, key=lambda scene_id: digest([plan.recipe.seed, scene_id]))
    if len(used) < len(shares):
        raise DataError(f"{len(shares)} splits need as many scenes, got {len(used)}; add scenes or name fewer splits")
    ends = np.round(np.cumsum(list(shares.values())) * len(used)).astype(int)
    ends = np.maximum(ends, np.arange(1, len(shares) + 1))  # no split is left without a scene ...
    ends = np.minimum(ends, len(used) - np.arange(len(shares))[::-1])  # ... at either end
    split_of = {s: name for name, part in zip(shares, np.split(used, ends[:-1]), strict=True) for s in part.tolist()}
    splits: dict[str, list[Item]] = {name: [] for name in shares}
    for item in items:
        splits[split_of[item.scene_id]].append(item)
    return splits


def _write(
    plan: Plan,
    splits: Mapping[str, list[Item]],
    scenes: Mapping[str, Shard],
    summary: Mapping[str, Any],
    result: audits.Audit | None,
) -> None:
    """Everything of a finished set; the data card comes last."""
    folder, recipe = plan.job.folder, plan.recipe
    for name, items in splits.items():
        write_parquet(folder / "data" / f"{name}-00000-of-00001.parquet", items, recipe.answer)
        for file in recipe.chat:
            write_chat(folder, name, items, file, recipe.answer)
    for shard in scenes.values():
        write_scene(folder, shard.scene, shard.view_records)
    for frames in sorted((folder / "media").glob("*")):
        if frames.name not in scenes:
            shutil.rmtree(frames)
    write_atomically(folder / "recipe.yaml", yaml.safe_dump(dict(plan.settings), sort_keys=False, allow_unicode=True))
    write_atomically(folder / _SUMMARY, json.dumps(summary, indent=2, sort_keys=True) + "\n")
    write_card(
        folder,
        Facts(
            name=recipe.name,
            splits=splits,
            licenses=dict(Counter(str(shard.scene["license"]) for shard in scenes.values())),
            sources=dict(Counter(str(shard.scene["source"]) for shard in scenes.values())),
            settings=plan.settings,
            audit=result,
        ),
    )
