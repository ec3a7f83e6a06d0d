"""Loading published records: every bad input is one line that names the row."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.core.pictures import picture
from allocentric.core.types import Choice, Unreadable
from allocentric.eval.benchmarks import vsr
from allocentric.eval.benchmarks._media import media_folder
from allocentric.eval.benchmarks._published import PublishedBenchmark, row_digest
from allocentric.eval.benchmarks._sources import Source, read_records
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.report import write_report
from allocentric.eval.run import evaluate

Load = Callable[..., PublishedBenchmark]


def caption(k: int = 1, **changes: Any) -> dict[str, Any]:
    record = {"image": f"{k}.jpg", "caption": f"The cup {k} is on the table.", "label": k % 2, "relation": "on"}
    return record | changes


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(*records: dict[str, Any], **settings: Any) -> PublishedBenchmark:
        (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
        return vsr.build(vsr.Settings(dataset=str(tmp_path), **settings))

    return loaded


def refused(benchmark: PublishedBenchmark, match: str, kind: type[UserError] = DataError) -> None:
    with pytest.raises(kind, match=match) as failure:
        benchmark.items()
    assert "\n" not in str(failure.value)


# ------------------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "test record 1 lacks the field 'label'"),
        ({"label": 2}, "test record 1 field 'label': expected 0 or 1, got 2"),
        ({"label": "maybe"}, "test record 1 field 'label': expected a number, got 'maybe'"),
        ({"caption": " "}, "test record 1 field 'caption': expected text"),
        ({"image": "../../secret.jpg"}, "test record 1: '../../secret.jpg' can't be the path"),
        ({"image": "/etc/passwd"}, "can't be the path"),
    ],
)
def test_a_wrong_record_is_named(load: Load, change: dict[str, Any], message: str) -> None:
    refused(load(caption(), caption(2, **change)), message)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    def open_file(name: str, content: bytes) -> PublishedBenchmark:
        (tmp_path / name).write_bytes(content)
        return vsr.build(vsr.Settings(dataset=str(tmp_path / name)))

    refused(open_file("a.jsonl", json.dumps(caption()).encode() + b'\n{"image": "x'), "line 2 is not JSON")
    refused(open_file("a.json", b'[{"image": "x"'), "is not JSON")
    refused(open_file("b.json", b"[1]"), "record 0: expected one JSON object, got int")
    refused(open_file("c.jsonl", b"\xff\xfe\x00"), "not UTF-8 text")
    refused(open_file("d.parquet", b"PAR1 no"), "can't read")
    refused(open_file("e.csv", b"image,caption,label\nx,one, two,1\n"), "record 0: expected 3 columns.*needs quotes")
    refused(vsr.build(vsr.Settings(dataset=str(tmp_path / "absent"))), "no such file or folder")
    refused(vsr.build(vsr.Settings()), "these records are on no hub: get github")
    refused(vsr.build(vsr.Settings(dataset=str(tmp_path))), "expected test.jsonl or zeroshot_test.jsonl, found none")


def test_formats_are_equal(load: Load, tmp_path: Path) -> None:
    import csv

    import pyarrow as pa
    from pyarrow import parquet

    records = [caption(1), caption(2, caption='He said "two, three".')]
    expected = load(*records).fingerprint()["sha256"]
    (tmp_path / "x").mkdir()
    parquet.write_table(pa.Table.from_pylist(records), tmp_path / "x" / "test.parquet")
    (tmp_path / "x" / "test.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(records, indent=1).encode())
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        with (tmp_path / "x" / f"test.{suffix}").open("w", newline="") as file:
            table = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
            table.writeheader()
            table.writerows(records)
    for suffix in ("parquet", "json", "csv", "tsv"):
        found = vsr.build(vsr.Settings(dataset=str(tmp_path / "x" / f"test.{suffix}")))
        assert found.fingerprint()["sha256"] == expected, suffix


def test_an_id_must_not_repeat(tmp_path: Path) -> None:
    from allocentric.eval.benchmarks import spatialbench

    record = dict(spatialbench.DEFINITION.examples[0])
    path = tmp_path / "QA.json"
    path.write_text(json.dumps([record, record]))
    refused(spatialbench.build(spatialbench.Settings(dataset=str(path))), "the id 1 occurs twice")


# ---------------------------------------------------------------------------------------------------------------- hub


def test_a_branch_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*names: str, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append((*names, split, revision))
        return [caption()]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    source = Source(repository="some/set", files=("*.json",), config="short", split="val")
    for revision in (None, "main", "abc1234"):
        with pytest.raises(DataError, match="40-digit commit as `revision`"):
            read_records("some/set", source, revision=revision)
    records, where = read_records("some/set", source, revision="a" * 40)
    assert asked == [("some/set", "short", "val", "a" * 40)]
    assert where == "some/set@aaaaaaa"
    assert (records[0]["_file"], records[0]["_row"]) == ("val", 0)


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach the hub\nwith details")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"\(Couldn't reach the hub\); download it"):
        read_records("some/set", Source(repository="some/set", files=()), revision="a" * 40)


def test_pictures_of_the_hub_stay_compressed(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    rows = [{"image": {"bytes": encoded.getvalue(), "path": None}, "images": [{"bytes": encoded.getvalue()}]}]
    features = datasets.Features({"image": datasets.Image(), "images": datasets.List(datasets.Image())})
    table = datasets.Dataset.from_list(rows, features=features)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: table)
    record = read_records("some/set", Source(repository="some/set", files=()), revision="a" * 40)[0][0]
    assert isinstance(record["image"]["bytes"], bytes)
    assert isinstance(record["images"][0]["bytes"], bytes)
    from allocentric.eval.benchmarks._media import Media

    for image in (record["image"], record["images"][0]):
        view = Media(None).view(image, "here")
        assert view is not None
        assert np.array_equal(picture(view), pixels)
    broken = Media(None).view({"bytes": b"no picture"}, "row 3")
    assert broken is not None
    with pytest.raises(DataError, match="row 3: its picture is damaged"):
        picture(broken)


# ---------------------------------------------------------------------------------------------- subsets and other data


def test_a_list_of_ids_is_pinned(load: Load, tmp_path: Path) -> None:
    records = [caption(k) for k in range(1, 5)]
    items = load(*records).items()
    path = tmp_path / "ids.txt"

    def listed(text: str, sha256: str | None = "its own") -> PublishedBenchmark:
        path.write_text(text)
        actual = hashlib.sha256(text.encode()).hexdigest()
        return load(*records, ids=path, ids_sha256=actual if sha256 == "its own" else sha256)

    chosen = listed(f"{items[2].id} {row_digest(items[2])}\n{items[0].id}\n").items()
    assert [item.id for item in chosen] == [items[0].id, items[2].id]
    refused(listed("test/0\n", None), "ids needs ids_sha256.*has [0-9a-f]{64}", SettingsError)
    refused(listed("test/0\n", "0" * 64), "is another list: expected SHA-256 0000")
    refused(listed("test/0\ntest/9\n"), "line 2: the data has no item 'test/9'")
    refused(listed("test/0\ntest/0\n"), "line 2: the item 'test/0' is listed twice")
    refused(listed(f"test/0 {row_digest(items[1])}\n"), "line 1: the item 'test/0' has changed")


def test_changed_data_is_refused(load: Load) -> None:
    sha256 = load(caption(1), caption(2)).fingerprint()["sha256"]
    assert len(load(caption(1), caption(2), sha256=sha256, row_count=2).items()) == 2
    refused(load(caption(1), caption(2, label=1), sha256=sha256), "the items have SHA-256 .*, expected")
    refused(load(caption(1), row_count=2), "expected 2 records, found 1; the data changed")


def test_published_counts_are_checked_where_the_whole_set_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from allocentric.eval.benchmarks import viewspatial

    rows = [dict(row) for row in viewspatial.DEFINITION.examples]
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    benchmark = viewspatial.build(viewspatial.Settings(revision="a" * 40))
    refused(benchmark, "expected the published 1773 questions .* pin another revision")


def test_kinds_are_checked() -> None:
    with pytest.raises(SettingsError, match="did you mean 'caption'"):
        vsr.build(vsr.Settings(kinds=("captions",)))
    with pytest.raises(SettingsError, match="ids_sha256 is given without ids"):
        vsr.build(vsr.Settings(ids_sha256="0"))


# -------------------------------------------------------------------------------------------------------------- media


def write_zip(path: Path, members: dict[str, bytes], *, link: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link is not None:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize("name", ["../escaped.jpg", "/tmp/escaped.jpg", "a/../../escaped.jpg", "..\\escaped.jpg"])
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    archive = write_zip(tmp_path / "in" / "media.zip", {"1.jpg": b"x", name: b"x"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="leads out of the folder"):
        media_folder(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_and_damaged_zips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"member 'link\.jpg' is a link"):
        media_folder(write_zip(tmp_path / "links.zip", {}, link="link.jpg"))
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="can't unpack"):
        media_folder(tmp_path / "broken.zip")
    with pytest.raises(DataError, match="no such folder or zip"):
        media_folder(tmp_path / "absent")
    assert not list(tmp_path.glob("**/.*partial"))


def test_a_zip_is_unpacked_once_and_missing_pictures_are_counted(load: Load, tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (4, 4)).save(encoded, format="JPEG")
    archive = write_zip(tmp_path / "pictures.zip", {"1.jpg": encoded.getvalue()})
    item = load(caption(1), media=archive).items()[0]
    assert item.views[0].image == tmp_path / "pictures" / "1.jpg"
    refused(load(caption(1), caption(2), media=archive), r"missing .*2\.jpg \(1 of 2 are missing\)")
    assert load(caption(1)).items()[0].views == ()


# ------------------------------------------------------------------------------------------------------------ profiles


def test_the_system_prompt_comes_from_a_file_and_is_named(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "official.txt"
    path.write_text("You look closely.\n")
    benchmark = load(caption(), system_prompt=path)
    text = benchmark.prompt_text(benchmark.items()[0], benchmark.profiles[0])
    assert text.startswith("You look closely.\nThe cup 1 is on the table.")
    digest = hashlib.sha256(b"You look closely.\n").hexdigest()[:16]
    assert benchmark.fingerprint()["system_prompt"] == f"official.txt sha256 {digest}"


def test_published_captions_load_and_score(shared_data: Path) -> None:
    benchmark = vsr.build(vsr.Settings(dataset=str(shared_data / "vsr")))
    items = benchmark.items()
    assert len(items) == 1222
    assert benchmark.fingerprint()["row_count"] == benchmark.fingerprint()["published_row_count"]
    yes, no = (benchmark.score(items[0], text, benchmark.profiles[0]) for text in ("Yes.", "no, it is not"))
    assert (yes.value, no.value, yes.chance) == (1.0, 0.0, 0.5)
    both = benchmark.score(items[0], "yes and no", benchmark.profiles[0])
    assert both.answer == Unreadable("says both yes and no")
    assert items[1].gold == Choice(1)
    with pytest.raises(SettingsError, match="has no profile"):
        benchmark.score(items[0], "yes", "official")


def test_published_scores_stand_in_the_results_and_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(vsr.DEFINITION.examples[0]) + "\n")
    values = {"name": "t", "benchmark": {"name": "vsr", "dataset": str(tmp_path)}, "frames": {"count": 0}}
    result = evaluate(settings_from_mapping(EvalRecipe, values, where="test"), tmp_path / "runs")
    found = json.loads((result.folder / "results.json").read_text())["published"]
    assert found[0] == {
        "name": "human", "overall": 95.4, "cells": {}, "subset": "full", "scorer": "official", "source": "TACL 2023",
        "note": "",
    }  # fmt: skip
    assert [row["name"] for row in found] == [row.name for row in vsr.DEFINITION.published]
    assert "<td>LXMERT</td>" in write_report(result.folder).read_text()
