"""Recompute the published per-threshold vectors of VSI-SUPER-Count (VSC) responses.

The records are those of bethgelab/supersanity: every response with its ten published comparisons, for videos of ten
minutes and for the same videos looped, where nothing new is there to count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from allocentric.core.errors import DataError
from allocentric.core.scoring import mean_relative_accuracy_vector
from allocentric.eval.checks import CheckResult


def check(
    responses: Annotated[Path, typer.Option(help="Folder with *_responses.jsonl files, or one such file.")],
) -> CheckResult:
    """Recompute the published per-threshold vectors of VSI-SUPER-Count (VSC) responses."""
    files = sorted(responses.glob("*_responses.jsonl")) if responses.is_dir() else [responses]
    if not files:
        raise DataError(f"{responses} holds no *_responses.jsonl")
    found = {}
    for file in files:
        vectors = _vectors(file)
        same = sum(bool(np.array_equal(ours, published)) for ours, published in vectors)
        mean = round(100 * float(np.mean([ours.mean() for ours, _ in vectors])), 9)
        found[file.name.removesuffix("_responses.jsonl")] = {"n": len(vectors), "agree": same, "mra": mean}
    return CheckResult(
        columns=("file", "responses", "same vector", "mean relative accuracy"),
        rows=[(name, str(row["n"]), str(row["agree"]), f"{row['mra']:.1f}") for name, row in found.items()],
        as_json=found,
        ok=all(row["n"] == row["agree"] for row in found.values()),
    )


def _vectors(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"can't read the responses {file}: {reason}") from None
    vectors = [_vector(line, f"{file} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not vectors:
        raise DataError(f"{file} holds no responses")
    return vectors


def _vector(line: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        record = json.loads(line)["score"]
        published = np.array([word == "True" for word in record["accuracy"].strip("[]").split()])
        return mean_relative_accuracy_vector(record["prediction"], record["answer"]), published
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: expected score.prediction, .answer and .accuracy ({error})") from None
