"""Honesty checks: rows that mean what they say, resumed and never asked twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest

from allocentric.core import config
from allocentric.core.catalog import BENCHMARKS, HONESTY, MODELS, Catalog
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import UserError
from allocentric.core.runlog import read_samples
from allocentric.core.types import Choice, Item, Prompt, Response
from allocentric.eval.aggregation import Nested, aggregate
from allocentric.eval.frames import load_views, pixel_digest
from allocentric.eval.honesty._options import movable, moved
from allocentric.eval.honesty.circular import Circular, asked_as
from allocentric.eval.honesty.rows import check_run, read_checks
from allocentric.eval.honesty.text_classifier import answers
from allocentric.eval.recipe import EvalRecipe, plan
from allocentric.eval.report import write_report
from allocentric.eval.run import evaluate
from allocentric.eval.tables import honesty
from allocentric.eval.wording import worded


class Settings(config.Settings):
    knows: str = "letters"


class Pupil:
    """Knows the published letters by heart, or the answers, or answers only what it is shown pictures of."""

    name = "pupil"
    asked: list[str] = []  # noqa: RUF012  shared by all builds, so that a test counts every call

    def __init__(self, settings: Settings, letters: dict[str, str]) -> None:
        self.settings, self.letters = settings, letters

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        return [self._answer(prompt) for prompt in batch]

    def _answer(self, prompt: Prompt) -> Response:
        Pupil.asked.append(prompt.item_id)
        if self.settings.knows == "frames":  # how many it sees; no check may be fooled by more of the same
            return Response(text="A" if len(prompt.views) % 8 else "B")
        return Response(text=self.letters[asked_as(prompt.item_id)])


@pytest.fixture
def pupil(fake, monkeypatch):
    """A model backend "pupil" that remembers the published letters of the fake benchmark with 8 scenes."""
    gold = {i.id: i.gold for i in fake.build(fake.Settings(scenes=8)).items()}
    letters = {key: chr(65 + g.index) if isinstance(g, Choice) else str(g.value) for key, g in gold.items()}
    module = SimpleNamespace(Settings=Settings, build=lambda settings, *, items: Pupil(settings, letters))
    load, resolve = Catalog.load, Catalog.resolve
    monkeypatch.setattr(Catalog, "load", lambda s, n: module if s is MODELS and n == "pupil" else load(s, n))
    monkeypatch.setattr(Catalog, "resolve", lambda s, n: n if s is MODELS and n == "pupil" else resolve(s, n))
    Pupil.asked.clear()
    return Pupil


@pytest.fixture
def checked(recipe, tmp_path, pupil):
    """Runs a recipe with its checks: checked(models=...) -> rows by check and model, folder."""

    def run(**values):
        models = [{"name": "scripted", "policy": "oracle"}, {"name": "pupil"}]
        asked = recipe(benchmark={"scenes": 8}, **{"models": models, **values})
        folder = evaluate(asked, tmp_path / "runs").folder
        rows = check_run(asked, folder)
        return {(row["check"], row.get("model")): row for row in rows}, folder, asked

    return run


def test_every_check_is_a_row_of_every_model(checked):
    rows, folder, _ = checked()
    assert {check for check, _ in rows} == {*HONESTY.names(), "text_only_classifier"}
    for name in HONESTY.names():
        assert rows[name, "oracle"]["overall"]["score"] == pytest.approx(100), name
        assert rows[name, "oracle"]["difference"] == pytest.approx(0), name
    assert json.loads((folder / "checks.json").read_text())["checks"] == read_checks(folder)
    table = honesty(read_checks(folder))
    assert len(table[1]) == len(rows)
    assert "Is it the pictures?" in write_report(folder).read_text()


def test_known_letters_fall_where_options_move(checked):
    """The pupil has every published letter by heart: perfect plain and blind, no letter is right once moved."""
    rows, _, _ = checked()
    assert rows["blind", "pupil"]["overall"]["score"] == pytest.approx(100)
    for name in ("shuffled_options", "circular"):
        row = rows[name, "pupil"]
        assert (row["plain"], row["n"], row["changed"]) == (100, 48, 32)
        assert row["cells"]["size"]["score"] == pytest.approx(100)  # numbers have nothing to move
        assert row["difference"] < 0
        assert row["high"] < 0
        assert row["p"] <= row["p_holm"] <= 0.05
    assert rows["circular", "pupil"]["cells"]["direction"]["score"] == 0
    assert rows["circular", "pupil"]["overall"]["n"] == 48


def test_repeated_frames_are_noticed(checked):
    """Four frames are shown, eight when repeated: a model that counts them changes every letter."""
    rows, folder, _ = checked(models=[{"name": "pupil", "knows": "frames"}])
    assert rows["repeated_video", "pupil"]["difference"] != 0
    (run,) = (folder / "checks").glob("repeated_video-*")
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert {tuple(line["frames"]["indices"]) for line in lines} == {(0, 1, 2, 3, 0, 1, 2, 3)}


def test_frames_of_a_video_file_are_repeated(tmp_path, pupil, recipe):
    """Four frames of an mp4 twice: the indices and the digest of the pixels say so, and both halves show the same."""
    video = tmp_path / "videos" / "scannet" / "s.mp4"
    video.parent.mkdir(parents=True)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(20):
            pixels = np.full((48, 64, 3), 12 * k, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    options = ["A. left", "B. right"]
    rows = [
        {"id": k, "dataset": "scannet", "scene_name": "s", "question_type": "route_planning", "options": options}
        | {"question": f"Where? {k}", "ground_truth": "AB"[k % 2]}
        for k in range(4)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = {"name": "vsi_bench", "dataset": str(tmp_path / "q.jsonl"), "partial": True}
    benchmark["video_dir"] = str(tmp_path / "videos")
    asked = settings_from_mapping(
        EvalRecipe,
        {"name": "v", "benchmark": benchmark, "models": [{"name": "pupil", "knows": "frames"}], "replicates": 100}
        | {"frames": {"count": 4}},
        where="test",
    )
    folder = evaluate(asked, tmp_path / "runs").folder
    rows = {row["check"]: row for row in check_run(asked, folder, checks=["repeated_video", "single_frame"])}
    assert rows["repeated_video"]["changed"] == 4
    assert rows["repeated_video"]["overall"]["score"] == 50  # eight frames: B every time, four frames: A every time
    plain, twice, one = (
        read_samples(next((folder / "checks").glob(name)) if name else folder)
        for name in ("", "repeated_video-*", "single_frame-*")
    )
    shown = [{tuple(line["frames"]["indices"]) for line in lines.values()} for lines in (plain, twice, one)]
    assert shown == [{(0, 6, 12, 19)}, {(0, 6, 12, 19, 0, 6, 12, 19)}, {(0,)}]
    views = [load_views(plan(asked).items[0], indices) for indices in ((0, 6, 12, 19), (0, 6, 12, 19, 0, 6, 12, 19))]
    assert all(np.array_equal(a.image, b.image) for a, b in zip([*views[0], *views[0]], views[1], strict=True))
    assert {line["frames"]["pixels"] for line in twice.values()} == {pixel_digest(views[1])}


def test_finished_checks_ask_nothing_and_unchanged_questions_are_never_asked_again(checked, pupil):
    _, folder, asked = checked(models=[{"name": "pupil"}])
    # plain and blind, single frame, repeated: 48 each; shuffled 32; circular: one more for two options, three for four
    assert len(pupil.asked) == 4 * 48 + 32 + 16 * 1 + 16 * 3
    before = read_checks(folder)
    pupil.asked.clear()
    assert check_run(asked, folder) == before
    assert pupil.asked == []


def test_a_check_that_died_continues(checked, pupil):
    _, folder, asked = checked(models=[{"name": "pupil"}])
    before = read_checks(folder)
    (run,) = (folder / "checks").glob("blind-*")
    lines = (run / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (run / "samples.jsonl").write_bytes(b"".join(lines[:-5]))
    (run / "results.json").unlink()
    pupil.asked.clear()
    assert check_run(asked, folder) == before
    assert len(pupil.asked) == 5


def test_a_check_that_changes_nothing_says_why(checked):
    rows, _, _ = checked(frames={"count": 0})
    assert "blind already" in rows["blind", None]["not_applicable"]
    assert "no pictures" in rows["repeated_video", None]["not_applicable"]


def test_checks_of_checks_and_of_nothing_are_refused(recipe, tmp_path):
    with pytest.raises(UserError, match="is the check 'blind' itself"):
        check_run(recipe(check="blind"), tmp_path)
    with pytest.raises(UserError, match="names no models"):
        check_run(recipe(models=[]), tmp_path)
    with pytest.raises(UserError, match="unknown honesty check 'blnd'; did you mean 'blind'"):
        plan(recipe(check="blnd"))


def test_moved_options_are_found_in_lists_and_in_the_question():
    item = Item(
        id="1", kind="k", prompt="Which? A. red B. blue C. green", choices=("red", "blue", "green"), gold=Choice(2),
        scene_id="s", source="t", extra={"options": ["A. red", "B. blue", "C. green"], "ground_truth": "C"},
    )  # fmt: skip
    turned = moved(item, [2, 0, 1])
    assert turned.prompt == "Which? A. green B. red C. blue"
    assert turned.choices == ("green", "red", "blue")
    assert turned.gold == Choice(0)
    assert turned.extra == {"options": ["A. green", "B. red", "C. blue"], "ground_truth": "A"}
    back = moved(turned, [1, 2, 0])
    assert (back.prompt, back.choices, back.gold, back.extra) == (item.prompt, item.choices, item.gold, item.extra)


@pytest.mark.parametrize(
    "choices",
    [("left", "none of the above"), ("x", "A and B"), ("y", "All of the above"), ("same", "same"), ("only",)],
)
def test_options_that_speak_of_each_other_stay(fake, choices):
    item = Item(id="1", kind="direction_easy", prompt="?", choices=choices, gold=Choice(0), scene_id="s", source="t")
    assert not movable(fake.build(fake.Settings()), item)


def test_circular_average_is_that_of_the_worst_rotation(fake):
    """Against a plain average over published items of the minimum, computed by hand."""
    rng = np.random.default_rng(0)
    published = fake.build(fake.Settings(scenes=4))
    base = [item for item in published.items() if item.choices]
    items = [
        item if k == 0 else replace(item, id=f"{item.id}@rotation-{k}")
        for item in base
        for k in range(len(item.choices))
    ]
    values = rng.integers(0, 2, len(items)).astype(float)
    worst = [min(v for one, v in zip(items, values, strict=True) if asked_as(one.id) == item.id) for item in base]
    circular = Circular(published, items)
    expected = aggregate(Nested(cells=published.cells, partial=True), base, np.array(worst))
    assert aggregate(circular.composite, items, values) == pytest.approx(expected)
    two = next(item for item in base if len(item.choices) == 2)
    assert circular.chance(two) == 0.25


def test_the_text_classifier_learns_a_giveaway_and_not_noise():
    """Options with a tell are found on scenes it has not trained on; without one it stays near chance."""
    rng = np.random.default_rng(1)

    def items(tell):
        made = []
        for k in range(300):
            gold = int(rng.integers(3))
            texts = [f"place {rng.integers(1000)}" for _ in range(3)]
            if tell:
                texts[gold] = "on the old sofa"
            made.append(
                Item(id=str(k), kind="k", prompt=f"Where is thing {rng.integers(9)}?", choices=tuple(texts),
                     gold=Choice(gold), scene_id=f"s{k % 40}", source="t")
            )  # fmt: skip
        return made

    def share(made):
        said = answers(made)
        return np.mean([said[item.id] == item.gold for item in made])

    assert share(items(True)) > 0.95
    assert share(items(False)) == pytest.approx(1 / 3, abs=0.09)


def test_answers_are_worded_as_the_profile_reads_them(shared_data):
    """VSR asks for yes or no; a letter would be unreadable, and its options are not lettered, so they stay."""
    module = BENCHMARKS.load("vsr")
    benchmark = module.build(module.Settings(dataset=str(shared_data / "vsr")))
    items = benchmark.items()[:50]
    for profile in benchmark.profiles:
        texts = [worded(benchmark, item, item.gold, profile) for item in items]
        assert all(benchmark.score(item, text, profile).value == 1 for item, text in zip(items, texts, strict=True))
    assert not any(movable(benchmark, item) for item in items)
