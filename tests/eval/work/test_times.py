"""Times stand beside the answers, survive a torn line, and never touch samples.jsonl."""

from __future__ import annotations

import json

from allocentric.core.runlog import read_samples
from allocentric.eval.run import evaluate
from allocentric.eval.scored import load_run
from allocentric.eval.work.times import TimesLog, read_times


def test_what_is_put_is_read_back(tmp_path):
    with TimesLog(tmp_path) as times:
        times.put("a", 0.5)
        times.put("b", None)
        times.put("c", 1 / 3)
    assert read_times(tmp_path) == {"a": 0.5, "c": 0.333333}


def test_a_torn_line_costs_only_itself(tmp_path):
    with TimesLog(tmp_path) as times:
        times.put("a", 0.5)
    path = tmp_path / "times.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key":"b","sec')
    with TimesLog(tmp_path) as times:
        times.put("c", 2.0)
    assert read_times(tmp_path) == {"a": 0.5, "c": 2.0}
    assert read_times(tmp_path / "elsewhere") == {}


def test_a_run_read_back_has_the_times_and_its_samples_have_none(recipe, tmp_path):
    folder = evaluate(recipe(), tmp_path).folder
    assert all(record["response"]["seconds"] is None for record in read_samples(folder).values())
    run = load_run(folder)
    times = [response.seconds for response in run.answers["oracle"].values()]
    assert times == [0.0] * 36
    assert json.loads((folder / "times.jsonl").read_text().splitlines()[0])["seconds"] == 0.0
