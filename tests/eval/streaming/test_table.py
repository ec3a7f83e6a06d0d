from __future__ import annotations

import json
from pathlib import Path

import pytest

from allocentric.core.errors import DataError
from allocentric.eval.streaming import table


def row(policy: str, stream: int, worths: list[float], *, perturbation: str = "plain", golds=()) -> dict:
    answers = [{"kind": "change", "worth": worth} for worth in worths]
    return {
        "policy": policy, "stream": str(stream), "minutes": 10.0, "perturbation": perturbation, "answers": answers,
        "golds": list(golds),
    }  # fmt: skip


def gold(label: str) -> dict:
    return {"kind": "change", "label": label, "gold": {"index": 0}, "options": 4}


def test_cells_are_means_with_intervals_over_streams() -> None:
    rows = [row("a", 0, [1.0, 0.0]), row("a", 1, [1.0, 1.0]), row("b", 0, [0.25]), row("c", 0, [0.0, 1.0] * 8)]
    entries = {entry.policy: entry for entry in table.entries_of(rows)}
    assert entries["a"].mean == 0.75
    assert (entries["a"].answers, entries["a"].streams) == (4, 2)
    assert entries["a"].interval.low <= 0.75 <= entries["a"].interval.high
    assert entries["b"].interval.low != entries["b"].interval.low  # one answer tells no spread
    assert 0.1 < entries["c"].interval.low < 0.5 < entries["c"].interval.high < 0.9  # of answers, with one stream


def test_policies_that_watch_in_another_run_change_nothing_for_the_blind() -> None:
    golds = [gold("moved"), gold("stayed")]
    rows = [row("a", stream, [1.0, 0.0], golds=golds) for stream in (0, 1)]
    more = [row("b", stream, [1.0, 1.0], golds=golds) for stream in (0, 1)]
    once, twice = ({entry.policy: entry for entry in table.entries_of(found)} for found in (rows, rows + more))
    assert once["blind"] == twice["blind"]
    assert twice["blind"].answers == 4


def test_blind_never_knows_the_answers_of_its_own_stream() -> None:
    rows = [
        row("a", 0, [1.0], golds=[gold("moved")] * 3),
        row("a", 1, [1.0], golds=[gold("stayed"), gold("moved")]),
    ]
    entries = {entry.policy: entry for entry in table.entries_of(rows)}
    # Stream 0 learns from {stayed, moved}: the first by name of equally frequent ones, moved, is right three times;
    # stream 1 learns moved from stream 0 and is right once.
    assert entries["blind"].mean == pytest.approx(4 / 5)
    assert entries["chance"].mean == 0.25


def test_the_page_has_every_cell_and_what_falls(tmp_path: Path) -> None:
    rows = [
        row("a", stream, [1.0 if perturbation == "plain" else 0.5], perturbation=perturbation, golds=[gold("moved")])
        for stream in (0, 1)
        for perturbation in ("plain", "revisit")
    ]
    entries = table.entries_of(rows)
    page = table.as_markdown(entries, head=["# Title"])
    assert "| a | 100 [" in page
    assert "-50" in page
    files = table.draw(entries, tmp_path, "t")
    assert {file.name for file in files} == {"t-change.svg", "t.csv"}
    assert (tmp_path / "t-change.svg").read_text().startswith("<?xml")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 1 + len(entries)


def test_a_line_cut_short_is_left_out_and_a_broken_one_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert table.read_rows(path) == []
    path.write_text(json.dumps({"a": 1}) + '\n{"b": ')
    assert table.read_rows(path) == [{"a": 1}]
    path.write_text('{"b": \n' + json.dumps({"a": 1}) + "\n")
    with pytest.raises(DataError, match="line 1 is no JSON"):
        table.read_rows(path)
