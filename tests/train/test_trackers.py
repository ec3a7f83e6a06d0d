"""Trackers: curves and answers reach them, below the run folder; an absent one is named with its command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.core.errors import MissingPackageError
from allocentric.train.run import train


def absent(name: str) -> bool:
    return importlib.util.find_spec(name) is None


def history(file: Path) -> list[dict[str, Any]]:
    """The rows of a run that wandb wrote offline."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(file))
    rows = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            )
    return rows


@pytest.mark.slow
def test_wandb_writes_curves_and_answers_below_the_run_folder(
    recipe_of: Any, items_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    torch.set_num_threads(1)
    held_out = {"data": {"items": str(items_file), "kinds": ["counting"], "frames": {"count": 1}}, "every": 2,
                "max_new_tokens": 2}  # fmt: skip
    recipe = recipe_of("sft", data={"kinds": ["color"]}, held_out=held_out, tracker={"name": "wandb"}, steps=2)
    folder = train(recipe, tmp_path).folder
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert file.name == f"run-{folder.name}.wandb"
    rows = history(file)
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) == 2
    assert sum("held_out/score" in key for row in rows for key in row) >= 2
    tables = sorted(folder.glob("wandb/offline-run-*/files/media/table/held_out/answers_*.table.json"))
    assert len(tables) == 2  # before the first step and after the last
    table = json.loads(tables[0].read_text())
    assert table["columns"] == ["item", "kind", "text", "gold", "score"]
    assert [row[0] for row in table["data"]] == [f"item-{k}" for k in range(4, 8)]


@pytest.mark.slow
@pytest.mark.skipif(absent("tensorboard"), reason="tensorboard is not installed")
def test_tensorboard_writes_below_the_run_folder(recipe_of: Any, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = train(recipe_of("sft", tracker={"name": "tensorboard"}, steps=2), tmp_path).folder
    assert list(folder.rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("name", ["trackio", "tensorboard"])
def test_an_absent_tracker_is_named_with_its_command(
    name: str, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted, *rest: None if wanted == name else found(wanted, *rest)
    )
    with pytest.raises(
        MissingPackageError, match=rf"tracker: \{{name: {name}\}} needs the package .* pip install {name}"
    ):
        train(recipe_of("sft", tracker={"name": name}), tmp_path)
    assert not list(tmp_path.iterdir())
