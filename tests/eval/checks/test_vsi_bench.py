"""Published answers regenerated from published metadata."""

from __future__ import annotations

import itertools
import json

import pytest

from allocentric.core.errors import DataError
from allocentric.core.types import Choice
from allocentric.datasets.generate import METADATA_TYPES, generate
from allocentric.eval.checks._vsi_questions import Published, answer
from allocentric.eval.checks.vsi_bench import check
from allocentric.scenes.sources import vsi_metadata

EXACT = [
    "object_size_estimation", "room_size_estimation", "object_rel_distance", "object_rel_direction_easy",
    "object_rel_direction_medium", "object_rel_direction_hard", "object_counting",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "vsi_bench"


@pytest.fixture(scope="module")
def result(folder):
    return check(metadata=folder, questions=folder / "questions.jsonl")


def test_everything_but_distances_agrees_to_the_last_digit(result):
    figures = result.as_json
    assert result.ok
    assert sum(row["n"] for row in figures.values()) == 191
    for kind in EXACT:
        assert figures[kind]["agree"] == figures[kind]["answerable"] == figures[kind]["n"] > 0
    for kind in ("route_planning", "obj_appearance_order"):
        assert figures[kind]["answerable"] == 0


def test_distances_agree_as_well_as_boxes_can(result):
    figures = result.as_json["object_abs_distance"]
    assert figures["mra"] == pytest.approx(94.4)
    assert figures["mra_grid"] == pytest.approx(94.8)
    assert figures["answerable"] == 25
    assert any("largest of 8 absolute distances" in note for note in result.notes)


def test_known_wrong_labels_are_listed(result):
    assert any("scene0474_04 publishes the count 3 for chair, and 4 boxes" in note for note in result.notes)


def test_a_wrong_published_answer_is_caught(folder, tmp_path):
    records = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    hard = next(record for record in records if record["question_type"] == "object_rel_direction_hard")
    hard["ground_truth"] = "ABCD"[("ABCD".index(hard["ground_truth"]) + 1) % 4]
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join(map(json.dumps, records)))
    result = check(metadata=folder, questions=changed)
    assert not result.ok
    assert any(f"object_rel_direction_hard {hard['id']}" in note for note in result.notes)


def test_questions_about_unknown_scenes_are_not_answerable(folder, tmp_path):
    record = json.loads((folder / "questions.jsonl").read_text().splitlines()[0]) | {"scene_name": "elsewhere"}
    (tmp_path / "one.jsonl").write_text(json.dumps(record))
    figures = check(metadata=folder, questions=tmp_path / "one.jsonl").as_json
    assert figures[record["question_type"]] == {"n": 1, "answerable": 0, "agree": 0, "mra": None}


@pytest.mark.slow
def test_generated_questions_are_read_back_and_answered_alike(folder):
    """Text -> steps -> answer, for questions whose text we wrote ourselves."""
    source = vsi_metadata.build(vsi_metadata.Settings(path=folder))
    read = 0
    for profile in ("vsi", "revsi"):
        for items in itertools.islice(generate(source, METADATA_TYPES, profile=profile, per_scene=3), 40):
            for item in items:
                choice = isinstance(item.gold, Choice)
                question = Published(
                    id=item.id, kind=item.kind, scene_id=item.scene_id, question=item.prompt, options=item.choices,
                    ground_truth="ABCD"[item.gold.index] if choice else str(item.gold.value),
                )  # fmt: skip
                ours = answer(question, source.load(item.scene_id))
                if choice:
                    assert ours == question.gold_text()
                else:
                    assert ours == pytest.approx(item.gold.value, abs=0.0501)
                read += 1
    assert read > 500


GOOD = {"id": 1, "scene_name": "41069025", "question_type": "object_counting", "options": None, "ground_truth": "2",
        "question": "How many chair(s) are in this room?"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not JSON"),
        (json.dumps({"id": 1}), "the field 'scene_name' is missing"),
        (json.dumps(GOOD | {"question": "How many?"}), "does not fit the template of object_counting"),
        (
            json.dumps(GOOD | {"options": ["A. 1", "B. 2"], "ground_truth": "C"}),
            r"expected one of \['A', 'B'\], got 'C'",
        ),
    ],
)
def test_bad_questions_are_named(folder, tmp_path, text, message):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        check(metadata=folder, questions=tmp_path / "bad.jsonl")
    with pytest.raises(DataError, match="cannot read the questions"):
        check(metadata=folder, questions=tmp_path / "absent.jsonl")
