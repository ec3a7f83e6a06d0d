"""Known traps of published scorers and harnesses, one test each: kept by name where published, absent where ours."""

from __future__ import annotations

import ast
import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.agents.actions_text import HeadAction, parse_action
from allocentric.core.catalog import BENCHMARKS
from allocentric.core.config import resolved, settings_from_mapping, settings_hash
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.scoring import MRA_RULES, mean_relative_accuracy
from allocentric.core.types import Choice, Item, Number, Response, Text, Unreadable, View
from allocentric.envs.panorama.protocols import HstarV1, StrictV1, Verdict
from allocentric.envs.panorama.tasks import Annotation, Task
from allocentric.envs.panorama.views import ViewGeometry
from allocentric.eval.aggregation import aggregate
from allocentric.eval.benchmarks import (
    _vsi_published,
    _vsi_records,
    blink,
    cv_bench,
    hstar_bench,
    lv_haystack,
    mindcube_tiny,
    mmsi_bench,
    ost_bench,
    q_spatial,
    sat_real,
    sibench,
    site_bench,
    spar_bench,
    spatialbench,
    spbench,
    stare,
    tempcompass,
    threedsrbench,
    topviewrs,
    viewspatial,
    vlm4d,
    vsi_bench,
    vsi_super_count,
    vsi_super_recall,
    vsr,
    vsti_bench,
)
from allocentric.eval.benchmarks._profiles import STRICT
from allocentric.eval.benchmarks._published import PublishedBenchmark
from allocentric.eval.frames import FramesPolicy, choose_frames
from allocentric.eval.recipe import EvalRecipe, contestant, item_digest, plan
from allocentric.eval.results import Bootstrap, score_row, summaries
from allocentric.eval.run import evaluate

from .conftest import Open, published_modules

OFFICIAL, LMMS_EVAL, VLMEVALKIT = vsi_bench.VsiBench.profiles


def item(choices: str = "", gold: Any = None, kind: str = "kind", **extra: Any) -> Item:
    texts = tuple(f"option {letter}" for letter in choices)
    return Item(
        id=str(extra.pop("id", kind)), kind=kind, prompt="?", choices=texts, gold=gold or Choice(0),
        scene_id=str(extra.pop("scene", "scene")), source="test", extra=extra,
    )  # fmt: skip


def reads(benchmark: Any, profile: int, text: str, one: Item) -> Any:
    return benchmark.DEFINITION.profiles[profile].read(text, one)


def vsi(tmp_path: Path, *records: dict[str, Any], **settings: Any) -> vsi_bench.VsiBench:
    path = tmp_path / "vsi.jsonl"
    base = {"dataset": "scannet", "scene_name": "scene0000_00", "question": "?", "options": None}
    path.write_text("".join(json.dumps({"id": k, **base, **record}) + "\n" for k, record in enumerate(records)))
    return vsi_bench.build(vsi_bench.Settings(dataset=str(path), **settings))


def count_of(truth: str) -> dict[str, Any]:
    return {"question_type": "object_counting", "ground_truth": truth}


# ---------------------------------------------------------------------------------------------------------------- MRA


def test_trap_01_four_comparisons_of_mean_relative_accuracy_differ() -> None:
    worth = {name: [rule.of(p, t) for t, p in ((2, 1), (4, 3), (4, 5), (10, 9))] for name, rule in MRA_RULES.items()}
    assert worth["vsi"] == [0.1, 0.6, 0.6, 0.9]
    assert worth["ost"] == worth["sibench"] == worth["spatialbench"] == [0.0, 0.5, 0.5, 0.8]
    assert worth["paper"][3] == 0.9
    for target, prediction in ((20, 19), (100, 95)):
        assert MRA_RULES["vsi"].of(prediction, target) == 1.0
        assert MRA_RULES["sibench"].of(prediction, target) == 0.9


def test_trap_02_the_rounding_of_floats_is_kept() -> None:
    for target, prediction in ((5, 4), (5, 6), (10, 8), (10, 12)):
        exact = sum(
            abs(Fraction(prediction - target)) / target <= 1 - (Fraction(1, 2) + Fraction(k, 20)) for k in range(10)
        )
        assert exact == 7
        assert mean_relative_accuracy(float(prediction), target) == 0.6


def test_trap_03_a_truth_of_zero(tmp_path: Path) -> None:
    benchmark = vsi(tmp_path, count_of("0"))
    zero = benchmark.items()[0]
    assert benchmark.score(zero, "0.3", OFFICIAL).value is None  # the published code divides by zero
    assert benchmark.score(zero, "0.3", VLMEVALKIT).value == 0.5  # by absolute error
    spar = spar_bench.DEFINITION.profiles[0]
    assert spar.worth(Number(0.3, "m"), item(gold=Number(0.0, "m"), kind="depth_prediction_oc")) == 0.5


def test_trap_04_no_number_is_worth_nothing_except_in_streams(tmp_path: Path) -> None:
    benchmark = vsi(tmp_path, count_of("4"))
    for text in ("nan", "none", ""):
        assert benchmark.score(benchmark.items()[0], text, OFFICIAL).value == 0
    official, strict = (vsi_super_count.DEFINITION.profiles[index] for index in (0, 2))
    batch = item(gold=Number(4.0), kind="10mins")
    assert official.score(batch, "many", None).value == 0
    stream = item(gold=Text("[4, 8]"), kind="10mins_streaming", answers=[4.0, 8.0])
    assert official.score(stream, '[null, "?"]', None).value == 1  # the published error of an exception is 0
    assert strict.score(stream, '[null, "?"]', None).value == 0


@pytest.mark.parametrize("name", vsi_super_count.build(vsi_super_count.Settings()).profiles)
def test_streaming_counts_are_given_away_by_the_published_profiles_alone(name: str) -> None:
    """A right count of 0, a value that is none, a list cut short: worth full marks to the published code only."""
    profile = next(one for one in vsi_super_count.DEFINITION.profiles if one.name == name)
    published = name != STRICT
    zero = item(gold=Text("[0, 4]"), kind="10mins_streaming", answers=[0.0, 4.0])
    worth = {text: profile.score(zero, text, None).value for text in ("[7, 4]", "[0, 4]", '["?", 4]', "[7]", "[0, 9]")}
    assert worth["[0, 4]"] == 1.0
    assert worth["[7, 4]"] == worth['["?", 4]'] == (1.0 if published else 0.5)
    assert worth["[7]"] == (1.0 if published else 0.0)
    assert worth["[0, 9]"] == 0.5
    assert bool(profile.defects) == published
    batch = item(gold=Number(0.0), kind="10mins")
    assert profile.score(batch, "7", None).value == 0.0


def test_trap_05_negative_predictions_fail() -> None:
    assert [rule.of(-3, 3) for rule in MRA_RULES.values()] == [0] * len(MRA_RULES)


# --------------------------------------------------------------------------------------------------------- extraction


def test_a_negative_truth_passes_everything_in_one_scorer() -> None:
    closer = item(gold=Number(-0.5, "m"), kind="camera_obj_dist_change")
    published, strict = vsti_bench.DEFINITION.profiles
    assert [published.score(closer, text, None).value for text in ("99", "-0.5", "far")] == [1, 1, 0]
    assert [strict.score(closer, text, None).value for text in ("99", "-0.5")] == [0, 1]
    assert published.score(item(gold=Number(0.0, "m"), kind="camera_displacement"), "1", None).value is None


def test_trap_06_the_first_token_has_to_be_the_answer(tmp_path: Path) -> None:
    chosen = {"question_type": "route_planning", "options": ["A. left", "B. right"], "ground_truth": "A"}
    benchmark = vsi(tmp_path, chosen, count_of("3"))
    choice, number = benchmark.items()

    def right(text: str, one: Item) -> bool:
        return benchmark.score(one, text, OFFICIAL).value == 1

    assert all(right(text, choice) for text in ("A", "a", "A.", "\nA", "A\n", "A. chair"))
    wrong = (" A", "A)", "(A)", "A: chair", "**A**", "The answer is A")
    assert not any(right(text, choice) for text in wrong)
    assert all(right(text, number) for text in ("3.", "3 m", "\n3"))
    assert not any(right(text, number) for text in ("3m", "~3", "three", "<answer>3</answer>"))


def test_trap_07_the_first_letter_of_a_sentence_is_no_answer() -> None:
    two = item("AB")
    for module in (blink, cv_bench):
        assert reads(module, 0, "(B) it is", two) == Choice(1)
        assert isinstance(reads(module, 0, "The answer is (B)", two), Unreadable)  # T
        assert reads(module, 0, "Based on the picture, A", two) == Choice(1)
        assert reads(module, 1, "The answer is (B)", two) == Choice(1)
        assert reads(module, 1, "Based on the picture, (A)", two) == Choice(0)


def test_trap_08_answer_in_capitals_holds_an_a() -> None:
    four = item("ABCD")
    assert reads(vsi_super_recall, 1, "The answer is B", four) == Choice(0)
    assert reads(vsi_super_recall, 2, "The answer is B", four) == Choice(1)


def test_trap_09_an_article_is_no_option() -> None:
    four = item("ABCD")
    assert reads(viewspatial, 0, "behind a chair, so D", four) == Choice(0)
    assert reads(viewspatial, 2, "It stands behind a chair, so D", four) == Choice(3)


def test_trap_10_the_last_letter_with_a_dot_wins() -> None:
    four = item("ABCD")
    text = "<answer>A. Above</answer> It can't be option B."
    assert reads(mindcube_tiny, 0, text, four) == Choice(1)
    assert reads(mindcube_tiny, 1, text, four) == Choice(0)


def test_trap_11_a_word_that_ends_in_a_letter() -> None:
    four = item("ABCD")
    assert reads(spatialbench, 0, "I think it is the red bed", four) == Choice(3)
    assert reads(spatialbench, 0, "Because it is there", four) == Choice(1)
    assert reads(spatialbench, 0, "It must be option C, I think", four) == Choice(2)
    assert reads(spatialbench, 0, "<|begin_of_box|>B<|end_of_box|>", four) == Choice(1)
    number = item(gold=Number(2.0), kind="room_size")
    assert reads(spatialbench, 0, "from 3 to 12.5 m", number) == Number(12.5)
    assert isinstance(reads(spatialbench, 1, "I think it is the red bed", four), Unreadable)


def test_trap_12_an_article_is_no_number() -> None:
    far = item(gold=Number(5.0, "m"), kind="object_abs_distance")
    text = "They are a distance of 5 m apart"
    assert reads(spbench, 0, text, far) == Number(1.0, "m")
    assert reads(spbench, 1, text, far) == Number(5.0, "m")


def test_trap_13_number_words_inside_words_and_a_guess_at_any_price() -> None:
    count = item(gold=Number(1.0), kind="Agent_visible_info-quantity(Counting)")
    for text in ("none", "a phone", "someone"):
        assert reads(ost_bench, 0, text, count) == Number(1.0)
    assert reads(ost_bench, 0, "3.0", count) == Number(3.0)
    assert isinstance(reads(ost_bench, 1, "3.0", count), Unreadable)
    judged = item("AB", kind="Agent_state-position(Judgement)")
    assert reads(ost_bench, 0, "qqq", judged) == Choice(0)
    assert isinstance(reads(ost_bench, 2, "qqq", judged), Unreadable)


def test_trap_14_not_sure_starts_with_no() -> None:
    asked = Item(
        id="1", kind="yes_no/speed", prompt="?", choices=("yes", "no"), gold=Choice(1), scene_id="v", source="test",
        extra={"form": "yes_no"},
    )  # fmt: skip
    assert reads(tempcompass, 0, "not sure", asked) == Choice(1)
    assert isinstance(reads(tempcompass, 1, "not sure", asked), Unreadable)


@pytest.mark.parametrize(
    ("form", "text", "index"),
    [
        ("multi-choice", "B", 1), ("multi-choice", "B. walking", 1), ("multi-choice", "B) he walks", 1),
        ("multi-choice", "B. I am sure", 1), ("multi-choice", "walking", None), ("multi-choice", "b", None),
        ("multi-choice", "The man is walking.", None), ("multi-choice", "D", None),
        ("caption_matching", "Sentence B: he sits", 1), ("caption_matching", "he sits", 1),
        ("caption_matching", "Sentence B.", 1), ("caption_matching", "(2) he sits", 1),
        ("caption_matching", "B", None),
    ],
)  # fmt: skip
def test_rules_of_tempcompass(form: str, text: str, index: int | None) -> None:
    options = {
        "multi-choice": ("A. running", "B. walking"),
        "caption_matching": ("Sentence A: he runs", "Sentence B: he sits"),
    }
    asked = Item(
        id="1", kind=f"{form}/speed", prompt="?", choices=options[form], gold=Choice(1), scene_id="v", source="test",
        extra={"form": form},
    )  # fmt: skip
    answer = reads(tempcompass, 0, text, asked)
    assert isinstance(answer, Unreadable) if index is None else answer == Choice(index)


def test_trap_15_because_is_no_b() -> None:
    six = item("ABCDEF")
    assert reads(lv_haystack, 0, "Because he left, C", six) == Choice(1)
    assert reads(lv_haystack, 1, "Because he left, C", six) == Choice(2)


def test_trap_16_thinking_hides_the_answer_from_first_token_scorers() -> None:
    text = "<think>A or B?</think>\nB"
    assert isinstance(reads(vsi_super_recall, 0, text, item("ABCD")), Unreadable)
    for module in published_modules():
        strict = [profile for profile in module.DEFINITION.profiles if profile.name == "strict@allocentric"]
        if strict and module not in (tempcompass, vsr, q_spatial):
            one = item("ABCD", kind=next(iter(module.DEFINITION.cells), "kind"), form="MCQ")
            assert strict[0].read(text, one) == Choice(1), module.DEFINITION.name


def test_trap_17_no_text_is_ever_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    number = item(gold=Number(2.0), form="Number")
    for profile in (0, 1):
        assert isinstance(reads(sibench, profile, "__import__('os').mkdir('ran')", number), Unreadable)
        assert isinstance(reads(sibench, profile, "4 - 2", number), Unreadable)
    assert not list(tmp_path.iterdir())
    for path in (Path(sibench.__file__).parent).glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not any(isinstance(call, ast.Name) and call.id in ("eval", "exec") for call in calls), path.name


# -------------------------------------------------------------------------------------------------------- aggregation


def averages(module: Any, kinds_and_values: list[tuple[str, float]]) -> dict[str, Any]:
    items = [item("AB", kind=kind, id=k) for k, (kind, _) in enumerate(kinds_and_values)]
    return aggregate(module.DEFINITION.composite, items, np.array([value for _, value in kinds_and_values]))


def test_trap_18_macro_is_not_micro() -> None:
    rows = [(task, 0.0) for task in blink.TASKS for _ in range(3)] + [("Counting", 1.0)] * 42
    found = averages(blink, rows)
    assert found["overall"] == pytest.approx((42 / 45) / 14)
    assert found["micro"] == 0.5


def test_trap_19_three_directions_are_one_cell() -> None:
    cells = {kind: cell for kind, cell in _vsi_records.CELLS.items() if cell == "object_rel_direction"}
    assert len(cells) == 3
    rows = [(kind, float(kind.endswith("easy"))) for kind in _vsi_records.CELLS]
    items = [item(kind=kind, id=kind) for kind, _ in rows]
    benchmark = vsi_bench.build(vsi_bench.Settings())
    found = aggregate(benchmark.composite, items, np.array([value for _, value in rows]))
    assert found["overall"] == pytest.approx(1 / 3 / 8)


def test_trap_20_five_groups_are_not_ten_types() -> None:
    rows = [(kind, float(kind.startswith("obj_obj"))) for kind in vsti_bench.CELLS]
    found = averages(vsti_bench, rows)
    assert len(rows) == 10
    assert (found["overall"], found["mean_of_types"]) == pytest.approx((1 / 5, 3 / 10))


def test_trap_21_the_mean_of_eight_cells() -> None:
    rows = [(kind, float("direction(Judgement" in kind)) for kind in ost_bench.CELLS]
    found = averages(ost_bench, rows)
    assert len(set(ost_bench.CELLS.values())) == 8
    assert found["AO(Judge)"] == pytest.approx((1 + 0) / 2)  # of two means over three subtypes each
    assert found["overall"] == pytest.approx(0.5 / 8)


def test_trap_22_translation_stays_outside() -> None:
    rows = [("among", 1.0), ("around", 0.0), ("rotation", 1.0), ("translation", 0.0), ("translation", 0.0)]
    found = averages(mindcube_tiny, rows)
    assert (found["overall"], found["translation"]) == (pytest.approx(2 / 3), 0)


@pytest.mark.parametrize(
    ("module", "text"),
    [(ost_bench, ""), (spatialbench, "  "), (stare, "no idea"), (lv_haystack, "")],
    ids=lambda x: "",
)
def test_trap_23_dropped_samples_are_counted_in_both_ways(module: Any, text: str, open_examples: Open) -> None:
    benchmark = open_examples(module, partial=True)
    name = benchmark.profiles[1] if module is stare else benchmark.profiles[0]
    write = benchmark.profile(name).write
    items = benchmark.items()
    dropped = next(one for one in items if benchmark.score(one, text, name).value is None)
    answers = {one.id: Response(text=text if one is dropped else write(one)) for one in items}
    row = score_row(benchmark, items, answers, name)
    summary = summaries(benchmark, items, {("m", name): row}, Bootstrap(replicates=100))["m", name]
    assert summary["left_out"] == 1
    assert summary["overall"]["score"] == pytest.approx(100)
    assert summary["others"]["all_items"]["score"] < 100
    assert summary["others"]["all_items"]["n"] == summary["overall"]["n"] + 1


def test_trap_23_missing_predictions_of_a_stream() -> None:
    official, _, strict = vsi_super_count.DEFINITION.profiles
    stream = item(gold=Text("[2, 5]"), kind="10mins_streaming", answers=[2.0, 5.0])
    assert (official.score(stream, "[2]", None).value, strict.score(stream, "[2]", None).value) == (1.0, 0.5)


def test_trap_24_four_scores_of_one_set(open_examples: Open) -> None:
    benchmark = open_examples(threedsrbench)
    items = benchmark.items()  # one question: two orders, each mirrored
    found = aggregate(benchmark.composite, items, np.array([1.0, 0.0, 1.0, 1.0]))
    names = ("overall", "flip", "circular", "flip_circular")
    assert [found[name] for name in names] == [0.75, 0.5, 0.5, 0.0]


def test_trap_25_chance_is_taken_off_over_pictures_and_videos_together(open_examples: Open) -> None:
    benchmark = open_examples(site_bench)
    items = benchmark.items()
    assert [len(one.choices) for one in items] == [3, 2]
    assert [one.extra["is_video"] for one in items] == [False, True]
    found = aggregate(benchmark.composite, items, np.array([1.0, 0.0]))
    chance = 1 / 3 + 1 / 2
    assert found["overall"] == pytest.approx((1 - chance) / (2 - chance))
    assert found["accuracy"] == 0.5
    separate = [
        aggregate(benchmark.composite, [one], np.array([v]))["overall"] for one, v in zip(items, (1, 0), strict=True)
    ]
    assert found["overall"] != pytest.approx(np.mean(separate))


def test_trap_26_scores_are_shares_inside_and_percent_outside(open_examples: Open) -> None:
    benchmark = open_examples(vsr)
    items, name = benchmark.items(), benchmark.profiles[0]
    row = score_row(benchmark, items, {one.id: Response(text="yes") for one in items}, name)
    assert set(row.values) == {0.0, 1.0}
    assert (
        summaries(benchmark, items, {("m", name): row}, Bootstrap(replicates=100))["m", name]["overall"]["score"] == 50
    )
    for module in published_modules():
        for published in module.DEFINITION.published:
            values = [published.overall, *published.cells.values()]
            assert all(value is None or 0 <= value <= 100 for value in values)
            assert any(value is not None and (value > 1 or value == 0) for value in values)


def test_trap_27_published_rows_that_contradict_themselves_say_so() -> None:
    rows = {row.name: row for row in _vsi_published.PUBLISHED}
    frequency = rows["frequency"]
    assert np.mean(list(frequency.cells.values())) == pytest.approx(35.46, abs=0.005)
    assert frequency.overall == 34.0
    for name in ("frequency", "VLM-3R-7B", "Gemini-1.5-Pro"):
        assert rows[name].note


# ------------------------------------------------------------------------------------------------------ prompts, media


def test_trap_28_the_sentence_on_frames_stands_once(open_examples: Open) -> None:
    benchmark = open_examples(vsi_super_recall)
    for name in benchmark.profiles:
        assert benchmark.prompt_text(benchmark.items()[0], name).count("These are frames of a video.") == 1


def test_trap_29_one_harness_leaves_out_the_options_header(tmp_path: Path) -> None:
    chosen = {"question_type": "route_planning", "options": ["A. left", "B. right"], "ground_truth": "A"}
    benchmark = vsi(tmp_path, chosen)
    headers = ["Options:" in benchmark.prompt_text(benchmark.items()[0], name) for name in benchmark.profiles]
    assert headers == [True, True, False]


def test_trap_30_a_tail_makes_one_frame_more() -> None:
    views = tuple(View(image=np.full((2, 2, 3), k, dtype=np.uint8), time_s=k / 2) for k in range(50))
    one = Item(id="1", kind="k", prompt="?", gold=Number(1.0), views=views, scene_id="s", source="test")
    plain, tail = (choose_frames(one, FramesPolicy(count=8, rate_hz=1.5, tail=flag)) for flag in (False, True))
    assert plain.indices[-1] != 49
    assert tail.indices == (*plain.indices, 49)
    assert plain.digest != tail.digest


def test_trap_31_a_video_is_not_several_pictures(recipe: Any) -> None:
    one, other = (plan(recipe(frames={"count": 2, "as_video": flag})).settings for flag in (False, True))
    assert settings_hash(one) != settings_hash(other)


def test_trap_32_sixteen_tokens_are_said_and_can_be_raised(recipe: Any) -> None:
    assert vsi_bench.build(vsi_bench.Settings()).sampling(OFFICIAL).max_new_tokens == 16
    assert all(len({p.sampling.max_new_tokens for p in m.DEFINITION.profiles}) >= 1 for m in published_modules())
    assert recipe(max_new_tokens=4096).max_new_tokens == 4096
    assert settings_hash(plan(recipe()).settings) != settings_hash(plan(recipe(max_new_tokens=4096)).settings)


def test_trap_33_picture_sizes_are_part_of_the_model(tmp_path: Path) -> None:
    one, other = (
        contestant({"name": "hf", "path": str(tmp_path), "max_pixels": pixels}, baseline=False)
        for pixels in (1_000_000, 2_000_000)
    )
    assert one.identity() != other.identity()


def test_trap_34_models_behind_an_api_are_asked_otherwise_only_when_told(tmp_path: Path) -> None:
    default, api = (vsi(tmp_path, count_of("3"), wording=wording) for wording in ("default", "api"))
    one = default.items()[0]
    assert default.prompt_text(one, OFFICIAL).endswith("using a single word or phrase.")
    assert api.prompt_text(one, OFFICIAL).endswith("Do not response anything other than a single number!")


# --------------------------------------------------------------------------------------------------------------- data


def test_trap_35_a_subset_is_never_the_full_set_in_silence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the pruned subset is unknown"):
        vsi(tmp_path, count_of("3"), subset="pruned").items()
    rows = [count_of("3") | {"pruned": flag} for flag in (True, False, False)]
    assert [len(vsi(tmp_path, *rows, subset=name).items()) for name in ("full", "debiased", "pruned")] == [3, 2, 1]


def test_trap_36_a_tiny_set_is_its_list_of_ids(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n")
    sha256 = hashlib.sha256(b"1\n").hexdigest()
    rows = [count_of("3"), count_of("4")]
    with pytest.raises(SettingsError, match="ids needs ids_sha256"):
        vsi(tmp_path, *rows, ids=ids).items()
    with pytest.raises(DataError, match="is another list"):
        vsi(tmp_path, *rows, ids=ids, ids_sha256="0" * 64).items()
    assert [one.id for one in vsi(tmp_path, *rows, ids=ids, ids_sha256=sha256).items()] == ["1"]


def test_trap_37_videos_that_no_question_asks_about_are_not_needed(tmp_path: Path) -> None:
    for name in ("scene0000_00", "scene9999_99"):
        (tmp_path / "scannet").mkdir(exist_ok=True)
        (tmp_path / "scannet" / f"{name}.mp4").touch()
    videos = {one.video for one in vsi(tmp_path, count_of("3"), video_dir=tmp_path).items()}
    assert videos == {tmp_path / "scannet" / "scene0000_00.mp4"}


def test_trap_38_the_zero_shot_split_has_1222_captions(shared_data: Path) -> None:
    assert sum(vsr.DEFINITION.counts.values()) == 1222
    assert len(vsr.build(vsr.Settings(dataset=str(shared_data / "vsr"))).items()) == 1222


def test_trap_39_corrected_data_is_pinned() -> None:
    with pytest.raises(DataError, match="40-digit commit"):
        mindcube_tiny.build(mindcube_tiny.Settings()).items()


def test_trap_40_names_that_collide_are_kept_apart() -> None:
    names = BENCHMARKS.names()
    assert {"vsr", "vsi_super_recall", "sibench", "spatialbench"} <= set(names)
    repositories = [m.DEFINITION.source.repository or m.DEFINITION.source.home for m in published_modules()]
    assert len(set(repositories)) == len(repositories)
    assert "Not the" in (vsr.__doc__ or "")
    assert "Three other works share the name" in (spatialbench.__doc__ or "")


def test_trap_41_branches_are_refused() -> None:
    for module in published_modules():
        if module.DEFINITION.source.repository:
            with pytest.raises(DataError, match="40-digit commit"):
                module.build(module.Settings(dataset=module.DEFINITION.source.repository, revision="main")).items()
    assert len(_vsi_records.REVISION) == 40


def test_trap_42_licences_are_said_and_nothing_is_shipped() -> None:
    for module in (tempcompass, ost_bench, mmsi_bench):
        assert module.DEFINITION.license == "CC-BY-NC-4.0"
    for module in (stare, lv_haystack, topviewrs):
        assert "not to be redistributed" in module.DEFINITION.license
    package = Path(vsr.__file__).parent
    assert {path.suffix for path in package.iterdir() if path.is_file()} == {".py"}


# ---------------------------------------------------------------------------------------------------------------- H*

VIEW = ViewGeometry(width_px=192, height_px=108, horizontal_fov_rad=math.radians(100))


def search(yaw: tuple[float, float], pitch: tuple[float, float] | None, start: float = 0.0) -> Task:
    annotation = Annotation(task="find it", yaw=yaw, pitch=pitch, initial_yaw=(start,))
    return Task(scene_id="s", panorama=Path("p.png"), annotation=annotation, start=0)


def submits(protocol: Any, yaw: float, pitch: float) -> Verdict:
    verdict = protocol.submit(math.radians(yaw), math.radians(pitch))
    assert isinstance(verdict, Verdict)
    return verdict


def test_trap_43_a_window_over_the_seam_forgets_the_pitch() -> None:
    task = search((350, 10), (-5, 5))
    official, strict = HstarV1(VIEW), StrictV1(VIEW)
    for protocol in (official, strict):
        protocol.begin(task)
    assert submits(official, 0, 80).success
    assert not submits(strict, 0, 80).claim_in_window
    assert submits(strict, 0, 4).claim_in_window


def test_trap_44_a_path_narrows_later_objects() -> None:
    narrow = search((90, 92), (0, 1), start=90)
    official, strict = HstarV1(VIEW), StrictV1(VIEW)
    before = []
    for protocol in (official, strict):
        protocol.begin(narrow)
        before.append(submits(protocol, 110, 0).claim_in_window)
        protocol.begin(search((200, 202), None))
        protocol.begin(narrow)
    assert before == [True, True]
    assert not submits(official, 110, 0).success
    assert submits(strict, 110, 0).claim_in_window


def test_trap_45_numbers_count_not_where_the_head_looks() -> None:
    task = search((170, 190), (-5, 5), start=0)
    official, strict = HstarV1(VIEW), StrictV1(VIEW)
    for protocol in (official, strict):
        protocol.begin(task)
    assert submits(official, 180, 0).success
    assert not submits(strict, 180, 0).success
    assert submits(strict, 180, 0).claim_in_window


def test_trap_46_starts_share_an_annotation_that_nothing_changes() -> None:
    annotation = Annotation(task="find it", yaw=(350.0, 10.0), pitch=(-5.0, 5.0))
    tasks = [Task(scene_id="s", panorama=Path("p.png"), annotation=annotation, start=k) for k in range(4)]
    windows = []
    for task in tasks:
        protocol = HstarV1(VIEW)
        protocol.begin(task)
        windows.append(protocol.window_yaw)
    assert annotation.yaw == (350.0, 10.0)
    assert len(set(windows)) == 1


def test_trap_47_a_record_without_start_or_level_is_unrated() -> None:
    for module_kind in hstar_bench.CELLS:
        assert module_kind.partition("-")[2] in hstar_bench.LEVEL_NAMES
    bare = Annotation(task="find it", yaw=(10.0, 20.0))
    tasks = [Task(scene_id="s", panorama=Path("p.png"), annotation=bare, start=k) for k in range(len(bare.start_yaws))]
    assert [task.start_yaw for task in tasks] == [0, 90, 180, 270]
    assert [task.level for task in tasks] == [None] * 4
    assert "HPS-unrated" in hstar_bench.CELLS


def test_trap_48_an_angle_with_a_decimal_point() -> None:
    text = "<think>.</think><answer>submit(45.0,0)</answer>"
    assert isinstance(parse_action(text, "hstar-v1"), Unreadable)
    assert parse_action(text, "strict-v1") == HeadAction("submit", math.radians(45), 0.0)


def test_trap_49_what_can_not_be_read_is_said(panorama_folder: Path) -> None:
    benchmark = hstar_bench.build(hstar_bench.Settings(dataset=str(panorama_folder)))
    for name in benchmark.profiles:
        score = benchmark.score(benchmark.items()[0], "<answer>submit(nowhere)</answer>", name)
        assert score.value == 0
        assert isinstance(score.answer, Unreadable)
        assert score.answer.reason


def test_chance_of_submissions_is_that_of_the_protocol(panorama_folder: Path) -> None:
    benchmark = hstar_bench.build(hstar_bench.Settings(dataset=str(panorama_folder)))
    for one in benchmark.items()[:6]:
        protocol = HstarV1(VIEW)
        protocol.begin(hstar_bench._task(one.extra["annotation"], one.extra["start"]))
        assert benchmark.chance(one) == pytest.approx(protocol.chance())


# ------------------------------------------------------------------------------------------------------------ harness


def test_trap_50_a_limit_that_drops_a_type_leaves_the_overall_score_open() -> None:
    benchmark = vsi_bench.build(vsi_bench.Settings())
    few = [item(kind="object_rel_direction_easy", id=1), item(kind="object_counting", id=2)]
    found = aggregate(benchmark.composite, few, np.array([1.0, 0.5]))
    assert math.isnan(found["overall"])
    assert found["object_counting"] == 0.5


def test_trap_51_a_right_option_beyond_f_makes_gibberish_right_in_one_harness(tmp_path: Path) -> None:
    options = [f"{letter}. {letter}" for letter in "ABCDEFG"]
    record = {"question_type": "route_planning", "options": options, "ground_truth": "G"}
    benchmark = vsi(tmp_path, record)
    values = [benchmark.score(benchmark.items()[0], "no idea", name).value for name in benchmark.profiles]
    assert values == [0, 0, 1]


def test_trap_52_another_question_or_prompt_is_another_answer(recipe: Any) -> None:
    plain, loud = (plan(recipe(benchmark={"shout": flag})) for flag in (False, True))
    assert settings_hash(plain.settings) != settings_hash(loud.settings)
    one = plain.items[0]
    other = Item(**{name: getattr(one, name) for name in one.__slots__} | {"prompt": "Another?"})
    assert item_digest(one) != item_digest(other)


def test_trap_53_a_run_goes_on_where_it_stopped(recipe: Any, tmp_path: Path) -> None:
    settings = recipe(baselines=False)
    first = evaluate(settings, tmp_path)
    log = first.folder / "samples.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]))
    (first.folder / "results.json").unlink()
    second = evaluate(settings, tmp_path)
    assert second.asked == len(plan(settings).items) - len(lines) // 2
    assert second.results["models"][0]["profiles"] == first.results["models"][0]["profiles"]


def test_trap_54_no_profile_asks_a_judge() -> None:
    folder = Path(vsr.__file__).parent
    for path in folder.glob("*.py"):
        imported = {
            name.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        assert not {one.partition(".")[0] for one in imported} & {"openai", "requests", "httpx", "urllib"}, path.name


def test_trap_55_a_score_depends_on_its_own_text_alone(open_examples: Open) -> None:
    benchmark = open_examples(mmsi_bench)
    one, other = benchmark.items()
    alone = benchmark.score(one, "``B``", benchmark.profiles[0])
    for _ in range(50):
        benchmark.score(other, "unreadable", benchmark.profiles[0])
    assert benchmark.score(one, "``B``", benchmark.profiles[0]) == alone


def test_trap_56_every_item_counts_once(open_examples: Open) -> None:
    benchmark = open_examples(q_spatial)
    items, name = benchmark.items(), benchmark.profiles[0]
    answers = {one.id: Response(text=benchmark.profile(name).write(one)) for one in [*items, items[0]]}
    summary = summaries(
        benchmark, items, {("m", name): score_row(benchmark, items, answers, name)}, Bootstrap(replicates=100)
    )
    assert summary["m", name]["overall"]["n"] == len(items)


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("\\scalar{30} \\distance_unit{cm}", 1),
        ("first \\scalar{3} then \\scalar{20-40} \\distance_unit{cm}", 1),  # the last, and its mean
        ("\\scalar{60} \\distance_unit{cm}", 0),  # a factor of exactly two is too much
        ("\\scalar{59} \\distance_unit{cm}", 1),
        ("\\scalar{0.3} \\distance_unit{meters}", 1),
        ("\\scalar{30} \\distance_unit{ cm}", 1),  # an unknown unit counts as centimetres
        ("\\scalar{0.3} \\distance_unit{ m}", 0),
        ("\\scalar{0} \\distance_unit{cm}", 0),
        ("30 cm", 0),
    ],
)
def test_success_within_a_factor_of_two(text: str, worth: float, open_examples: Open) -> None:
    benchmark = open_examples(q_spatial)
    one = benchmark.items()[0]
    assert one.gold == Number(30.0, "cm")
    assert benchmark.score(one, text, "official@723d6e4").value == worth
    if "{ m}" in text or text == "30 cm":
        assert benchmark.score(one, text, "strict@allocentric").value == 1


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1), ("b", 1), ("B. no", 1), ("B: no", 1), ("so \\boxed{B}", 1),
        ("\\boxed{A} no, \\boxed{\\text{B}}", 1),
        ("The final answer is B.", 1), ("Answer: b\nbecause", 1), ("It is B", None),
    ],
)  # fmt: skip
def test_rules_of_stare(text: str, index: int | None) -> None:
    answer = reads(stare, 0, text, item("ABCD"))
    assert isinstance(answer, Unreadable) if index is None else answer == Choice(index)


def test_trap_57_batch_size_and_machine_are_recorded(recipe: Any, tmp_path: Path) -> None:
    settings = recipe(baselines=False, batch_size=3)
    assert resolved(settings)["batch_size"] == 3
    folder = evaluate(settings, tmp_path).folder
    assert "batch_size: 3" in (folder / "config.yaml").read_text()
    assert json.loads((folder / "env.json").read_text())


# ------------------------------------------------------------------------------------------------- three profiles, why


def test_one_response_file_under_three_profiles_says_per_item_why(tmp_path: Path) -> None:
    from allocentric.eval.scored import score

    vsi(tmp_path, count_of("4"), {"question_type": "object_counting", "ground_truth": "9"})
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": "0", "response": "There are about 4 chairs, or 5."}\n{"id": "1", "response": "9"}\n')
    found = score(answers, benchmark={"name": "vsi_bench", "dataset": str(tmp_path / "vsi.jsonl"), "partial": True})
    assert found["profiles"] == [OFFICIAL, LMMS_EVAL, VLMEVALKIT]
    (difference,) = found["disagreements"]
    assert difference["item"] == "0"
    assert difference["scores"] == {OFFICIAL: 0.0, LMMS_EVAL: 100.0, VLMEVALKIT: 60.0}
    assert "first token 'There' is not a number" in difference["why"]
    assert "lmms-eval@75571cf reads 4" in difference["why"]


def test_the_command_prints_the_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from allocentric.cli.evaluation import score

    vsi(tmp_path, count_of("4"))
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": "0", "response": "Four, that is 4."}\n')
    score(answers, benchmark="vsi-bench", settings=[f"dataset={tmp_path / 'vsi.jsonl'}", "partial=true"])
    printed = capsys.readouterr().out
    assert "1 answers are scored differently by the profiles" in printed
    assert f"answers, item 0: {OFFICIAL} 0, {LMMS_EVAL} 100, {VLMEVALKIT} 100" in printed
    assert "the first token 'Four,' is not a number" in printed


def test_profiles_of_one_benchmark_are_known_to_recipes() -> None:
    with pytest.raises(SettingsError, match="did you mean 'vlmevalkit@e8e78f0'"):
        vsr.build(vsr.Settings()).profile("vlmevalkit")
    assert settings_from_mapping(EvalRecipe, {"name": "x", "benchmark": {"name": "vsr"}}, where="test").profile is None
    assert isinstance(vlm4d.build(vlm4d.Settings()), PublishedBenchmark)
    assert sat_real.DEFINITION.composite is not None
