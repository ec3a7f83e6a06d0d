"""Episodes of models, people and baselines in one environment, as rows of one table.

Pure of models and environments: from the records of a run folder's samples.jsonl to success per level with intervals,
beside the chance level. `eval.rollouts` plays the episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.core.episodes import LevelSummary, summarize_levels
from allocentric.core.records import episode_to_record
from allocentric.core.runlog import read_samples
from allocentric.core.stats import Interval, clustered_wilson_interval, wilson_interval
from allocentric.core.types import Episode
from allocentric.eval.results import interval_text

_PERCENT = 100.0
_MEANS = ("spl", "soft_spl", "oracle_success", "score", "claim_in_window", "claim_in_view")
_WORTH_NOTHING = ("spl", "score", "claim_in_window", "claim_in_view")
"""What an episode that was cut off, so that the environment said nothing of it, is worth 0 in."""


def episode_record(
    *,
    policy: str,
    env: str,
    number: int,
    episode: Episode,
    seconds: float,
    baseline: bool = False,
    picture: Any = None,
) -> dict[str, Any]:
    """One line of samples.jsonl, but for its key.

    Args:
        policy: Label of the model, person or baseline.
        env: Id of the environment.
        number: Of the episode in the run, from 0.
        episode: What happened; its outcome holds `success`, `completed`, `steps`, `scene_id`, and where they are
            known `level`, `chance`, `unreadable`, `invalid`.
        seconds: Wall time.
        baseline: Shown beside the models and people.
        picture: As of `core.records.episode_to_record`.
    """
    return {
        "policy": policy,
        "env": env,
        "number": number,
        "baseline": baseline,
        "seconds": float(seconds),
        "episode": episode_to_record(episode, picture=picture),
    }


def read_table(folder: Path, *, level: float = 0.95) -> dict[str, Any]:
    """The table of a run folder's episodes, as `table_from_records`. DataError where a line is damaged."""
    return table_from_records(read_samples(folder).values(), level=level)


def table_from_records(records: Iterable[Mapping[str, Any]], *, level: float = 0.95) -> dict[str, Any]:
    """Success of every policy, over all episodes and per level, in percent.

    Failed episodes (`outcome` has `failed`: the model gave no answer) are counted and otherwise left out.

    Args:
        records: As `episode_record` makes them; of several for one policy and number the last counts.
        level: Nominal coverage of the intervals: Wilson's for independent episodes, at the effective number of
            episodes where several share a scene.

    Returns:
        {"unit", "level", "levels": names in order, "policies": [{"policy", "baseline", "failed", "overall": cell,
        "levels": {name: cell}}], "chance": {"overall" or level: percent}} with cell = {"score", "low", "high", "n",
        "completed", "steps", "steps_of_successes", "seconds", "unreadable", "invalid", "means": {metric: mean}}.
        Models and people come first, in order of appearance.
    """
    rows: dict[str, dict[int, Mapping[str, Any]]] = {}
    baselines: dict[str, bool] = {}
    for record in records:
        rows.setdefault(record["policy"], {})[record["number"]] = record
        baselines[record["policy"]] = bool(record["baseline"])
    levels = {_level(record) for played in rows.values() for record in played.values()}
    names = sorted((name for name in levels if name is not None), key=_level_rank)
    policies = [
        _policy_row(policy, list(rows[policy].values()), names, baselines[policy], level)
        for policy in sorted(rows, key=lambda policy: baselines[policy])
    ]
    every = {number: record for played in rows.values() for number, record in played.items()}
    return {
        "unit": "percent",
        "level": level,
        "levels": names,
        "policies": policies,
        "chance": _chance(list(every.values()), names),
    }


def rows_for_people(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table as texts: every policy, those left out and why, then chance."""
    metrics = [name for name in _MEANS if any(name in row["overall"]["means"] for row in table["policies"])]
    columns = ["policy", "success [95 %]".replace("95", f"{_PERCENT * table['level']:g}"), *table["levels"]]
    columns += ["episodes", "steps", "completed", *metrics, "unreadable", "invalid", "failed"]
    rows = []
    for row in table["policies"]:
        cell = row["overall"]
        name = row["policy"] + (" (baseline)" if row["baseline"] else "")
        cells = [row["levels"].get(level) for level in table["levels"]]
        levels = ["-" if part is None else interval_text(part) for part in cells]
        facts = [str(cell["n"]), _shown(cell["steps"]), _shown(cell["completed"])]
        means = [_shown(cell["means"].get(metric)) for metric in metrics]
        counts = [str(cell["unreadable"]), str(cell["invalid"]), str(row["failed"])]
        rows.append([name, interval_text(cell), *levels, *facts, *means, *counts])
    for name, reason in table.get("left_out", {}).items():
        rows.append([f"{name} (left out: {reason})", *["-"] * (len(columns) - 1)])
    chance = [_shown(table["chance"].get(name)) for name in ("overall", *table["levels"])]
    rows.append(["chance", *chance, *[""] * (len(columns) - 1 - len(chance))])
    return columns, rows


def _policy_row(
    policy: str, records: Sequence[Mapping[str, Any]], names: Sequence[str], baseline: bool, level: float
) -> dict[str, Any]:
    played = [record for record in records if "failed" not in record["episode"]["outcome"]]
    by_level = {name: [record for record in played if _level(record) == name] for name in names}
    summary = _summaries(played)
    return {
        "policy": policy,
        "baseline": baseline,
        "failed": len(records) - len(played),
        "overall": _cell(played, summary.get("overall"), level),
        "levels": {name: _cell(part, summary.get(name), level) for name, part in by_level.items() if part},
    }


def _summaries(records: Sequence[Mapping[str, Any]]) -> Mapping[Any, LevelSummary]:
    if not records:
        return {}
    outcomes = [record["episode"]["outcome"] for record in records]
    return summarize_levels(
        [bool(outcome["success"]) for outcome in outcomes],
        completed=[bool(outcome["completed"]) for outcome in outcomes],
        steps=[outcome["steps"] for outcome in outcomes],
        levels=[_level(record) for record in records],
    )


def _cell(records: Sequence[Mapping[str, Any]], summary: LevelSummary | None, level: float) -> dict[str, Any]:
    outcomes = [record["episode"]["outcome"] for record in records]
    success = np.array([bool(outcome["success"]) for outcome in outcomes], dtype=float)
    interval = _interval(success, [outcome["scene_id"] for outcome in outcomes], level)
    return {
        "score": None if summary is None else _rounded(_PERCENT * summary.success_rate),
        "low": _rounded(_PERCENT * interval.low),
        "high": _rounded(_PERCENT * interval.high),
        "n": len(outcomes),
        "completed": None if summary is None else _rounded(_PERCENT * summary.completion_rate),
        "steps": None if summary is None else _rounded(summary.mean_steps),
        "steps_of_successes": None if summary is None else _rounded(summary.mean_steps_of_successes),
        "seconds": _rounded(float(np.mean([record["seconds"] for record in records]))) if records else None,
        "unreadable": int(sum(outcome.get("unreadable", 0) for outcome in outcomes)),
        "invalid": int(sum(outcome.get("invalid", 0) for outcome in outcomes)),
        "means": _means(outcomes),
    }


def _means(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means in percent of what the environment told of every episode; of some only, they would mislead."""
    means = {}
    for name in _MEANS:
        told = [outcome[name] for outcome in outcomes if name in outcome]
        if told and (len(told) == len(outcomes) or name in _WORTH_NOTHING):
            means[name] = _rounded(_PERCENT * sum(float(value) for value in told) / len(outcomes))
    return means


def _interval(success: Any, scenes: Sequence[str], level: float) -> Interval:
    if len(set(scenes)) == len(scenes):
        return wilson_interval(float(success.sum()), len(success), level=level)
    return clustered_wilson_interval(success, scenes, level=level)


def _chance(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float | None]:
    """Mean chance of the episodes, where every one of them has one."""
    chance = {}
    for name in ("overall", *names):
        part = [record for record in records if name in ("overall", _level(record))]
        values = [record["episode"]["outcome"].get("chance") for record in part]
        if values and None not in values:
            chance[name] = _rounded(_PERCENT * float(np.mean(values)))
    return chance


def _level(record: Mapping[str, Any]) -> str | None:
    level = record["episode"]["outcome"].get("level")
    return None if level is None else str(level)


def _level_rank(name: str) -> tuple[int, str]:
    known = ("easy", "medium", "hard", "extreme")
    return (known.index(name), "") if name in known else (len(known), name)


def _rounded(value: float) -> float | None:
    """Far below anything shown, so that results.json is the same on every machine."""
    return round(float(value), 9) if isfinite(value) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
