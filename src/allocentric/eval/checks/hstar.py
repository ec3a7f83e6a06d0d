"""Compare the hstar-v1 protocol with recorded outcomes of humanoid-vstar/hstar @7a52247.

Episodes: window, reward, end, success, validity and head pose after every text must be the recorded ones. Views: every
recorded position in the panorama must be sampled by the view engine, fixed-point rounding included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from allocentric.agents.actions_text import parse_action
from allocentric.core.errors import DataError
from allocentric.core.types import Unreadable
from allocentric.envs.panorama.protocols import HstarV1, Verdict
from allocentric.envs.panorama.tasks import annotation_from_record, tasks_of
from allocentric.envs.panorama.views import ViewEngine, ViewGeometry
from allocentric.eval.checks import CheckResult

LARGEST_PX = 0.02
_LISTED = 10
_VIEW = ViewGeometry(width_px=1920, height_px=1080, horizontal_fov_rad=float(np.radians(100.0)), sampling="corner")


def check(
    episodes: Annotated[Path, typer.Option(help="Recorded episodes, one JSON record per line.")],
    views: Annotated[Path, typer.Option(help="Recorded sampling positions, one JSON record per line.")],
) -> CheckResult:
    """Compare the hstar-v1 protocol with recorded outcomes of the original."""
    outcomes = [_difference(record, number) for number, record in _records(episodes)]
    differences = [text for text in outcomes if text is not None]
    distances = [_largest_distance_px(record, f"{views}, line {number}") for number, record in _records(views)]
    largest = max(distances, default=0.0)
    count, agree = len(outcomes), len(outcomes) - len(differences)
    return CheckResult(
        columns=("what", "n", "result"),
        rows=[
            ("episodes", str(count), f"{agree} agree"),
            ("views", str(len(distances)), f"sampled within {largest:.4f} px (limit {LARGEST_PX})"),
        ],
        notes=differences[:_LISTED],
        as_json={
            "episodes": {"n": count, "agree": agree},
            "views": {"n": len(distances), "max_px": round(largest, 5)},
        },
        ok=agree == count and largest <= LARGEST_PX,
    )


def _records(path: Path) -> list[tuple[int, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    try:
        records = [(number, json.loads(line)) for number, line in enumerate(lines, start=1) if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON lines ({error.msg})") from None
    for number, record in records:
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected a record, got {type(record).__name__}")
    return records


def _difference(record: Mapping[str, Any], number: int) -> str | None:
    """One line on the first thing that differs, if anything does."""
    where = f"episode {number}"
    try:
        annotation = annotation_from_record(record["annotation"], where)
        task = tasks_of("recorded", Path(), [annotation])[0]
        protocol = HstarV1(_VIEW)
        protocol.begin(task)
        ours: dict[str, Any] = {
            "window_yaw": list(protocol.window_yaw),
            "window_pitch": list(protocol.window_pitch),
            "level": task.level,
            "is_path": annotation.kind == "path",
        }
        theirs: dict[str, Any] = {key: record[key] for key in ours}
        theirs["level"] = int(theirs["level"])
        for index, step in enumerate(record["steps"]):
            ours |= {f"step {index} {key}": value for key, value in _outcome(protocol, step["text"]).items()}
            theirs |= {f"step {index} {key}": value for key, value in step.items() if key != "text"}
    except KeyError as error:
        raise DataError(f"{where}: the field {error} is missing") from None
    wrong = [key for key in theirs if ours[key] != theirs[key]]
    return f"{where}: {wrong[0]} is {ours[wrong[0]]!r}, recorded {theirs[wrong[0]]!r}" if wrong else None


def _outcome(protocol: HstarV1, text: str) -> dict[str, Any]:
    action = parse_action(text, "hstar-v1")
    result: Verdict | str | None = "unreadable"
    if not isinstance(action, Unreadable):
        act = protocol.rotate if action.kind == "rotate" else protocol.submit
        result = act(action.yaw_rad, action.pitch_rad)
    verdict = result if isinstance(result, Verdict) else None
    yaw, pitch = protocol.heading_published
    return {
        "reward": verdict.reward if verdict else 0.0,
        "done": verdict is not None,
        "success": verdict is not None and verdict.success,
        "valid": not isinstance(result, str),
        "yaw": yaw,
        "pitch": pitch,
    }


def _largest_distance_px(record: Mapping[str, Any], where: str) -> float:
    try:
        width, _ = record["panorama_wh"]
        view = ViewGeometry(
            width_px=record["view_wh"][0],
            height_px=record["view_wh"][1],
            horizontal_fov_rad=float(np.radians(record["fov_deg"])),
            sampling="corner",
        )
        heading = np.radians([record["yaw_deg"], record["pitch_deg"]])
        samples = np.array([[s["row"], s["col"], s["x"], s["y"]] for s in record["samples"]], dtype=float)
    except KeyError as error:
        raise DataError(f"{where}: the field {error} is missing") from None
    columns, rows = ViewEngine(view).sampled_px(width, *heading)
    at = samples[:, 0].astype(int), samples[:, 1].astype(int)
    along = np.abs((columns[at] - samples[:, 2] + width / 2) % width - width / 2)
    return float(max(along.max(), np.abs(rows[at] - samples[:, 3]).max()))
