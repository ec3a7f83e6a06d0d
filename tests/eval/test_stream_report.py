"""Streams with watchers: one table, one page that opens from the disk, figures that are those of the episodes."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from allocentric.core.catalog import Catalog
from allocentric.core.config import Settings, settings_from_mapping
from allocentric.core.errors import UserError
from allocentric.core.types import Choice, Item, Prompt, Response, View
from allocentric.eval.rollouts import RolloutRecipe, run_rollouts
from allocentric.eval.stream_report import accuracy_rows

FRAMES = 24
_load = Catalog.load


class CountSettings(Settings):
    """A model that says A where it is shown the newest picture."""

    fail: bool = False
    """Give no answer."""


class Sees:
    """Right where the newest picture is among those recalled: its brightness is the frame's number."""

    def __init__(self, settings: CountSettings) -> None:
        self.name = "sees"
        self.settings = settings
        self.prompts: list[Prompt] = []

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        self.prompts += batch
        if self.settings.fail:
            return [Response(text="", finish_reason="error", error="the server\nis gone") for _ in batch]
        shown = [int(np.asarray(batch[0].views[k].image).max()) for k in range(len(batch[0].views))]
        return [Response(text="A" if 5 in shown else "B", prompt_tokens=100 * len(shown), completion_tokens=1)]


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """Three streams of 24 frames; asked at 5 s and at 23 s whether frame 5 was seen: A."""
    items = []
    for k in range(3):
        views = tuple(View(image=np.full((8, 16, 3), t, dtype=np.uint8), time_s=float(t)) for t in range(FRAMES))
        for when in (5, FRAMES - 1):
            items.append(
                Item(
                    id=f"{k}-{when}",
                    kind="k",
                    prompt="Was it there?",
                    choices=("yes", "no"),
                    gold=Choice(0),
                    scene_id=f"stream-{k}",
                    source="test",
                    views=views,
                    evidence=_evidence(when),
                )
            )
    monkeypatch.setattr("allocentric.eval.arenas._items_of", lambda folder: items)
    built: list[Sees] = []

    def load(self: Catalog, name: str) -> Any:
        if self.kind != "model backend" or name != "sees":
            return _load(self, name)

        def build(settings: CountSettings, *, items: Any) -> Sees:
            built.append(Sees(settings))
            return built[-1]

        return SimpleNamespace(Settings=CountSettings, build=build)

    monkeypatch.setattr(Catalog, "load", load)
    resolve = Catalog.resolve
    monkeypatch.setattr(Catalog, "resolve", lambda self, name: name if name == "sees" else resolve(self, name))
    return items


def _evidence(frame: int) -> Any:
    from allocentric.core.types import Evidence

    return Evidence(frames=(frame,))


ENV = {"id": "StreamQA-v0", "items": "set", "width_px": 16, "height_px": 8, "frames_per_turn": 4}


def recipe_of(*models: dict[str, Any]) -> RolloutRecipe:
    return settings_from_mapping(RolloutRecipe, {"name": "s", "env": ENV, "models": list(models)}, where="test")


def highest_tick(svg: Path) -> float:
    words = [element.text or "" for element in ElementTree.parse(svg).iter() if element.tag.endswith("text")]
    return max(float(word) for word in words if word.replace(".", "").isdigit())


def test_memories_choose_what_a_model_sees(streams: list[Item], tmp_path: Path) -> None:
    last = {"name": "sees", "memory": {"name": "last_n", "frames": 4, "budget_bytes": 10_000}}
    all_ = {"name": "sees", "memory": {"name": "last_n", "frames": 100}, "label": "all"}
    result = run_rollouts(recipe_of(last, all_), tmp_path)
    rows = {row["policy"]: row for row in result.results["policies"]}
    assert list(rows)[:2] == ["sees + last_n", "all"]
    assert rows["sees + last_n"]["overall"]["means"]["score"] == 50.0  # frame 5 is forgotten at 23 s
    assert rows["all"]["overall"]["score"] == 100.0
    assert result.results["budgets"] == {"sees + last_n": 10_000, "all": 16 * 2**20}
    plots = result.folder / "plots"
    answers = list(csv.DictReader((plots / "answers.csv").open()))
    mine = [row for row in answers if row["policy"] == "sees + last_n"]
    assert [(float(row["time_s"]), float(row["score"])) for row in mine] == [(5.0, 1.0), (23.0, 0.0)] * 3
    assert {row["attended_tokens"] for row in mine} == {"400.0"}
    assert {row["attended_tokens"] for row in answers if row["policy"] == "all"} == {"600.0", "2400.0"}
    frames = [row for row in csv.DictReader((plots / "frames.csv").open()) if row["policy"] == "sees + last_n"]
    assert len(frames) == 3 * FRAMES
    assert max(int(row["bytes"]) for row in frames) <= 10_000
    page = (result.folder / "report.html").read_text()
    assert page.count("<svg") >= 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for name in ("accuracy", "bytes", "attended"):
        ElementTree.parse(plots / f"{name}.svg")
    for name, column, rows_of in (("bytes", "bytes", "frames"), ("attended", "attended_tokens", "answers")):
        shown = [float(row[column]) for row in csv.DictReader((plots / f"{rows_of}.csv").open()) if row[column]]
        assert highest_tick(plots / f"{name}.svg") > 0.6 * max(shown)  # the second policy has more than the first
    latency = {row["policy"]: row for row in csv.DictReader((plots / "latency.csv").open())}
    assert float(latency["all"]["frame_p50_ms"]) <= float(latency["all"]["frame_p95_ms"])
    assert (latency["all"]["frames"], latency["all"]["answers"]) == ("72", "6")
    again = run_rollouts(recipe_of(last, all_), tmp_path)
    assert again.played == 0


def test_surprise_is_drawn_under_the_frames(streams: list[Item], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from allocentric.train import tiny

    folder = tiny.build(tmp_path / "model", "qwen2_5_vl")
    watcher = {"name": "hf", "path": str(folder), "kv_memory": {"name": "surprise", "window": 4, "threshold": 0.5}}
    env = ENV | {"width_px": 84, "height_px": 56}
    recipe = recipe_of(watcher).model_copy(update={"env": env, "max_new_tokens": 3, "baselines": False})
    result = run_rollouts(recipe, tmp_path)
    assert [row["policy"] for row in result.results["policies"]] == ["model + surprise"]
    drawn = sorted((result.folder / "plots").glob("surprise-*.svg"))
    assert len(drawn) == 3
    svg = drawn[0].read_text()
    ElementTree.fromstring(svg)
    assert svg.count("<image") == 12
    assert svg in (result.folder / "report.html").read_text()
    frames = list(csv.DictReader((result.folder / "plots" / "frames.csv").open()))
    assert len(frames) == 3 * FRAMES
    assert svg.count("stroke-dasharray") == sum(row["border"] == "True" for row in frames[:FRAMES])


def test_features_without_pictures_are_not_shown(streams: list[Item], tmp_path: Path) -> None:
    blind = {"name": "sees", "memory": {"name": "surprise", "prediction": "previous"}}
    with pytest.raises(UserError, match="features without pictures"):
        run_rollouts(recipe_of(blind), tmp_path)


def test_a_model_without_answers_fails_its_streams_only(streams: list[Item], tmp_path: Path) -> None:
    silent = {"name": "sees", "fail": True, "memory": {"name": "last_n"}, "label": "<b>silent</b>"}
    result = run_rollouts(recipe_of(silent), tmp_path)
    rows = {row["policy"]: row for row in result.results["policies"]}
    assert rows["<b>silent</b>"]["failed"] == 3
    assert result.exit_code == 2
    page = (result.folder / "report.html").read_text()
    assert "<b>silent</b>" not in page
    assert "the server is gone" in page


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "sees"}, "needs one memory"),
        ({"name": "sees", "memory": {"name": "last_n"}, "kv_memory": {"name": "surprise"}}, "needs one memory"),
        ({"name": "sees", "memory": {"name": "last"}}, "did you mean 'last_n'"),
        ({"name": "sees", "memory": {"frames": 2}}, "needs a `name`"),
        ({"name": "sees", "memory": {"name": "last_n", "frame": 2}}, "frame"),
        ({"name": "sees", "kv_memory": {"name": "surprise"}}, "needs a checkpoint"),
    ],
)
def test_wrong_watchers_are_said(streams: list[Item], tmp_path: Path, model: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_rollouts(recipe_of(model), tmp_path)


def test_a_budget_smaller_than_a_frame_is_said(streams: list[Item], tmp_path: Path) -> None:
    small = {"name": "sees", "memory": {"name": "last_n", "budget_bytes": 50}}
    with pytest.raises(UserError, match="raise budget_bytes"):
        run_rollouts(recipe_of(small), tmp_path)
    hot = {"name": "hf", "path": "nowhere", "kv_memory": {"name": "surprise"}}
    with pytest.raises(UserError, match=r"answers greedily|no such model folder"):
        run_rollouts(recipe_of(hot).model_copy(update={"temperature": 0.5}), tmp_path)


def test_accuracy_is_binned_by_time_and_loses_nothing() -> None:
    answers = [
        {"policy": "a", "baseline": False, "stream": str(k % 4), "time_s": float(k), "score": float(k % 2)}
        for k in range(40)
    ]
    rows = accuracy_rows(answers, 0.95)
    assert sum(row["n"] for row in rows) == 40
    assert len(rows) == 6
    for row in rows:
        inside = [one["score"] for one in answers if row["from_s"] <= one["time_s"] < row["to_s"]]
        if row is not rows[-1]:
            assert row["score"] == pytest.approx(np.mean(inside))
        assert row["low"] <= row["score"] <= row["high"]
    assert accuracy_rows([], 0.95) == []
