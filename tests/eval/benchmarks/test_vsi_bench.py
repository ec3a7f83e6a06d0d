"""Loading, wording, scoring and averaging of VSI-Bench."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import cpu_s

from allocentric.core.errors import DataError, SettingsError
from allocentric.core.types import Choice, Item, Number, Object, Scene, Unreadable, View
from allocentric.datasets import chat, export
from allocentric.eval.aggregation import aggregate
from allocentric.eval.benchmarks import _vsi_published, _vsi_records, vsi_bench
from allocentric.eval.differences import profile_differences

OFFICIAL, LMMS, VLMEVALKIT = vsi_bench.VsiBench.profiles


def _choice_record(**changes: Any) -> dict[str, Any]:
    record = {"id": 7, "dataset": "scannet", "scene_name": "scene0011_00", "question_type": "route_planning"}
    return record | {"question": "Which way?", "options": ["A. left", "B. right"], "ground_truth": "B"} | changes


def _number_record(**changes: Any) -> dict[str, Any]:
    record = {"id": 8, "dataset": "arkitscenes", "scene_name": "41069043", "question_type": "object_abs_distance"}
    return record | {"question": "How far?", "options": None, "ground_truth": "2.5"} | changes


Load = Callable[..., vsi_bench.VsiBench]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(*records: dict[str, Any], **settings: Any) -> vsi_bench.VsiBench:
        (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
        return vsi_bench.build(vsi_bench.Settings(dataset=str(tmp_path), **settings))

    return loaded


# ------------------------------------------------------------------------------------------------------------- loading


def test_published_questions_load(shared_data: Path) -> None:
    path = shared_data / "vsi_bench" / "questions.jsonl"
    benchmark = vsi_bench.build(vsi_bench.Settings(dataset=str(path), metadata=path.parent))
    items = benchmark.items()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item.id for item in items] == [str(record["id"]) for record in records]
    for item, record in zip(items, records, strict=True):
        lines = [f"{chr(65 + k)}. {choice}" for k, choice in enumerate(item.choices)]
        assert lines == (record["options"] or [])
        assert benchmark.scene(item.scene_id) is not None
    for profile in benchmark.profiles:
        values = [benchmark.score(item, item.extra["ground_truth"], profile).value for item in items]
        assert set(values) == {1.0}
    assert benchmark.fingerprint()["row_count"] == 191
    assert benchmark.scene("nowhere") is None


def test_subsets_are_data(load: Load) -> None:
    records = [_choice_record(id=k, pruned=k % 3 == 0) for k in range(6)]
    assert len(load(*records).items()) == 6
    assert [item.id for item in load(*records, subset="pruned").items()] == ["0", "3"]
    assert [item.id for item in load(*records, subset="debiased").items()] == ["1", "2", "4", "5"]
    with pytest.raises(DataError, match="`pruned` flag"):
        load(_choice_record(), subset="pruned").items()


def test_parquet_equals_json_lines(load: Load, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    records = [_choice_record(), _number_record()]
    parquet.write_table(pa.Table.from_pylist(records), tmp_path / "questions.parquet")
    other = vsi_bench.build(vsi_bench.Settings(dataset=str(tmp_path / "questions.parquet")))
    assert other.fingerprint() == load(*records).fingerprint()


def test_fingerprint_sees_every_field(load: Load) -> None:
    changes: list[dict[str, Any]] = [{"id": 9}, {"question": "Where?"}, {"options": ["A. left", "B. up"]}]
    changes.append({"ground_truth": "A"})
    prints = [load(_choice_record(**change)).fingerprint()["sha256"] for change in [{}, *changes]]
    assert len(set(prints)) == 5
    assert load(_choice_record(dataset="elsewhere")).fingerprint()["sha256"] == prints[0]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question_type": "route_plannin"}, "did you mean 'route_planning'"),
        ({"ground_truth": "C"}, "from A to B, got 'C'"),
        ({"ground_truth": None}, "lacks the field 'ground_truth'"),
        ({"options": ["left", "right"]}, "expected an option like 'A. text'"),
        ({"options": None, "ground_truth": "3"}, "answered by an option"),
        ({"options": None, "ground_truth": "far"}, "number >= 0, got 'far'"),
        ({"options": None, "ground_truth": "-1"}, "number >= 0"),
        ({"scene_name": "../../secret"}, "video's path"),
    ],
)
def test_bad_records_are_one_line(load: Load, tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as failure:
        load(_choice_record(**record), video_dir=tmp_path).items()
    assert "\n" not in str(failure.value)
    assert "test.jsonl" in str(failure.value)


def test_bad_files_are_one_line(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="occurs twice"):
        load(_choice_record(), _choice_record()).items()
    (tmp_path / "test.jsonl").write_text(json.dumps(_choice_record()) + '\n{"id": 3, "data')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        vsi_bench.build(vsi_bench.Settings(dataset=str(tmp_path))).items()
    with pytest.raises(DataError, match="no such file or folder"):
        vsi_bench.build(vsi_bench.Settings(dataset=str(tmp_path / "absent"))).items()
    with pytest.raises(SettingsError, match="did you mean 'route_planning'"):
        vsi_bench.build(vsi_bench.Settings(kinds=("route_plan",)))


def test_missing_videos_are_counted(load: Load, tmp_path: Path) -> None:
    (tmp_path / "scannet").mkdir()
    (tmp_path / "scannet" / "scene0011_00.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"41069043\.mp4 \(1 of 2 are missing\); unpack"):
        load(_choice_record(), _number_record(), video_dir=tmp_path).items()
    only = load(_choice_record(), _number_record(), video_dir=tmp_path, kinds=("route_planning",)).items()
    assert [item.video for item in only] == [tmp_path / "scannet" / "scene0011_00.mp4"]


def test_a_repository_is_loaded_at_its_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, config: str, *, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append((name, config, split, revision))
        return [_choice_record(pruned=True)]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    benchmark = vsi_bench.build(vsi_bench.Settings(subset="pruned"))
    assert len(benchmark.items()) == 1
    assert asked == [("nyu-visionx/VSI-Bench", "pruned", "test", _vsi_records.REVISION)]


def test_an_unreachable_repository_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach the hub\nwith details")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"\(Couldn't reach the hub\); download it") as failure:
        vsi_bench.build(vsi_bench.Settings()).items()
    assert "\n" not in str(failure.value)


@pytest.fixture
def set_folder(tmp_path: Path) -> Path:
    """A set as `make` leaves it: two questions about one box, with one view."""
    folder = tmp_path / "set"
    box = Object(id="chair-0", label="chair", world_from_object=np.eye(4), size_m=np.ones(3))
    scene = Scene(id="home", objects=(box,), source="test", license="CC0-1.0")
    views = (View(image=Path("media/home/frame_0000.jpg"), time_s=0.0),)
    common: dict[str, Any] = {"scene_id": "home", "views": views, "source": "test"}
    items = [
        Item(id="a", kind="object_counting", prompt="How many?", gold=Number(3.0), **common),
        Item(id="b", kind="route_planning", prompt="Where?", choices=("left", "A. up"), gold=Choice(1), **common),
    ]
    export.write_parquet(folder / "data" / "test-00000-of-00001.parquet", items, "short")
    export.write_scene(folder, *export.scene_records(scene, views))
    (folder / "README.md").write_text("a set")
    return folder


def test_a_generated_set_is_asked_and_scored_as_the_benchmark(set_folder: Path) -> None:
    benchmark = vsi_bench.build(vsi_bench.Settings(dataset=str(set_folder)))
    number, choice = benchmark.items()
    for item in (number, choice):
        assert benchmark.prompt_text(item, OFFICIAL) == chat.prompt_text(item)  # trained as it is asked
        for profile in benchmark.profiles:
            assert benchmark.score(item, chat.answer_text(item), profile).value == 1
            assert benchmark.score(item, "A" if item is choice else "9", profile).value == 0
    assert benchmark.prompt_text(choice, VLMEVALKIT).splitlines()[2:4] == ["A. left", "B. A. up"]
    assert benchmark.fingerprint()["row_count"] == 2
    scene = benchmark.scene("home")
    assert scene is not None
    assert [thing.label for thing in scene.objects] == ["chair"]
    assert choice.views[0].image == set_folder / "media" / "home" / "frame_0000.jpg"


def test_a_generated_set_has_no_published_subsets(set_folder: Path) -> None:
    with pytest.raises(DataError, match="has no debiased subset"):
        vsi_bench.build(vsi_bench.Settings(dataset=str(set_folder), subset="debiased"))
    (set_folder / "README.md").unlink()
    with pytest.raises(DataError, match="no complete set"):
        vsi_bench.build(vsi_bench.Settings(dataset=str(set_folder))).items()


# ------------------------------------------------------------------------------------------------------------- wording


def test_prompts_are_worded_as_published(load: Load) -> None:
    benchmark = load(_choice_record(), _number_record())
    choice, number = benchmark.items()
    letter = "Answer with the option's letter from the given choices directly."
    word = "Please answer the question using a single word or phrase."
    with_header = f"These are frames of a video.\nWhich way?\nOptions:\nA. left\nB. right\n{letter}"
    for profile in (OFFICIAL, LMMS):
        assert benchmark.prompt_text(choice, profile) == with_header
        assert benchmark.prompt_text(number, profile) == f"These are frames of a video.\nHow far?\n{word}"
        assert benchmark.sampling(profile).max_new_tokens == 16
    assert benchmark.prompt_text(choice, VLMEVALKIT) == with_header.replace("Options:\n", "")
    float_request = "Answer briefly and directly in one float number."
    assert benchmark.prompt_text(number, VLMEVALKIT).endswith(f"\n{float_request}")
    api = load(_number_record(), wording="api")
    assert api.prompt_text(number, OFFICIAL).endswith("\nDo not response anything other than a single number!")


# ------------------------------------------------------------------------------------------------------------- scoring


def test_unreadable_is_not_wrong(load: Load) -> None:
    choice, number = load(_choice_record(), _number_record()).items()
    benchmark = load(_choice_record(), _number_record())
    wrong = benchmark.score(choice, "A", OFFICIAL)
    assert (wrong.value, wrong.answer, wrong.chance) == (0.0, Choice(0), 0.5)
    vague = benchmark.score(choice, "The answer is B", OFFICIAL)
    assert (vague.value, vague.chance) == (0.0, 0.5)
    assert isinstance(vague.answer, Unreadable)
    beyond = benchmark.score(choice, "E", OFFICIAL)
    assert beyond.answer == Unreadable("E is none of the options A-B")
    close = benchmark.score(number, "2.0 m", OFFICIAL)
    assert (close.value, close.answer, close.chance) == (0.6, Number(2.0, "m"), None)
    assert benchmark.score(number, "nan", OFFICIAL).value == 0
    with pytest.raises(SettingsError, match="did you mean 'official@51e089c'"):
        benchmark.score(number, "2", "official")


def test_known_bugs_are_kept_by_name(load: Load) -> None:
    seven = [f"{letter}. x{letter}" for letter in "ABCDEFG"]
    benchmark = load(_choice_record(options=seven, ground_truth="G"), _number_record(ground_truth="0"))
    choice, zero = benchmark.items()
    hit = benchmark.score(choice, "no idea", VLMEVALKIT)
    assert hit.value == 1
    assert isinstance(hit.answer, Unreadable)
    assert benchmark.score(choice, "<answer>G</answer>", VLMEVALKIT).value == 0
    assert benchmark.score(choice, "G", OFFICIAL).value == 1
    assert benchmark.score(zero, "0.3", OFFICIAL).value is None
    assert benchmark.score(zero, "0.3", LMMS).value is None
    assert benchmark.score(zero, "0.3", VLMEVALKIT).value == 0.5
    assert benchmark.score(zero, "none", OFFICIAL).value == 0


def test_differences_say_why(load: Load) -> None:
    benchmark = load(_choice_record(), _number_record())
    found = profile_differences(benchmark, {"7": "B", "8": "between 2.5 and 9"})
    assert [difference.item.id for difference in found] == ["8"]
    assert found[0].why == (
        "official@51e089c can't read it (the first token 'between' is not a number): 0; "
        "lmms-eval@75571cf reads 2.5 m: 1; vlmevalkit@e8e78f0 reads 9 m: 0"
    )
    assert profile_differences(benchmark, {"8": "between 2.5 and 9"}, (OFFICIAL, VLMEVALKIT)) == []


def _exhaust(values: Callable[[], Iterable[object]]) -> None:
    for _ in values():
        pass


def test_scoring_is_fast(load: Load) -> None:
    benchmark = load(_choice_record(), _number_record())
    choice, number = benchmark.items()
    for item, text in ((choice, "B. right"), (number, "2.4 meters")):
        for profile in benchmark.profiles:
            scores = partial(map, benchmark.score, [item] * 500, [text] * 500, [profile] * 500)
            assert cpu_s(partial(_exhaust, scores), rounds=4) < 0.1  # ten times what it takes


# ----------------------------------------------------------------------------------------------------------- averaging


def _item_of_kind(kind: str) -> Item:
    return Item(id=kind, kind=kind, prompt="?", gold=Number(1.0), scene_id="room", source="test")


def test_published_rows_are_recomputed() -> None:
    kinds = list(_vsi_records.CELLS)
    benchmark = vsi_bench.build(vsi_bench.Settings())
    rows = {row.name: row for row in _vsi_published.PUBLISHED if len(row.cells) == 8}
    items = [_item_of_kind(kind) for kind in kinds]
    for name, recomputed in (("human", 79.2), ("frequency", 35.46)):
        values = np.array([rows[name].cells[_vsi_records.CELLS[kind]] for kind in kinds])
        assert aggregate(benchmark.composite, items, values)["overall"] == pytest.approx(recomputed, abs=0.05)
    assert rows["frequency"].overall == 34.0  # as printed


def test_partial_sets_are_averaged_only_when_asked() -> None:
    strict, partial = (vsi_bench.build(vsi_bench.Settings(partial=flag)) for flag in (False, True))
    items = [_item_of_kind("object_counting")]
    assert math.isnan(aggregate(strict.composite, items, np.ones(1))["overall"])
    assert aggregate(partial.composite, items, np.ones(1))["overall"] == 1


def test_counts_are_the_published_ones() -> None:
    assert sum(_vsi_records.PUBLISHED_COUNTS.values()) == 5130
    assert len(set(_vsi_records.CELLS.values())) == 8
