"""Evaluation end to end on the fake benchmark: numbers, resuming, failures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from allocentric.core import config
from allocentric.core.catalog import MODELS, Catalog
from allocentric.core.errors import SettingsError, UserError
from allocentric.core.runlog import RunLog, read_samples
from allocentric.core.types import Response
from allocentric.eval.recipe import limited, plan
from allocentric.eval.run import evaluate, load_eval_recipe

PROFILE = "first-letter@0"


class ParrotSettings(config.Settings):
    """Settings of the test model."""

    text: str = "A"
    path: str = "parrot"


class Parrot:
    """Says one text; fails for items named in `fails`; counts what it is asked."""

    name = "parrot"

    def __init__(self):
        self.prompts = []
        self.built = 0
        self.fails = set()

    def generate(self, batch):
        self.prompts += batch
        return [
            Response(text="", finish_reason="error", error="HTTP 500\nagain")
            if prompt.item_id in self.fails
            else Response(text=self.text, seconds=0.5)
            for prompt in batch
        ]


@pytest.fixture
def parrot(fake, monkeypatch):
    """A model backend "parrot" in the catalog."""
    model = Parrot()
    load, resolve = Catalog.load, Catalog.resolve

    def build(settings, *, items):
        model.built += 1
        model.text = settings.text
        return model

    module = SimpleNamespace(Settings=ParrotSettings, build=build)
    monkeypatch.setattr(Catalog, "load", lambda s, n: module if s is MODELS and n == "parrot" else load(s, n))
    monkeypatch.setattr(Catalog, "resolve", lambda s, n: n if s is MODELS and n == "parrot" else resolve(s, n))
    return model


def parrots(**settings):
    return {"models": [{"name": "parrot", **settings}], "baselines": False}


def overall(results, model, profile=PROFILE):
    return next(row for row in results["models"] if row["model"] == model)["profiles"][profile]["overall"]


def test_oracle_100_baselines_beside_it_random_at_chance(recipe, tmp_path):
    result = evaluate(recipe(benchmark={"scenes": 25}), tmp_path / "runs")
    models = {row["model"]: row for row in result.results["models"]}
    assert list(models) == ["oracle", "random", "constant", "frequency"]
    assert [row["baseline"] for row in models.values()] == [False, True, True, True]
    assert overall(result.results, "oracle")["score"] == 100
    for kind in ("direction_easy", "direction_hard"):
        cell = models["random"]["profiles"][PROFILE]["kinds"][kind]
        assert cell["chance"] == {"direction_easy": 50, "direction_hard": 25}[kind]
        assert cell["low"] <= cell["chance"] <= cell["high"]
    direction = models["random"]["profiles"][PROFILE]["cells"]["direction"]
    assert direction["chance"] == pytest.approx(37.5)
    assert direction["low"] <= 37.5 <= direction["high"]
    assert direction["n"] == 100
    assert overall(result.results, "random")["chance"] is None  # open numbers have no chance level
    assert (result.results["state"], result.exit_code, result.asked) == ("finished", 0, 4 * 150)
    assert result.results["items"]["count"] == 150
    assert json.loads((result.folder / "results.json").read_text()) == result.results
    assert {"config.yaml", "env.json", "samples.jsonl", "log.txt"} <= {file.name for file in result.folder.iterdir()}


def test_the_overall_is_the_benchmarks_own_aggregate(recipe, parrot, tmp_path):
    result = evaluate(recipe(**parrots()), tmp_path)
    job = plan(recipe(**parrots()))
    scores = {item.id: job.benchmark.score(item, "A", PROFILE).value for item in job.items}
    means = {
        kind: np.mean([scores[item.id] for item in job.items if item.kind == kind]) for kind in job.benchmark.cells
    }
    expected = (means["size"] + (means["direction_easy"] + means["direction_hard"]) / 2) / 2
    row = result.results["models"][0]["profiles"][PROFILE]
    assert row["overall"]["score"] == pytest.approx(100 * expected)
    assert row["unreadable"] == row["cells"]["size"]["unreadable"] == 12  # "A" is no number


def test_a_finished_run_asks_nothing_and_says_the_same(recipe, parrot, tmp_path):
    first = evaluate(recipe(**parrots()), tmp_path)
    asked, built = len(parrot.prompts), parrot.built
    second = evaluate(recipe(**parrots()), tmp_path)
    assert (len(parrot.prompts), parrot.built, second.asked) == (asked, built, 0)
    assert second.results == first.results
    assert second.folder == first.folder


def test_answers_alone_are_enough(recipe, parrot, tmp_path):
    """results.json is recomputed from samples.jsonl without asking again."""
    first = evaluate(recipe(**parrots()), tmp_path)
    (first.folder / "results.json").unlink()
    asked = len(parrot.prompts)
    assert evaluate(recipe(**parrots()), tmp_path).results == first.results
    assert len(parrot.prompts) == asked


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"frames": {"count": 2}}, {"batch_size": 3}, {"benchmark": {"shout": True}}]
)
def test_a_changed_setting_is_another_folder(recipe, parrot, tmp_path, change):
    first = evaluate(recipe(**parrots()), tmp_path)
    second = evaluate(recipe(**parrots(), **change), tmp_path)
    assert second.folder != first.folder
    assert second.asked == 36


def test_a_changed_picture_asks_its_questions_again(recipe, parrot, tmp_path):
    evaluate(recipe(**parrots()), tmp_path)
    picture = tmp_path / "pictures" / "0-1.jpg"
    picture.write_bytes(picture.read_bytes() + b"\0")
    parrot.prompts.clear()
    evaluate(recipe(**parrots()), tmp_path)
    assert {prompt.item_id.partition("-")[0] for prompt in parrot.prompts} == {"0"}
    assert len(parrot.prompts) == 6


def test_a_finished_run_needs_its_pictures_no_more(recipe, fake, parrot, tmp_path, monkeypatch):
    first = evaluate(recipe(**parrots()), tmp_path)
    for picture in (tmp_path / "pictures").iterdir():
        picture.unlink()
    monkeypatch.setattr(fake.FakeBenchmark, "_draw", lambda self, path, k, frame: None)
    again = evaluate(recipe(**parrots()), tmp_path)
    assert (again.asked, again.results) == (0, first.results)


def test_other_weights_in_the_same_folder_are_another_model(recipe, parrot, tmp_path):
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "w.bin").write_bytes(b"one")
    evaluate(recipe(**parrots(path=str(weights))), tmp_path)
    (weights / "w.bin").write_bytes(b"two")
    assert evaluate(recipe(**parrots(path=str(weights))), tmp_path).asked == 36


def test_failed_items_are_counted_and_asked_again(recipe, parrot, tmp_path):
    parrot.fails = {"0-0", "3-4"}
    first = evaluate(recipe(**parrots()), tmp_path)
    assert (first.results["state"], first.exit_code) == ("finished-with-failures", 2)
    row = first.results["models"][0]
    assert row["failed"] == row["profiles"][PROFILE]["unanswered"] == 2
    assert row["profiles"][PROFILE]["overall"]["n"] == 34
    parrot.fails = set()
    parrot.prompts.clear()
    second = evaluate(recipe(**parrots()), tmp_path)
    assert {prompt.item_id for prompt in parrot.prompts} == {"0-0", "3-4"}
    assert (second.results["models"][0]["failed"], second.exit_code) == (0, 0)
    undisturbed = evaluate(recipe(**parrots()), tmp_path / "other")
    assert second.results == undisturbed.results


def test_a_model_that_always_fails_stops_with_one_line(recipe, parrot, tmp_path):
    parrot.fails = {f"{k}-{j}" for k in range(6) for j in range(6)}
    with pytest.raises(UserError, match="failed 8 times in a row, last: HTTP 500 again") as caught:
        evaluate(recipe(**parrots(), stop_after_failures=8), tmp_path)
    assert "\n" not in str(caught.value)
    assert len(parrot.prompts) == 8


def test_prompts_hold_the_chosen_frames_and_never_the_gold(recipe, parrot, tmp_path):
    result = evaluate(recipe(**parrots(), frames={"count": 2, "as_video": True}, max_new_tokens=99), tmp_path)
    prompt = parrot.prompts[0]
    assert [view.time_s for view in prompt.views] == [0.0, 3.0]
    assert prompt.as_video
    assert prompt.sampling.max_new_tokens == 99
    records = list(read_samples(result.folder).values())
    assert all(record["frames"]["indices"] == [0, 3] for record in records)
    assert len({record["frames"]["digest"] for record in records}) == 6
    assert not hasattr(prompt, "gold")


def test_blind_runs_show_nothing(recipe, parrot, tmp_path):
    evaluate(recipe(**parrots(), frames={"count": 0}), tmp_path)
    assert all(prompt.views == () for prompt in parrot.prompts)


def test_limit_is_even_over_kinds_seeded_and_ordered(fake):
    items = fake.build(fake.Settings(scenes=10)).items()
    some = limited(items, 12, seed=0)
    assert [[item.kind for item in some].count(kind) for kind in fake.FakeBenchmark.cells] == [4, 4, 4]
    assert some == [item for item in items if item in some]
    assert limited(items, 12, seed=0) == some
    assert limited(items, 12, seed=1) != some
    assert limited(items, None, seed=0) == limited(items, 10_000, seed=0) == items


def test_a_second_process_is_refused(recipe, parrot, tmp_path):
    job = plan(recipe(**parrots()))
    first = evaluate(recipe(**parrots()), tmp_path)
    with RunLog(first.folder, job.settings), pytest.raises(UserError, match="is being written by process"):
        evaluate(recipe(**parrots()), tmp_path)


def test_config_of_a_run_is_its_recipe(recipe, tmp_path, monkeypatch):
    first = evaluate(recipe(benchmark={"scenes": 2}), tmp_path)
    again = evaluate(load_eval_recipe(first.folder / "config.yaml"), tmp_path)
    assert (again.folder, again.asked) == (first.folder, 0)


class Recorder:
    """A Progress that keeps what it is told."""

    def __init__(self):
        self.calls = []

    def start(self, total, text):
        self.calls.append(("start", total, text))

    def advance(self, count=1, status=""):
        self.calls.append(("advance", count, status))

    def stop(self):
        self.calls.append(("stop",))


def test_progress_adds_up_and_shows_the_running_score(recipe, parrot, tmp_path):
    progress = Recorder()
    evaluate(recipe(**parrots(), batch_size=5), tmp_path, progress)
    assert progress.calls[0] == ("start", 36, "test")
    assert sum(call[1] for call in progress.calls if call[0] == "advance") == 36
    statuses = [call[2] for call in progress.calls if call[0] == "advance" and call[2]]
    assert statuses[-1].startswith("parrot ")
    assert "unreadable" in statuses[-1]
    assert progress.calls[-1] == ("stop",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"profile": "first-leter@0"}, "did you mean 'first-letter@0'"),
        ({"models": [{"name": "scriptd"}]}, "unknown model backend 'scriptd'; did you mean 'scripted'"),
        ({"models": [{"name": "scripted", "polcy": "oracle"}]}, "did you mean 'policy'"),
        ({"models": [{"policy": "oracle"}]}, "a model backend needs a `name`"),
        ({"models": [{"name": "scripted", "policy": "oracle"}] * 2}, "two models are called 'oracle'"),
        ({"models": [], "baselines": False}, "nothing to ask"),
    ],
)
def test_wrong_recipes_say_what_is_wrong(recipe, tmp_path, values, message):
    with pytest.raises(UserError, match=message) as caught:
        evaluate(recipe(**values), tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("test-*")) == []


def test_a_name_that_would_leave_the_folder_is_refused(recipe):
    with pytest.raises(SettingsError, match="name"):
        recipe(name="../elsewhere")
