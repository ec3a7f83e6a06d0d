"""Results as text: every model has a row, chance is last, absent figures are dashes."""

from __future__ import annotations

from allocentric.eval.tables import comparison, leaderboard, points


def cell(score: float | None, chance: float | None = None) -> dict[str, float | None]:
    return {"score": score, "low": None if score is None else score - 2, "high": score, "chance": chance}


def test_leaderboard_rows() -> None:
    def summary(score: float | None) -> dict[str, object]:
        return {"overall": cell(score), "cells": {"a": cell(score, 25.0), "b": cell(None)}, "unreadable": 3}

    models = [
        {"model": "m", "baseline": False, "failed": 1, "profiles": {"p": summary(40.0)}},
        {"model": "random", "baseline": True, "failed": 0, "profiles": {"p": summary(25.06)}},
    ]
    columns, rows = leaderboard({"profile": "p", "models": models, "interval": {"level": 0.9}})
    assert columns == ["model", "overall [90 %]", "a", "b", "unreadable", "failed"]
    assert rows == [
        ("m", "40.0 [38.0, 40.0]", "40.0", "-", "3", "1"),
        ("random (baseline)", "25.1 [23.1, 25.1]", "25.1", "-", "3", "0"),
        ("chance", "-", "25.0", "-", "", ""),
    ]


def test_both_denominators_and_the_scale_without_chance() -> None:
    cells = {"a": cell(40.0, 25.0)}
    others = {"all_items": cell(30.0)}
    left = {"overall": cell(40.0, 25.0), "others": others, "cells": cells, "unreadable": 0, "left_out": 9}
    whole = {**left, "others": {}, "left_out": 0}
    models = [
        {"model": name, "baseline": False, "failed": 0, "profiles": {"p": summary}}
        for name, summary in (("x", left), ("y", whole))
    ]
    columns, rows = leaderboard({"profile": "p", "models": models, "interval": {"level": 0.95}})
    assert columns[:5] == ["model", "overall [95 %]", "chance = 0", "over all items", "a"]
    assert rows[0][1:5] == ("40.0 [38.0, 40.0]", "20.0", "30.0 [28.0, 30.0]", "40.0")
    assert rows[1][2:4] == ("20.0", "40.0 [38.0, 40.0]")
    assert rows[2][:5] == ("chance", "25.0", "", "", "25.0")


def test_comparison_rows() -> None:
    row = {"first": 30.0, "second": 20.0, "difference": 10.0, "low": 1.0, "high": 19.0, "p": 0.03}
    columns, rows = comparison({"first": "x", "second": "y", "overall": row, "cells": {"a": {**row, "p_holm": 0.06}}})
    assert columns[:3] == ["cell", "x", "y"]
    assert rows[0] == ("overall", "30.0", "20.0", "10.0", "[1.0, 19.0]", "0.030", "")
    assert rows[1][-1] == "0.060"


def test_points() -> None:
    assert points(None) == "-"
    assert points(99.96) == "100.0"
