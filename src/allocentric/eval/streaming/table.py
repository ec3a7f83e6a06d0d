"""The table of memory policies against tasks, perturbations and lengths, from the rows of watched streams."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.core.errors import DataError
from allocentric.core.scoring import MRA_RULES
from allocentric.core.stats import Interval, cluster_bootstrap
from allocentric.core.types import FloatArray
from allocentric.eval.streaming.cells import TASKS

BLIND, CHANCE = "blind", "chance"
_Place = tuple[str, str, str, float]
_TASK_OF = {kind: task for task, kinds in TASKS.items() for kind in kinds}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One cell of the table."""

    policy: str
    """Row."""
    task: str
    """Task."""
    perturbation: str
    """Perturbation."""
    minutes: float
    """Length."""
    mean: float
    """Mean worth of the answers, in [0, 1]."""
    interval: Interval
    """95 %, resampling streams; answers where there is one stream. NaN for a single answer."""
    answers: int
    """Number of answers."""
    streams: int
    """Number of streams."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows written so far; a last line cut short by an interruption is left out. DataError for other broken lines."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = []
    for number, line in enumerate(lines):
        if line:
            try:
                rows.append(json.loads(line))
            except ValueError:
                if number < len(lines) - 1:
                    raise DataError(f"{path} line {number + 1} is no JSON; remove the file to start again") from None
    return rows


def entries_of(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Every cell, with the rows `blind` and `chance`.

    Blind is the constant answer that is best on the same kind of question in other streams of that length. Chance is
    one option of each; numbers have none.
    """
    rows = list(rows)
    worths: dict[_Place, list[tuple[str, float]]] = {}
    for row in rows:
        for answer in row["answers"]:
            place = (row["policy"], _TASK_OF[answer["kind"]], row["perturbation"], row["minutes"])
            worths.setdefault(place, []).append((row["stream"], answer["worth"]))
    for kind, asked in _golds_of(rows).items():
        for perturbation, minutes, stream, gold in asked:
            column = (_TASK_OF[kind], perturbation, minutes)
            others = [other for _, length, one, other in asked if one != stream and length == minutes]
            worths.setdefault((BLIND, *column), []).append((stream, _blind_worth(gold, others)))
            if gold["options"]:
                worths.setdefault((CHANCE, *column), []).append((stream, 1.0 / gold["options"]))
    return [_entry(place, values) for place, values in worths.items()]


def _golds_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, float, str, Mapping[str, Any]]]]:
    """By kind, of every stream once; policies that watched it in another run brought its answers again."""
    streams: dict[tuple[str, float, str], Sequence[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("golds"):
            streams.setdefault((row["perturbation"], row["minutes"], row["stream"]), row["golds"])
    golds: dict[str, list[tuple[str, float, str, Mapping[str, Any]]]] = {}
    for stream, answers in streams.items():
        for gold in answers:
            golds.setdefault(gold["kind"], []).append((*stream, gold))
    return golds


def _entry(key: _Place, values: Sequence[tuple[str, float]]) -> Entry:
    policy, task, perturbation, minutes = key
    clusters, worth = [stream for stream, _ in values], np.array([one for _, one in values])

    def mean(weights: FloatArray) -> dict[str, FloatArray]:
        return {"mean": weights @ worth / np.maximum(weights.sum(axis=1), 1e-9)}

    streams = len(set(clusters))
    interval = cluster_bootstrap(mean, clusters if streams > 1 else list(map(str, range(len(values)))))["mean"]
    return Entry(
        policy=policy,
        task=task,
        perturbation=perturbation,
        minutes=minutes,
        mean=float(worth.mean()),
        interval=interval,
        answers=len(values),
        streams=streams,
    )


def _blind_worth(gold: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> float:
    """Worth of the constant answer that is best on the questions of other streams; a guess where there are none."""
    if not gold["options"]:
        numbers = [float(other["gold"]["value"]) for other in others]
        rule = MRA_RULES["vsi"]
        guess = max(sorted(set(numbers)), key=lambda one: sum(rule.of(one, number) for number in numbers), default=0.0)
        return float(rule.of(guess, float(gold["gold"]["value"])))
    if not others:
        return 1.0 / int(gold["options"])
    meanings = [_meaning(other) for other in others]
    return float(_meaning(gold) == max(sorted(set(meanings)), key=meanings.count))


def _meaning(gold: Mapping[str, Any]) -> str:
    """What an answer says; of orders, whose options differ from question to question, the letter."""
    return str(gold["gold"]["index"]) if gold["kind"] == "recall" else str(gold["label"])


# --------------------------------------------------------------------------------------------------------- presenting


def as_markdown(entries: Sequence[Entry], *, head: Sequence[str]) -> str:
    """The whole page: one table per task, and what falls under a perturbation."""
    lines = [*head, ""]
    for task in TASKS:
        lines += _task_table([entry for entry in entries if entry.task == task], task)
    lines += _falls(entries)
    return "\n".join(lines) + "\n"


def _task_table(entries: Sequence[Entry], task: str) -> list[str]:
    columns = sorted({(_PLACE[entry.perturbation], entry.perturbation, entry.minutes) for entry in entries})
    by_place = {(entry.policy, entry.perturbation, entry.minutes): entry for entry in entries}
    counts = {(p, m): by_place[BLIND, p, m] for _, p, m in columns if (BLIND, p, m) in by_place}
    lines = [f"## {task}", ""]
    lines += ["| | " + " | ".join(f"{p} {m:g} min" for _, p, m in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines.append(
        "| answers / streams | "
        + " | ".join(
            f"{counts[p, m].answers} / {counts[p, m].streams}" if (p, m) in counts else "" for _, p, m in columns
        )
        + " |"
    )
    for policy in policies_of(entries):
        cells = [_text(by_place.get((policy, p, m))) for _, p, m in columns]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _text(entry: Entry | None) -> str:
    if entry is None:
        return ""
    low, high = entry.interval.low, entry.interval.high
    return f"{100 * entry.mean:.0f}" + (f" [{100 * low:.0f}, {100 * high:.0f}]" if np.isfinite(low) else "")


def _falls(entries: Sequence[Entry]) -> list[str]:
    """Mean over the lengths both have: perturbed minus plain, in points."""
    by_place = {(entry.policy, entry.task, entry.perturbation, entry.minutes): entry.mean for entry in entries}
    perturbations = [one for one in _PLACE if one != "plain" and any(key[2] == one for key in by_place)]
    columns = [(task, one) for task in TASKS for one in perturbations]
    lines = ["## Perturbed minus plain, points, mean over the lengths", ""]
    lines += ["| | " + " | ".join(f"{task}, {one}" for task, one in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for policy in policies_of(entries):
        if policy not in (BLIND, CHANCE):
            cells = []
            for task, one in columns:
                pairs = [
                    (by_place[policy, task, one, minutes], by_place[policy, task, "plain", minutes])
                    for minutes in sorted({entry.minutes for entry in entries})
                    if (policy, task, one, minutes) in by_place and (policy, task, "plain", minutes) in by_place
                ]
                cells.append(f"{100 * np.mean([a - b for a, b in pairs]):+.0f}" if pairs else "")
            lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return [*lines, ""]


_PLACE = {"plain": 0, "revisit": 1, "repeat": 2, "shuffle": 3}


def policies_of(entries: Sequence[Entry]) -> list[str]:
    """Rows in order: policies by name, then what needs no memory."""
    names = sorted({entry.policy for entry in entries} - {BLIND, CHANCE})
    return names + [name for name in (BLIND, CHANCE) if any(entry.policy == name for entry in entries)]


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every cell as one object; ends of intervals are null where there are none."""
    return [
        {
            "policy": entry.policy,
            "task": entry.task,
            "perturbation": entry.perturbation,
            "minutes": entry.minutes,
            "mean": round(entry.mean, 4),
            "low": round(entry.interval.low, 4) if np.isfinite(entry.interval.low) else None,
            "high": round(entry.interval.high, 4) if np.isfinite(entry.interval.high) else None,
            "answers": entry.answers,
            "streams": entry.streams,
        }
        for entry in entries
    ]


def draw(entries: Sequence[Entry], folder: Path, stem: str) -> list[Path]:
    """Accuracy against length, one SVG per task with a panel per perturbation, and a CSV of what is drawn."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    written = []
    styles = _styles(policies_of(entries))
    for task in TASKS:
        mine = [entry for entry in entries if entry.task == task]
        panels = [one for one in _PLACE if any(entry.perturbation == one for entry in mine)]
        if not panels:
            continue
        size = (4 * len(panels) + 2.5, 4.5)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axis, perturbation in zip(axes[0], panels, strict=True):
            for place, policy in enumerate(policies_of(mine)):
                cells = [e for e in mine if (e.policy, e.perturbation) == (policy, perturbation)]
                _curve(axis, sorted(cells, key=lambda e: e.minutes), 1 + 0.012 * place, styles[policy])
            lengths = sorted({entry.minutes for entry in mine})
            axis.set(xscale="log", title=f"{task}, {perturbation}", xlabel="minutes", ylim=(-0.02, 1.02))
            axis.set_xticks(lengths, [f"{length:g}" for length in lengths])
            axis.minorticks_off()
        axes[0][0].set_ylabel("mean score, 95 % intervals")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", fontsize="x-small")
        path = folder / f"{stem}-{task}.svg"
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
        written.append(path)
    table = folder / f"{stem}.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = as_json(entries)
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["policy"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return [*written, table]


def _styles(policies: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each; what needs no memory is dashed and grey."""
    marks = "os^vD"
    return {
        policy: {"color": "0.4", "linestyle": "--" if policy == BLIND else ":"}
        if policy in (BLIND, CHANCE)
        else {"color": f"C{place % 10}", "marker": marks[place // 10 + 2 * (place % 2)], "linestyle": "-"}
        for place, policy in enumerate(policies)
    }


def _curve(axis: Any, cells: Sequence[Entry], shift: float, style: Mapping[str, Any]) -> None:
    """One policy over the lengths, moved a little aside so that intervals don't hide each other."""
    if not cells:
        return
    low = [cell.mean - min(cell.interval.low, cell.mean) if np.isfinite(cell.interval.low) else 0.0 for cell in cells]
    high = [
        max(cell.interval.high, cell.mean) - cell.mean if np.isfinite(cell.interval.high) else 0.0 for cell in cells
    ]
    axis.errorbar(
        [cell.minutes * shift for cell in cells], [cell.mean for cell in cells], yerr=[low, high],
        label=cells[0].policy, markersize=4, linewidth=1, elinewidth=0.5, **style,
    )  # fmt: skip
