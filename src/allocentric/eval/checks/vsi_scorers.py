"""Score texts under every VSI-Bench profile and compare with what the published scorers gave them.

A record is a VSI-Bench question with `response` and `scores`, the score of each published scorer by profile name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric.core.errors import DataError
from allocentric.core.types import Item
from allocentric.eval.benchmarks._vsi_profiles import PROFILES, score_text
from allocentric.eval.benchmarks._vsi_records import items_of_records
from allocentric.eval.checks import CheckResult

_LISTED = 10  # disagreements shown


def check(
    responses: Annotated[Path, typer.Option(help="JSON lines of questions, responses and published scores.")],
) -> CheckResult:
    """Score texts under every VSI-Bench profile and compare with what the published scorers gave them."""
    asked = dict.fromkeys(PROFILES, 0)
    agreed = dict.fromkeys(PROFILES, 0)
    notes = []
    for item, text, published in _scored(responses):
        for name, expected in published.items():
            ours = score_text(item, text, PROFILES[name]).value
            asked[name] += 1
            agreed[name] += ours == expected
            if ours != expected:
                notes.append(f"{responses.name} line {item.id}: {name} gave {expected}, we {ours} for {text[:80]!r}")
    hidden = len(notes) - _LISTED
    return CheckResult(
        columns=("profile", "responses", "same score"),
        rows=[(name, str(asked[name]), str(agreed[name])) for name in PROFILES],
        notes=notes[:_LISTED] + ([f"... and {hidden} more"] if hidden > 0 else []),
        as_json={name: {"n": asked[name], "agree": agreed[name]} for name in PROFILES},
        ok=agreed == asked and all(asked.values()),
    )


def _scored(path: Path) -> list[tuple[Item, str, Mapping[str, float]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"can't read the responses {path}: {reason}") from None
    return [_scored_line(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _scored_line(line: str, path: Path, number: int) -> tuple[Item, str, Mapping[str, float]]:
    where = f"{path} line {number}"
    try:
        record: dict[str, Any] = json.loads(line)
        text, scores = record["response"], record["scores"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: expected a JSON object with response and scores ({error})") from None
    if not isinstance(text, str) or not isinstance(scores, dict) or not set(scores) <= set(PROFILES):
        raise DataError(f"{where}: expected a text and the scores of {', '.join(PROFILES)}, got {scores!r}")
    question = {"id": number, "dataset": "-", "scene_name": "-", "question": "-", **record}
    return items_of_records([question], where=where, video_dir=None)[0], text, scores
