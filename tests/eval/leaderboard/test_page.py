"""The leaderboard: figures that the answers give, tables that are comparable, submissions that are what they say."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from allocentric.core.catalog import BENCHMARKS
from allocentric.core.errors import UserError
from allocentric.core.types import Choice, Item
from allocentric.eval.aggregation import Nested, aggregate, chance_adjusted, f1_of_option
from allocentric.eval.honesty.rows import check_run
from allocentric.eval.leaderboard import levels as levels_module
from allocentric.eval.leaderboard.entries import entries, overall_from_cells
from allocentric.eval.leaderboard.levels import LEVEL_OF_CELL, LEVELS, levels_of
from allocentric.eval.leaderboard.page import write_leaderboard
from allocentric.eval.leaderboard.radar import Trace, radar_svg
from allocentric.eval.leaderboard.submissions import accepted
from allocentric.eval.run import evaluate

MODELS = [
    {"name": "scripted", "policy": "oracle"},
    {"name": "scripted", "policy": "random", "seed": 3, "label": "<b>guesser</b>"},
]


@pytest.fixture
def folder(recipe, tmp_path):
    return evaluate(recipe(models=MODELS), tmp_path / "runs").folder


@pytest.fixture
def levels(monkeypatch):
    """Levels for the cells of the fake benchmark."""
    known = {**LEVEL_OF_CELL, "fake": {"size": "observation", "direction": "topology"}}
    monkeypatch.setattr(levels_module, "LEVEL_OF_CELL", known)


class Tags(HTMLParser):
    """Attributes of every tag, and the text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_page_json_and_csv_say_the_same(folder, levels, tmp_path):
    page = write_leaderboard([folder], tmp_path / "out" / "board.html")
    record = json.loads(page.with_suffix(".json").read_text())
    results = json.loads((folder / "results.json").read_text())
    assert [entry["model"] for entry in record["entries"]][:2] == ["oracle", "<b>guesser</b>"]
    by_model = {model["model"]: model["profiles"][results["profile"]] for model in results["models"]}
    with page.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    for entry in record["entries"]:
        said = by_model[entry["model"]]
        assert entry["overall"] == {**said["overall"], "adjusted": entry["overall"]["adjusted"]}
        assert entry["recomputed"] == pytest.approx(said["overall"]["score"], abs=1e-6)
        assert entry["items"] == results["items"]
        direction = entry["cells"]["direction"]
        chance = direction["chance"]
        assert direction["adjusted"] == pytest.approx(100 * (direction["score"] - chance) / (100 - chance))
        assert entry["levels"]["topology"]["score"] == pytest.approx(direction["score"])
        assert entry["levels"]["topology"]["low"] == pytest.approx(direction["low"])
        (row,) = (r for r in rows if r["model"] == entry["model"] and r["name"] == "direction")
        assert float(row["score"]) == direction["score"]
        assert len(entry["samples_sha256"]) == 64
    assert sorted(path.suffix for path in (tmp_path / "out" / "board_plots").iterdir()) == [".svg"]


def test_what_models_are_called_is_data(folder, tmp_path):
    text = write_leaderboard([folder], tmp_path / "board.html").read_text()
    assert "<b>guesser" not in text
    assert "<b>guesser</b>" in Tags(text).text
    policy = next(a["content"] for _, a in Tags(text).tags if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert not re.search(r'(src|href)="https?:', text)


def test_tables_are_kept_apart_and_baselines_come_once(recipe, folder, levels, tmp_path):
    runs = tmp_path / "runs"
    blind = evaluate(recipe(frames={"count": 0}), runs).folder
    fewer = evaluate(recipe(limit=9), runs).folder
    page = write_leaderboard([folder, blind, fewer], tmp_path / "board.html")
    tags = Tags(page.read_text())
    assert tags.text.count("questions in") == 2
    entries_ = json.loads(page.with_suffix(".json").read_text())["entries"]
    assert sum(entry["model"] == "frequency" for entry in entries_) == 2
    assert sum(entry["model"] == "oracle" for entry in entries_) == 3
    sections = [attributes for tag, attributes in tags.tags if tag == "section"]
    assert {section["data-levels"] for section in sections} == {"observation|topology"}


def test_checks_are_rows_of_the_page(recipe, folder, tmp_path):
    check_run(recipe(models=MODELS), folder, checks=["blind"])
    page = write_leaderboard([folder], tmp_path / "board.html")
    entry = json.loads(page.with_suffix(".json").read_text())["entries"][0]
    assert [check["check"] for check in entry["checks"]] == ["blind"]
    assert "Is it the pictures?" in page.read_text()


# -------------------------------------------------------------------------------------------------------- submissions


def lines_of(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def write_lines(folder, lines):
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def refused(folder, match):
    with pytest.raises(UserError, match=match) as caught:
        accepted(folder)
    assert "\n" not in str(caught.value)


def test_an_untouched_run_is_accepted(folder):
    assert entries(accepted(folder))[0]["model"] == "oracle"


def test_a_missing_row_is_named(folder):
    write_lines(folder, [line for line in lines_of(folder) if (line["model"], line["item"]) != ("oracle", "2-3")])
    refused(folder, r"row 2-3 has no answer by oracle \(35 of 36 rows do\)")


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_new_tokens", 512), ("system", "Think hard."), ("frames", {"count": 4, "as_video": True})],
)
def test_edited_settings_are_named_with_the_row(folder, key, value):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, r"row 0-0 of oracle was not asked with the settings in config\.yaml")


def test_fewer_frames_than_shown_are_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["frames"]["count"] = 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, r"row 0-0 of oracle was shown 4 frames; config\.yaml allows 2")


def test_other_words_are_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["benchmark"]["shout"] = True
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, r"row 0-0 of oracle was asked in other words")


def test_an_edited_model_is_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["models"][1]["seed"] = 4
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, r"config\.yaml sets seed of '<b>guesser</b>' to 4, the run had 3")


def test_an_edited_seed_is_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "seed": 9}))
    refused(folder, r"config\.yaml sets seed of 'random' to 9, the run had 0")


def test_an_edited_answer_is_found_by_its_score(folder):
    lines = lines_of(folder)
    for line in lines:
        if line["model"] == "<b>guesser</b>":
            line["response"]["text"] = next(
                other["response"]["text"]
                for other in lines
                if other["model"] == "oracle" and other["item"] == line["item"]
            )
    write_lines(folder, lines)
    refused(folder, r"results\.json says .* for overall of <b>guesser</b>")


def test_an_edited_score_is_refused(folder):
    results = json.loads((folder / "results.json").read_text())
    results["models"][1]["profiles"]["first-letter@0"]["cells"]["size"]["score"] += 1
    (folder / "results.json").write_text(json.dumps(results))
    refused(folder, r"results\.json says .* for size of <b>guesser</b> under first-letter@0, its answers give")


def test_other_content_is_refused(folder):
    results = json.loads((folder / "results.json").read_text())
    results["benchmark"]["sha256"] = "0" * 64
    (folder / "results.json").write_text(json.dumps(results))
    refused(folder, r"results\.json gives 0{64} as the sha256 of the benchmark")


def test_a_failed_row_and_an_unfinished_run_are_refused(folder):
    lines = lines_of(folder)
    lines[0]["response"] = {"text": "", "finish_reason": "error", "error": "server said 500"}
    write_lines(folder, lines)
    refused(folder, r"row 0-0 failed for oracle \(server said 500\)")
    (folder / "results.json").unlink()
    refused(folder, r"has no results\.json; finish the run")


def test_no_runs_is_one_line(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_leaderboard([], tmp_path / "board.html")


# --------------------------------------------------------------------------------------------- overall from the cells


def item(k, kind, options=4):
    choices = tuple(map(str, range(options)))
    gold = Choice(k % options)
    return Item(id=str(k), kind=kind, prompt="?", choices=choices, gold=gold, scene_id=f"s{k % 7}", source="t")


class Average:
    def __init__(self, composite):
        self.composite, self.cells = composite, composite.cells


@pytest.mark.parametrize(
    "composite",
    [
        Nested(cells={"a": "x", "b": "x", "c": "y"}),
        Nested(cells={"a": "x", "b": "x", "c": "y"}, within="micro", across={"x": 0.7, "y": 0.3}),
        Nested(cells={"a": "a", "b": "b", "c": "c"}, across="micro", terms=chance_adjusted),
    ],
)
def test_overall_is_rebuilt_from_the_types(composite):
    rng = np.random.default_rng(0)
    items = [item(k, "aabcccc"[k % 7], options=2 + k % 3) for k in range(70)]
    named = aggregate(composite, items, rng.random(70))
    cells = {kind: {"score": 100 * named[kind]} for kind in "abc"}
    found = overall_from_cells(Average(composite), items, {"cells": cells, "kinds": {}})
    assert found == pytest.approx(100 * named["overall"])
    moved = {**cells, "b": {"score": cells["b"]["score"] + 5}}
    assert overall_from_cells(Average(composite), items, {"cells": moved, "kinds": {}}) != pytest.approx(found)


def test_an_average_that_types_do_not_determine_is_not_rebuilt():
    composite = Nested(cells={"a": "a"}, terms=f1_of_option(lambda item: 0))
    items = [item(k, "a", options=2) for k in range(9)]
    score = 100 * aggregate(composite, items, np.array([1.0, 0, 1, 1, 0, 0, 1, 0, 1]))["a"]
    assert overall_from_cells(Average(composite), items, {"cells": {"a": {"score": score}}, "kinds": {}}) is None


# ------------------------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("name", sorted(LEVEL_OF_CELL))
def test_levels_speak_of_cells_that_exist(name):
    module = BENCHMARKS.load(name)
    definition = getattr(module, "DEFINITION", None)
    cells = (definition or module.build(module.Settings())).cells
    if cells:  # else the records alone say which types there are
        assert set(LEVEL_OF_CELL[name]) <= set(cells.values())
    assert set(LEVEL_OF_CELL[name].values()) <= set(LEVELS)


def test_levels_of_spatialbench_are_its_categories():
    assert levels_of("spatialbench", LEVELS) == {level: [level] for level in LEVELS}
    assert levels_of("unknown", ["a"]) == {}
    assert levels_of("mmsi_bench", ["Motion (cam.)", "Positional Relationship (Cam.-Obj.)"]) == {
        "symbolic": ["Positional Relationship (Cam.-Obj.)"],
        "causality": ["Motion (cam.)"],
    }


def test_radar_places_scores_on_their_axes():
    """Three axes from the top clockwise: 100 percent of the first lies straight above the middle."""
    values = {
        name: {"score": score, "low": None, "high": None} for name, score in zip("abc", (100, 0, 50), strict=True)
    }
    svg = radar_svg("t", ["a", "b", "c"], [Trace(name="m", values=values, color="#123456")])
    dots = [tuple(map(float, pair)) for pair in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (top_x, top_y), (middle_x, middle_y), (left_x, left_y) = dots
    assert top_x == middle_x
    assert middle_y - top_y == pytest.approx(115)
    assert np.hypot(left_x - middle_x, left_y - middle_y) == pytest.approx(57.5, abs=0.2)
    assert left_x < middle_x
    assert left_y > middle_y
