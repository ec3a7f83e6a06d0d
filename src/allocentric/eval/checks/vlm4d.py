"""Read letters from published VLM4D responses by rule and compare with the letters their authors verified.

A file is a list of `{"id", "choices", "response", "extracted_answer"}`; the verified answer is "B: text", or says that
there is no valid one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from allocentric.core.errors import DataError
from allocentric.core.parsing import read_choice
from allocentric.core.types import Choice
from allocentric.eval.benchmarks._rows import letter_of
from allocentric.eval.benchmarks._sources import Record, records_of_file
from allocentric.eval.checks import CheckResult

_GOAL = 0.98
_SHOWN = 70  # characters of a response's end in a note
_VERIFIED = re.compile(r"\s*([A-D])\s*(?::|$)")
NONE = "none"
"""Stands for a response without a valid answer."""


def check(
    responses: Annotated[Path, typer.Option(help="Folder with responses_*.json files, or one such file.")],
) -> CheckResult:
    """Read letters from published VLM4D responses by rule and compare with the letters their authors verified."""
    files = sorted(responses.glob("responses_*.json")) if responses.is_dir() else [responses]
    if not files:
        raise DataError(f"{responses} holds no responses_*.json")
    rows, notes, disagreements = [], [], []
    asked = agreed = 0
    for file in files:
        compared = [
            _compare(record, f"{file.name} record {index}") for index, record in enumerate(records_of_file(file))
        ]
        same = sum(ours == verified for ours, verified, _ in compared)
        rows.append((file.stem.removeprefix("responses_"), str(len(compared)), str(same)))
        asked, agreed = asked + len(compared), agreed + same
        for index, (ours, verified, text) in enumerate(compared):
            if ours != verified:
                end = " ".join(text[-_SHOWN:].split())
                notes.append(f"{file.name} record {index}: verified {verified}, read {ours} from ...{end}")
                disagreements.append({"file": file.name, "record": index, "verified": verified, "read": ours})
    return CheckResult(
        columns=("file", "responses", "same letter"),
        rows=rows,
        notes=notes,
        as_json={"n": asked, "agree": agreed, "disagreements": disagreements},
        ok=asked > 0 and agreed >= _GOAL * asked,
    )


def _compare(record: Record, where: str) -> tuple[str, str, str]:
    """(letter read by rule, verified letter, text)."""
    choices, text, verified = record.get("choices"), record.get("response"), record.get("extracted_answer")
    if not isinstance(choices, dict) or not isinstance(verified, str):
        raise DataError(f"{where}: expected choices by letter, response and extracted_answer, got {sorted(record)}")
    text = text if isinstance(text, str) else ""
    answer = read_choice(text, [str(choice) for choice in choices.values()])
    found = _VERIFIED.match(verified)
    return letter_of(answer.index) if isinstance(answer, Choice) else NONE, found.group(1) if found else NONE, text
