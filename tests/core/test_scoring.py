"""Scores against published vectors, exact arithmetic and other implementations."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from allocentric.core.scoring import (
    MRA_RULES,
    VisorPicture,
    direction_error_rad,
    kendall_tau,
    keyframe_scores,
    mean_relative_accuracy,
    mean_relative_accuracy_vector,
    point_mask_iou,
    score,
    segmentation_scores,
    visor,
    visor_relation_holds,
)
from allocentric.core.types import Choice, Direction, Number, Order, Span, Text, Unreadable


@pytest.mark.parametrize(("name", "mean"), [("vsc_10mins", 42.0), ("vsc_repeat5_10mins", 0.0)])
def test_official_vectors_are_reproduced(shared_data: Path, name: str, mean: float) -> None:
    lines = (shared_data / "vsi_super" / f"{name}_responses.jsonl").read_text().splitlines()
    records = [json.loads(line)["score"] for line in lines]
    assert len(records) == 50
    for record in records:
        official = [word == "True" for word in record["accuracy"].strip("[]").split()]
        assert mean_relative_accuracy_vector(record["prediction"], record["answer"]).tolist() == official
    scores = [mean_relative_accuracy(record["prediction"], record["answer"]) for record in records]
    assert 100 * np.mean(scores) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [
        *[(2, 1, 0.1), (4, 3, 0.6), (4, 5, 0.6), (10, 9, 0.9), (20, 19, 1.0), (100, 95, 1.0)],
        *[(5, 4, 0.6), (5, 6, 0.6), (10, 8, 0.6), (10, 12, 0.6)],
    ],
)
def test_known_borderline_scores(target: float, prediction: float, expected: float) -> None:
    assert mean_relative_accuracy(prediction, target) == expected


def test_rounding_matters_where_exact_arithmetic_differs() -> None:
    def exact(prediction: int, target: int) -> Fraction:
        error = Fraction(abs(prediction - target), target)
        return Fraction(sum(error <= Fraction(50 - 5 * i, 100) for i in range(10)), 10)

    assert exact(4, 5) == Fraction(7, 10)
    assert mean_relative_accuracy(4, 5) == 0.6


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0, max_value=1e12, allow_nan=False, exclude_min=True),
)
def test_scalar_array_and_published_expression_agree(prediction: float, target: float) -> None:
    # The published expression, thresholds as it spells them.
    confidences = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))
    official = (abs(prediction - target) / target) <= 1 - confidences
    assert mean_relative_accuracy_vector(prediction, target).tolist() == official.tolist()
    assert mean_relative_accuracy(prediction, target) == official.mean()
    assert mean_relative_accuracy(np.array([prediction]), np.array([target])).tolist() == [official.mean()]


def test_undefined_inputs_are_documented() -> None:
    assert mean_relative_accuracy(None, 3.0) == 0
    assert mean_relative_accuracy(math.nan, 3.0) == 0
    assert mean_relative_accuracy(math.inf, 3.0) == 0
    assert mean_relative_accuracy(-3.0, 3.0) == 0
    assert mean_relative_accuracy(0.0, 0.0) == 1
    assert mean_relative_accuracy(0.1, 0.0) == 0
    assert mean_relative_accuracy(np.array([0.0, 1.0, math.nan]), 0.0).tolist() == [1.0, 0.0, 0.0]
    assert mean_relative_accuracy_vector(None, 3.0).tolist() == [False] * 10
    for target in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="target"):
            mean_relative_accuracy(1.0, target)
        with pytest.raises(ValueError, match="target"):
            mean_relative_accuracy_vector(1.0, target)


def test_vectors_broadcast() -> None:
    assert mean_relative_accuracy_vector(np.ones((4, 1)), np.ones(3)).shape == (4, 3, 10)


@given(st.permutations("abcdef"), st.permutations("abcdef"))
def test_kendall_tau_is_scipys(first: list[str], second: list[str]) -> None:
    ranks = [first.index(label) for label in second]
    assert kendall_tau(first, second) == pytest.approx(kendalltau(ranks, range(6)).statistic)


def test_kendall_tau_needs_the_same_labels() -> None:
    with pytest.raises(ValueError, match="same labels"):
        kendall_tau(["a", "a"], ["a", "b"])


@given(st.floats(-math.pi, math.pi), st.floats(-1.5, 1.5), st.floats(-math.pi, math.pi))
def test_direction_error_along_a_meridian_and_a_parallel(yaw: float, pitch: float, turn: float) -> None:
    here = Direction(yaw, pitch)
    assert direction_error_rad(here, Direction(yaw, 0.0)) == pytest.approx(abs(pitch), abs=1e-9)
    haversine = 2 * math.asin(math.cos(pitch) * abs(math.sin(turn / 2)))
    assert direction_error_rad(here, Direction(yaw + turn, pitch)) == pytest.approx(haversine, abs=1e-6)


def test_answers_are_scored_by_their_kind() -> None:
    assert score(Choice(1), Choice(1), option_count=4).value == 1
    assert score(Choice(1), Choice(1), option_count=4).chance == 0.25
    assert score(Choice(0), Choice(1)).value == 0
    assert score(Number(4.0, "m"), Number(5.0, "m")).value == 0.6
    assert score(Text("  Dining  Table"), Text("dining table")).value == 1
    assert score(Order(("a", "b")), Order(("b", "a"))).value == 0
    assert score(Order(("a", "b")), Order(("a", "b"))).value == 1


def test_unreadable_stays_unreadable() -> None:
    worth = score(Unreadable("names no option"), Choice(1), option_count=2)
    assert (worth.value, worth.answer, worth.chance) == (0.0, Unreadable("names no option"), 0.5)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(TypeError, match="no score"):
        score(Choice(1), Number(1.0))
    with pytest.raises(TypeError, match="no score"):
        score(Span(0.0, 1.0), Span(0.0, 1.0))
    with pytest.raises(TypeError, match="no score"):
        score(Number(100.0, "cm"), Number(1.0, "m"))


# --------------------------------------------------------------------------------------------- variants of the metric


@pytest.mark.parametrize(
    ("target", "prediction", "worth"),
    [
        (2, 1, {"vsi": 0.1, "paper": 0.0, "ost": 0.0, "sibench": 0.0, "spatialbench": 0.0}),
        (4, 3, {"vsi": 0.6, "paper": 0.5, "ost": 0.5, "sibench": 0.5, "spatialbench": 0.5}),
        (4, 5, {"vsi": 0.6, "paper": 0.5, "ost": 0.5, "sibench": 0.5, "spatialbench": 0.5}),
        (10, 9, {"vsi": 0.9, "paper": 0.9, "ost": 0.8, "sibench": 0.8, "spatialbench": 0.8}),
        (20, 19, {"vsi": 1.0, "sibench": 0.9}),
        (100, 95, {"vsi": 1.0, "sibench": 0.9}),
    ],
)
def test_published_variants_differ_where_they_were_seen_to(
    target: float, prediction: float, worth: dict[str, float]
) -> None:
    assert {name: MRA_RULES[name].of(prediction, target) for name in worth} == worth


@pytest.mark.parametrize(("name", "count"), [("ost", 66), ("sibench", 74), ("spatialbench", 64), ("vsi", 0)])
def test_variants_disagree_with_the_official_one_on_as_many_pairs_as_counted(name: str, count: int) -> None:
    pairs = [(target, prediction) for target in range(1, 31) for prediction in range(61)]
    assert len(pairs) == 1830
    differing = sum(mean_relative_accuracy(p, t) != MRA_RULES[name].of(p, t) for t, p in pairs)
    assert differing == count


def test_a_rule_takes_signs_and_zero() -> None:
    rule = MRA_RULES["ost"]
    assert rule.of(-2.0, -2.0) == 1
    assert rule.of(2.0, -2.0) == 0
    assert (rule.of(0.0, 0.0), rule.of(0.1, 0.0), rule.of(math.nan, 3.0)) == (1, 0, 0)


# ------------------------------------------------------------------------------------------------- frames, detections


def test_keyframes_are_near_within_five_whole_seconds() -> None:
    found = keyframe_scores([10.9, 100.0], [15.0, 15.9, 300.0])
    assert found is not None
    assert (found.precision, found.recall) == (0.5, 2 / 3)
    assert found.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert keyframe_scores([9.9], [15.0]) == (0.0, 0.0, 0.0)  # 9 and 15 are six apart
    assert keyframe_scores([], [1.0]) is None
    with pytest.raises(ValueError, match="right moment"):
        keyframe_scores([1.0], [])


def test_visor_against_a_count_by_hand() -> None:
    left, right = (0.0, 0.0, 10.0, 10.0), (20.0, 5.0, 30.0, 40.0)
    fine, swapped = VisorPicture(first_px=left, second_px=right), VisorPicture(first_px=right, second_px=left)
    half = VisorPicture(first_px=left, second_px=None)
    found = visor([("left", [fine, swapped, half, fine]), ("below", [swapped, half, half, half])])
    assert found.object_accuracy == 4 / 8
    assert found.unconditional == 3 / 8
    assert found.conditional == 3 / 4
    assert found.at_least == (1.0, 0.5, 0.0, 0.0)
    assert [visor_relation_holds(fine, relation) for relation in ("left", "right", "above", "below")] == [
        True, False, True, False
    ]  # fmt: skip
    assert math.isnan(visor([("left", [half])]).conditional)
    with pytest.raises(ValueError, match="as many pictures"):
        visor([("left", [fine]), ("left", [])])


def test_published_visor_rows_keep_its_identity() -> None:
    """Conditional is unconditional over object accuracy in the published rows (arXiv 2212.10015)."""
    for accuracy, unconditional, conditional in ((47.83, 30.25, 63.24), (63.93, 37.89, 59.27)):
        assert 100 * unconditional / accuracy == pytest.approx(conditional, abs=0.02)


def test_point_masks() -> None:
    a, b = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert point_mask_iou(a, b) == pytest.approx(1 / 3)
    assert point_mask_iou(a, a) == 1
    assert point_mask_iou(a, ~a) == 0
    assert point_mask_iou(np.zeros(3, bool), np.zeros(3, bool)) == 1
    with pytest.raises(ValueError, match="two"):
        point_mask_iou(a, b[:3])
    with pytest.raises(ValueError, match="bool"):
        point_mask_iou(a.astype(int), b)
    scores = segmentation_scores([0.2, 0.25, 0.6])
    assert scores.mean_iou == pytest.approx(0.35)
    assert scores.accuracy == {0.25: pytest.approx(2 / 3), 0.5: pytest.approx(1 / 3)}
    with pytest.raises(ValueError, match="at least one"):
        segmentation_scores([])
