"""Answers scored again, without any model."""

from __future__ import annotations

import json

import pytest

from allocentric.core.catalog import MODELS, Catalog
from allocentric.core.errors import UserError
from allocentric.core.runlog import read_samples
from allocentric.eval.run import evaluate
from allocentric.eval.scored import load_run, score


@pytest.fixture
def folder(recipe, tmp_path):
    return evaluate(recipe(), tmp_path / "runs").folder


@pytest.fixture
def no_models(monkeypatch):
    """Building any model fails."""

    def forbidden(*args, **kwargs):
        raise AssertionError("a model was built")

    for name in MODELS.names():
        module = MODELS.load(name)
        monkeypatch.setattr(module, "build", forbidden)


def write_responses(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_run_folder_gives_its_own_results(folder, no_models):
    results = score(folder)
    assert results.pop("disagreements") == []
    assert results == json.loads((folder / "results.json").read_text())


def test_other_profile_heads_the_table(folder):
    assert score(folder, profile="lenient@0")["profile"] == "lenient@0"
    with pytest.raises(UserError, match="did you mean 'lenient@0'"):
        score(folder, profile="lenient")


def test_profiles_that_disagree_are_listed(fake, tmp_path):
    items = fake.build(fake.Settings()).items()
    choice = next(item for item in items if item.choices)
    letter = chr(65 + choice.gold.index)
    path = write_responses(
        tmp_path / "mine.jsonl",
        [{"id": choice.id, "response": f" {letter}\u2028"}, {"id": items[0].id, "response": "12"}],
    )
    results = score(path, benchmark={"name": "fake"})
    (found,) = results["disagreements"]
    assert (found["model"], found["item"]) == ("mine", choice.id)
    assert found["scores"] == {"first-letter@0": 0.0, "lenient@0": 100.0}
    assert f"lenient@0 reads {letter}: 1" in found["why"]
    row = results["models"][0]["profiles"]
    assert (row["first-letter@0"]["unreadable"], row["lenient@0"]["unreadable"]) == (1, 0)
    assert results["items"]["count"] == 2


def test_several_models_in_one_response_file(fake, tmp_path):
    items = fake.build(fake.Settings()).items()
    lines = [{"id": item.id, "response": "A", "model": name} for name in ("x", "y") for item in items]
    results = score(write_responses(tmp_path / "r.jsonl", lines), benchmark={"name": "fake"})
    assert [model["model"] for model in results["models"]] == ["x", "y"]
    assert results["state"] == "finished"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "0-0"}', "line 1: expected"),
        ("not json", "line 1 is not JSON"),
        ('{"id": "nope", "response": "A"}', "no item 'nope'"),
        ("", "holds no responses"),
    ],
)
def test_wrong_response_files(fake, tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        score(path, benchmark={"name": "fake"})


def test_a_response_file_needs_a_benchmark_and_a_folder_must_be_a_run(fake, tmp_path):
    with pytest.raises(UserError, match="say which benchmark"):
        score(tmp_path / "r.jsonl")
    with pytest.raises(UserError, match="not a run folder"):
        score(tmp_path)
    (tmp_path / "config.yaml").write_text("name: walks\nenv: {id: allocentric/Explore-v0}\n")
    with pytest.raises(UserError, match="the run of another command"):
        score(tmp_path)
    with pytest.raises(UserError, match="can't read the responses"):
        score(tmp_path / "absent.jsonl", benchmark={"name": "fake"})


def test_answers_to_other_questions_are_not_used(folder, fake, monkeypatch):
    """The benchmark's gold answers change under the same settings: old answers don't count for them."""
    assert sum(len(answers) for answers in load_run(folder).answers.values()) == len(read_samples(folder)) == 144
    monkeypatch.setattr(fake, "LABELS", ("couch", *fake.LABELS[1:]))
    left = load_run(folder).answers["oracle"]
    assert 0 < len(left) < 36


def test_the_only_model_is_meant_where_none_is_named(folder):
    run = load_run(folder)
    assert run.label(None) == "oracle"
    assert run.label("random") == "random"
    with pytest.raises(UserError, match="did you mean 'oracle'"):
        run.label("orakle")


def test_catalog_is_restored():
    """The fixtures of this folder don't leak the fake benchmark."""
    with pytest.raises(UserError, match="unknown benchmark"):
        Catalog("benchmark", "eval/benchmarks", "build").resolve("fake")
