"""Recorded outcomes of the original agree, and a changed record does not."""

from __future__ import annotations

import json
from pathlib import Path

from allocentric.eval.checks.hstar import check


def test_recorded_outcomes_agree(shared_data: Path) -> None:
    result = check(shared_data / "hstar" / "episodes.jsonl", shared_data / "hstar" / "views.jsonl")
    assert result.ok
    assert result.as_json["episodes"] == {"n": 1000, "agree": 1000}
    assert result.as_json["views"]["n"] == 30
    assert result.as_json["views"]["max_px"] <= 0.02


def test_a_changed_record_disagrees(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "hstar" / "episodes.jsonl").read_text().splitlines()[:20]
    record = json.loads(lines[3])
    record["steps"][0]["reward"] += 0.5
    lines[3] = json.dumps(record)
    (tmp_path / "episodes.jsonl").write_text("\n".join(lines))
    (tmp_path / "views.jsonl").write_text((shared_data / "hstar" / "views.jsonl").read_text().splitlines()[0])
    result = check(tmp_path / "episodes.jsonl", tmp_path / "views.jsonl")
    assert not result.ok
    assert result.as_json["episodes"] == {"n": 20, "agree": 19}
    assert "episode 4: step 0 reward" in result.notes[0]
