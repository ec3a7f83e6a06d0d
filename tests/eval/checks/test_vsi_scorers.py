"""The published scorers' scores are reproduced, and a wrong one is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from allocentric.core.errors import DataError
from allocentric.eval.checks import vsc, vsi_scorers


def test_three_thousand_of_three_thousand(shared_data: Path) -> None:
    result = vsi_scorers.check(shared_data / "vsi_bench" / "scored_responses.jsonl")
    assert result.ok
    names = ("official@51e089c", "lmms-eval@75571cf", "vlmevalkit@e8e78f0")
    assert result.as_json == {name: {"n": 1000, "agree": 1000} for name in names}


def test_a_disagreement_is_shown(tmp_path: Path) -> None:
    record = {"question_type": "object_counting", "options": None, "ground_truth": "4", "response": "5"}
    scores = {"official@51e089c": 0.6, "lmms-eval@75571cf": 0.7, "vlmevalkit@e8e78f0": 0.6}
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps(record | {"scores": scores}))
    result = vsi_scorers.check(file)
    assert not result.ok
    assert result.as_json["lmms-eval@75571cf"] == {"n": 1, "agree": 0}
    assert result.notes == ["responses.jsonl line 1: lmms-eval@75571cf gave 0.7, we 0.6 for '5'"]


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    file.write_text('{"response": "5"}')
    with pytest.raises(DataError, match="line 1"):
        vsi_scorers.check(file)
    with pytest.raises(DataError, match="can't read"):
        vsi_scorers.check(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"score\.prediction"):
        vsc.check(file)
    file.write_text("")
    with pytest.raises(DataError, match="no responses"):
        vsc.check(file)


def test_official_count_vectors(shared_data: Path) -> None:
    result = vsc.check(shared_data / "vsi_super")
    assert result.ok
    assert result.as_json["vsc_10mins"] == {"n": 50, "agree": 50, "mra": 42.0}
    assert result.as_json["vsc_repeat5_10mins"] == {"n": 50, "agree": 50, "mra": 0.0}
