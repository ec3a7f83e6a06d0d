"""Letters read by rule against letters that were verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from allocentric.core.errors import DataError
from allocentric.eval.checks import vlm4d


def test_at_least_98_percent_of_every_shared_set(shared_data: Path) -> None:
    result = vlm4d.check(shared_data / "vlm4d")
    assert result.ok
    assert result.as_json["n"] == 4558 == 3 * 1371 + 445
    assert result.as_json["agree"] >= 0.98 * 4558
    assert all(int(same) >= 0.98 * int(count) for _, count, same in result.rows)
    assert len(result.notes) == len(result.as_json["disagreements"]) == 4558 - result.as_json["agree"]


def test_a_disagreement_is_listed(tmp_path: Path) -> None:
    record = {"id": "1", "choices": {"A": "left", "B": 2}, "response": "I say\nB", "extracted_answer": "A: left"}
    file = tmp_path / "responses_one.json"
    file.write_text(json.dumps([record, record | {"extracted_answer": "B: 2"}, record | {"response": None}]))
    result = vlm4d.check(tmp_path)
    assert not result.ok
    assert (result.as_json["n"], result.as_json["agree"]) == (3, 1)
    assert result.notes[0] == "responses_one.json record 0: verified A, read B from ...I say B"
    assert result.as_json["disagreements"][1]["read"] == "none"


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no responses"):
        vlm4d.check(tmp_path)
    file = tmp_path / "responses_x.json"
    file.write_text('[{"id": 1}]')
    with pytest.raises(DataError, match="record 0: expected choices by letter"):
        vlm4d.check(file)
