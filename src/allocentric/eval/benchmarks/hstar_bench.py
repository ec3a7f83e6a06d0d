"""H*Bench: find objects (HOS, 2,400 episodes) and paths (HPS, 1,600) in panoramas; here submissions are scored.

Thinking in 360, arXiv 2511.20351, humanoid-vstar/hstar. Episodes are played in the environment
(allocentric/ObjectSearch-v0, PathSearch-v0; `allocentric rollout`), which shares loader and rules; a file of their
last texts is scored here under both sets of rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.agents.actions_text import parse_action
from allocentric.core.errors import DataError
from allocentric.core.types import (
    Answer,
    Direction,
    Item,
    Sampling,
    Unreadable,
    View,
)
from allocentric.envs.panorama.protocols import HstarV1, StrictV1, Verdict
from allocentric.envs.panorama.tasks import Task, annotation_from_record, read_tasks, record_from_annotation
from allocentric.envs.panorama.views import ViewGeometry
from allocentric.eval.aggregation import Nested
from allocentric.eval.benchmarks import _published as published
from allocentric.eval.benchmarks._profiles import (
    Profile,
    Read,
)
from allocentric.eval.benchmarks._published import Definition, PublishedBenchmark, PublishedScore
from allocentric.eval.benchmarks._rows import Row
from allocentric.eval.benchmarks._sources import FILE, ROW, Record, Source

GROUPS = {"object": "HOS", "path": "HPS"}
LEVEL_NAMES = ("easy", "medium", "hard", "extreme", "unrated")
CELLS = {f"{group}-{level}": group for group in GROUPS.values() for level in LEVEL_NAMES}
_VIEW = ViewGeometry(width_px=1920, height_px=1080, horizontal_fov_rad=math.radians(100.0))


class Settings(published.Settings):
    """What is asked."""

    dataset: str = ""
    """Folder with one folder per panorama (a picture and annotation.json), as published."""


def _read_tasks(dataset: str) -> tuple[list[Record], str]:
    if not dataset:
        raise DataError("name the folder of H*Bench as `dataset` (huggingface.co/datasets/humanoid-vstar/hstar_bench)")
    tasks = read_tasks(Path(dataset))
    records = [
        {
            FILE: task.scene_id,
            ROW: row,
            "annotation": record_from_annotation(task.annotation),
            "start": task.start,
            "panorama": str(task.panorama),
        }
        for row, task in enumerate(tasks)
    ]
    return records, dataset


def _task(annotation: Mapping[str, Any], start: int) -> Task:
    return Task(scene_id="-", panorama=Path(), annotation=annotation_from_record(annotation, "item"), start=start)


def _item(row: Row) -> Item:
    start, panorama = int(row.number("start")), Path(row.text("panorama"))
    task = _task(row.value("annotation"), start)
    level = "unrated" if task.level is None else LEVEL_NAMES[task.level]
    protocol = HstarV1(_VIEW)
    protocol.begin(task)
    target = protocol.target()
    return row.item(
        id=f"{row.file}/{row.index}",
        kind=f"{GROUPS[task.annotation.kind]}-{level}",
        prompt=task.annotation.task,
        gold=Direction(target.yaw_rad, target.pitch_rad),
        scene=row.file,
        views=(View(image=panorama),),
        annotation=dict(row.value("annotation")),
        start=start,
    )


def _prompt(item: Item) -> str:
    return (
        f"{item.prompt}\nThe picture is a panorama of 360 degrees; its centre column is yaw 0, yaw grows to the right "
        "and pitch upwards. Answer with <answer>submit(yaw,pitch)</answer> in whole degrees."
    )


def _reader(version: str) -> Read:
    def read(text: str, _: Item) -> Direction | Unreadable:
        action = parse_action(text, version)
        if isinstance(action, Unreadable):
            return action
        if action.kind != "submit":
            return Unreadable("no submission")
        return Direction(action.yaw_rad, action.pitch_rad)

    return read


def _official_worth(answer: Answer, item: Item) -> float:
    """The claimed angles alone count; windows over the seam ignore the pitch. Every item starts afresh."""
    return float(_judged(HstarV1(_VIEW), answer, item).success)


def _strict_worth(answer: Answer, item: Item) -> float:
    """Windows always test the pitch. Where the head looks is not known here."""
    return float(_judged(StrictV1(_VIEW), answer, item).claim_in_window)


def _judged(protocol: HstarV1 | StrictV1, answer: Answer, item: Item) -> Verdict:
    assert isinstance(answer, Direction)
    protocol.begin(_task(item.extra["annotation"], item.extra["start"]))
    verdict = protocol.submit(answer.yaw_rad, answer.pitch_rad)
    return (
        verdict
        if isinstance(verdict, Verdict)
        else Verdict(success=False, reward=0.0, claim_in_window=False, claim_in_view=False)
    )


def _submission(item: Item) -> str:
    assert isinstance(item.gold, Direction)
    angles = (round(math.degrees(angle)) for angle in (item.gold.yaw_rad, item.gold.pitch_rad))
    return "<think>seen</think><answer>submit({},{})</answer>".format(*angles)


def chance(item: Item) -> float:
    """Success of a uniformly random direction of the sphere, rounded to whole degrees, under hstar-v1."""
    protocol = HstarV1(_VIEW)
    protocol.begin(_task(item.extra["annotation"], item.extra["start"]))
    return _share(protocol.window_yaw, protocol.window_pitch)


@lru_cache(maxsize=4096)
def _share(yaw: tuple[float, float], pitch: tuple[float, float]) -> float:
    yaws, pitches = np.arange(360), np.arange(-90, 91)
    weights = np.diff(np.sin(np.radians(np.clip(np.arange(-90, 92) - 0.5, -90, 90)))) / 2
    if yaw[0] > yaw[1]:
        return float(((yaws >= yaw[0]) | (yaws <= yaw[1])).mean())
    inside = (pitches >= pitch[0]) & (pitches <= pitch[1])
    return float(((yaws >= yaw[0]) & (yaws <= yaw[1])).mean() * weights[inside].sum())


DEFINITION = Definition(
    name="hstar_bench",
    source=Source(repository="", home="huggingface.co/datasets/humanoid-vstar/hstar_bench", files=()),
    read=_read_tasks,
    item=_item,
    cells=CELLS,
    profiles=(
        Profile(
            name="hstar-v1@7a52247",
            prompt=_prompt,
            read=_reader("hstar-v1"),
            worth=_official_worth,
            write=_submission,
            sampling=Sampling(max_new_tokens=512),
            defects=(
                "windows over the seam never test the pitch",
                "the claimed angles count, not where the head looks",
                "45.0 is no angle",
            ),
        ),
        Profile(
            name="strict-v1@allocentric",
            prompt=_prompt,
            read=_reader("lenient-v1"),
            worth=_strict_worth,
            write=_submission,
            sampling=Sampling(max_new_tokens=512),
        ),
    ),
    composite=Nested(cells=CELLS, within="micro", across="micro"),
    chance=chance,
    license="Apache-2.0",
    citation="arXiv 2511.20351",
    published=tuple(
        PublishedScore(name=name, overall=None, cells={"HOS": hos, "HPS": hps}, source="arXiv 2511.20351")
        for name, (hos, hps) in {
            "Gemini-2.5-Pro": (31.96, 33.00),
            "GPT-4o": (19.75, 23.69),
            "Gemma-3-4B": (17.13, 14.44),
            "Qwen2.5-VL-3B": (14.83, 6.44),
            "Qwen2.5-VL-7B": (11.38, 6.31),
            "HVS-3B (SFT)": (40.83, 23.00),
            "HVS-3B": (47.38, 24.94),
        }.items()
    ),
    unknown="a human score; no overall score over both kinds is published, ours pools the episodes",
)


def build(settings: Settings) -> PublishedBenchmark:
    """The benchmark; nothing is read before it is asked for."""
    return PublishedBenchmark(DEFINITION, settings)
