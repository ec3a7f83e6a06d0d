from __future__ import annotations

import errno
import filecmp
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allocentric.core.config import load_recipe, settings_from_mapping
from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.datasets import shards
from allocentric.datasets.audit import ShortcutError
from allocentric.datasets.export import load_scene, load_set
from allocentric.datasets.make import make
from allocentric.datasets.recipe import MakeRecipe, set_folder
from allocentric.datasets.selection import ShortageError
from allocentric.datasets.trace import verify

TYPES = {"object_size_estimation": 20, "object_rel_direction_easy": 24, "object_rel_distance": 12}


def recipe(metadata: Path, **changes: Any) -> MakeRecipe:
    values = {
        "name": "small",
        "source": {"name": "vsi_metadata", "path": str(metadata)},
        "types": TYPES,
        "splits": {"train": 0.75, "test": 0.25},
        "audit": {"max_mra": 1.0, "max_lift": 1.0, "replicates": 100},
    }
    return settings_from_mapping(MakeRecipe, values | changes, where="test")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_same_folders(left: Path, right: Path) -> None:
    assert files(left) == files(right)
    _, different, unreadable = filecmp.cmpfiles(left, right, files(left), shallow=False)
    assert not different
    assert not unreadable


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, write_rooms: Callable[[Path, int], Path]) -> tuple[Path, Path]:
    """A finished set, and the metadata it was made from. Tests do not write to it."""
    base = tmp_path_factory.mktemp("made")
    source = write_rooms(base, 8)
    make(recipe(source), base / "set")
    return base / "set", source


def test_quotas_splits_and_files(made):
    folder, _ = made
    items = load_set(folder)
    assert {kind: sum(item.kind == kind for item in items) for kind in TYPES} == TYPES
    assert files(folder) == sorted(
        [
            "README.md", "audit.json", "recipe.yaml", "set.json",
            "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet",
            *(f"scenes/room{k:03d}.json" for k in range(8)),
            *(f"plots/{name}" for name in ("labels.svg", "labels.csv", "letters.svg", "letters.csv")),
            "plots/audit.svg", "plots/audit.csv",
        ]
    )  # fmt: skip


def test_no_scene_is_in_two_splits(made):
    folder, _ = made
    train, test = ({item.scene_id for item in load_set(folder, split)} for split in ("train", "test"))
    assert len(train) == 6
    assert len(test) == 2
    assert not train & test


def test_labels_are_balanced(made):
    folder, _ = made
    words = [item.evidence.label for item in load_set(folder) if item.kind == "object_rel_direction_easy"]
    assert words.count("left") == words.count("right") == 12


def test_every_answer_follows_from_the_written_scene(made):
    folder, _ = made
    for item in load_set(folder):
        verify(item, load_scene(folder, item.scene_id))


def test_load_dataset_reads_folder_and_parquet(made, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder, _ = made
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "test"}
    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "data" / "train-*.parquet"), cache_dir=str(tmp_path), split="train"
    )
    assert rows.column_names[:7] == [
        "id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth",
    ]  # fmt: skip
    by_id = {item.id: item for item in load_set(folder, "train")}
    assert set(rows["id"]) == set(by_id)
    for row in rows:
        item = by_id[row["id"]]
        if item.choices:
            assert row["options"]["ABCD".index(row["ground_truth"])].endswith(item.evidence.label)
        else:
            assert float(row["ground_truth"]) == item.gold.value
        assert row["messages"][1]["content"][0]["text"] == row["ground_truth"]
        assert row["messages"][0]["content"][-1]["text"].startswith(item.prompt)


def test_two_workers_write_the_same_bytes(made, tmp_path):
    folder, source = made
    make(recipe(source), tmp_path / "two", workers=2)
    assert_same_folders(folder, tmp_path / "two")


def test_the_written_recipe_makes_the_set_again(made, tmp_path):
    folder, _ = made
    make(load_recipe(folder / "recipe.yaml", MakeRecipe), tmp_path / "again")
    assert_same_folders(folder, tmp_path / "again")


def test_a_finished_set_is_not_made_again(made, monkeypatch):
    folder, source = made
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder)}
    result = make(recipe(source), folder)
    assert result.scenes_made == 0
    assert result.total == sum(TYPES.values())
    assert {name: (folder / name).stat().st_mtime_ns for name in files(folder)} == before


def test_resume_redoes_torn_shards_and_keeps_whole_ones(made, tmp_path, monkeypatch):
    folder, source = made
    target = tmp_path / "set"
    real = shards.make_shard
    done: list[str] = []

    def stopping(job: Any, scene_id: str) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        real(job, scene_id)
        done.append(scene_id)

    monkeypatch.setattr("allocentric.datasets.make.make_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(recipe(source), target)
    assert not (target / "README.md").exists()
    torn = shards.shard_path(target, "room001")
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    changed = shards.shard_path(target, "room002")
    changed.write_text(changed.read_text().replace("chair", "couch"))
    monkeypatch.setattr("allocentric.datasets.make.make_shard", real)
    assert make(recipe(source), target).scenes_made == 8 - 5 + 2
    assert_same_folders(folder, target)


def test_full_disk_is_one_line_and_the_work_continues(made, tmp_path, monkeypatch):
    folder, source = made
    real = shards.write_atomically

    def full(path: Path, text: str) -> None:
        if path.name == "room003.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, text)

    monkeypatch.setattr(shards, "write_atomically", full)
    with pytest.raises(UserError, match=r"the disk is full .*repeat the same command") as caught:
        make(recipe(source), tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set" / "data").exists()
    monkeypatch.setattr(shards, "write_atomically", real)
    assert make(recipe(source), tmp_path / "set").scenes_made == 5
    assert_same_folders(folder, tmp_path / "set")


def test_a_broken_audit_leaves_nothing_that_looks_finished(made, tmp_path):
    _, source = made
    with pytest.raises(ShortcutError, match=r"object_size_estimation: .* allowed 1\.0"):
        make(recipe(source, audit={"limits": {"object_size_estimation": 0.01}}), tmp_path / "set")
    assert not (tmp_path / "set" / "README.md").exists()
    assert not (tmp_path / "set" / "data").exists()
    assert json.loads((tmp_path / "set" / "audit.json").read_text())["passed"] is False
    with pytest.raises(DataError, match="no complete set"):
        load_set(tmp_path / "set")


def test_other_settings_do_not_touch_a_folder(made):
    folder, source = made
    with pytest.raises(DataError, match="made from other settings"):
        make(recipe(source, seed=1), folder)


def test_work_begun_with_another_recipe_or_version_is_not_mixed(made, tmp_path, monkeypatch):
    _, source = made
    with pytest.raises(ShortageError):
        make(recipe(source, types={"object_counting": 50}), tmp_path / "set")
    with pytest.raises(DataError, match="the beginning of a set with another recipe"):
        make(recipe(source), tmp_path / "set")
    monkeypatch.setattr("allocentric.datasets.make.__version__", "0.0.1")
    with pytest.raises(DataError, match="another version of allocentric"):
        make(recipe(source, types={"object_counting": 50}), tmp_path / "set")


def test_another_seed_gives_another_folder_and_other_items(made, tmp_path):
    folder, source = made
    assert set_folder(tmp_path, recipe(source)) != set_folder(tmp_path, recipe(source, seed=1))
    make(recipe(source, seed=1), tmp_path / "set")
    assert {i.id for i in load_set(tmp_path / "set")} != {i.id for i in load_set(folder)}


def test_foreign_folder_is_refused(made, tmp_path):
    _, source = made
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="not empty and holds no set"):
        make(recipe(source), tmp_path)
    assert files(tmp_path) == ["thesis.tex"]


def test_shortage_names_type_and_numbers(made, tmp_path):
    _, source = made
    with pytest.raises(ShortageError, match="'object_counting': got 8 balanced items, expected 50"):
        make(recipe(source, types={"object_counting": 50}), tmp_path / "set")
    result = make(recipe(source, types={"object_counting": 50}, allow_short=True), tmp_path / "short")
    assert result.types == {"object_counting": {"items": 8, "scenes": 8, "labels": 1}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": {"object_countin": 3}}, "unknown question type 'object_countin'; did you mean 'object_counting'"),
        ({"source": {"name": "vsi_metdata"}}, "did you mean 'vsi_metadata'"),
        ({"source": {"path": "x"}}, "source: expected a group of settings with a name"),
        ({"source": {"name": "vsi_metadata", "pth": "x"}}, "unknown setting 'pth'; did you mean 'path'"),
        ({"audit": {"limits": {"object_size": 0.5}}}, "'object_size' is not among .* 'object_size_estimation'"),
        ({"types": {"object-counting": 3, "object_counting": 2}}, "named twice"),
        ({"profile": "vsii"}, "unknown question profile 'vsii'; did you mean 'vsi'"),
    ],
)
def test_wrong_names_are_one_line_with_a_suggestion(made, tmp_path, changes, message):
    _, source = made
    with pytest.raises(UserError, match=message) as caught:
        make(recipe(source, **changes), tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fames": 3}, "unknown setting 'fames'; did you mean 'frames'"),
        ({"walk": {"fsp": 3}}, "unknown setting 'walk.fsp'; did you mean 'fps'"),
        ({"frames": "many"}, 'frames: .* got "many"'),
        ({"splits": {"train": 0.5}}, "sum to 1"),
        ({"types": {"object_counting": 0}}, "1 item or more"),
    ],
)
def test_wrong_settings_name_the_key(made, changes, message):
    _, source = made
    with pytest.raises(SettingsError, match=message):
        recipe(source, **changes)


def test_two_processes_do_not_share_a_folder(made, tmp_path, monkeypatch):
    _, source = made
    real = shards.make_shard

    def nested(job: Any, scene_id: str) -> None:
        with pytest.raises(UserError, match="is being written by process"):
            make(recipe(source), tmp_path / "set")
        real(job, scene_id)

    monkeypatch.setattr("allocentric.datasets.make.make_shard", nested)
    make(recipe(source), tmp_path / "set")


def test_chat_files(made, tmp_path):
    _, source = made
    chat = [{"format": "sharegpt"}, {"format": "llava", "name": "for_llava"}, {"format": "openai"}]
    make(recipe(source, chat=chat, answer="rationale"), tmp_path / "set")
    lines = {
        name: [json.loads(line) for line in (tmp_path / "set" / "chat" / f"train.{name}.jsonl").open()]
        for name in ("sharegpt", "for_llava", "openai")
    }
    items = load_set(tmp_path / "set", "train")
    for name in lines:
        assert [line["id"] for line in lines[name]] == [item.id for item in items]
    turns = lines["sharegpt"][0]["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "gpt"]
    assert "<answer>" in turns[1]["value"]
    assert lines["openai"][0]["messages"][1]["content"] == turns[1]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_sigkill_at_any_point_and_the_same_set(
    write_rooms: Callable[[Path, int], Path], tmp_path: Path, workers: int
) -> None:
    """A real process, killed after 0.3, 0.6 ... seconds of work until one run gets through."""
    source = write_rooms(tmp_path, 40)
    small = recipe(source)
    make(small, tmp_path / "undisturbed")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from allocentric.core.config import settings_from_mapping
        from allocentric.datasets.make import make
        from allocentric.datasets.recipe import MakeRecipe
        if __name__ == "__main__":
            recipe = settings_from_mapping(MakeRecipe, {small.model_dump(mode="json")!r}, where="test")
            print("begin", flush=True)
            make(recipe, Path({str(tmp_path / "killed")!r}), workers={workers})
        """)
    )
    kills = 0
    for attempt in range(1, 60):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert process.wait(timeout=0.3 * attempt) == 0
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            assert not (tmp_path / "killed" / "README.md").exists() or load_set(tmp_path / "killed")
    assert kills >= 2
    assert_same_folders(tmp_path / "undisturbed", tmp_path / "killed")
    time.sleep(0.5)
    group = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).stdout
    assert not group, "workers outlived their parent"
