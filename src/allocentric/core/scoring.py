"""What an answer is worth: mean relative accuracy, options, orders, directions.

The functions here are the only ones: a leaderboard, a reward and a check all call them. Text is read elsewhere
(`core.parsing`, or the scoring profile of a benchmark).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.sphere import great_circle_rad
from allocentric.core.types import (
    Answer,
    Boxes,
    Choice,
    Direction,
    FloatArray,
    Number,
    Order,
    Path2D,
    Score,
    Text,
    Unreadable,
)

MRA_CONFIDENCES: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""Confidence thresholds of VSI-Bench (arXiv 2412.14171, section 3), with the rounding of `linspace`."""
MRA_TOLERANCES: NDArray[np.float64] = 1 - MRA_CONFIDENCES
"""Largest relative errors that pass. Float64, not tidied: 1 - 0.8 is 0.19999999999999996, so an error of 0.2 fails it,
and the published scores contain that."""
_TOLERANCES: tuple[float, ...] = tuple(MRA_TOLERANCES.tolist())
_ASCENDING = sorted(_TOLERANCES)


@dataclass(frozen=True, slots=True)
class MraRule:
    """One published way of comparing a relative error with the ten tolerances of mean relative accuracy."""

    tolerances: tuple[float, ...]
    """Largest relative errors that pass, in float64 as its code computes them."""
    strict: bool
    """Whether an error has to be smaller, not just as small."""

    def of_error(self, error: float) -> float:
        """Share of the tolerances that a relative error meets; 0 for NaN."""
        passed = [error < limit if self.strict else error <= limit for limit in self.tolerances]
        return sum(passed) / len(passed)

    def of(self, prediction: float, target: float) -> float:
        """The same for |prediction - target| / |target|; at target 0 only a prediction of 0 scores, and scores 1."""
        if target == 0:
            return float(prediction == 0)
        return self.of_error(abs(prediction - target) / abs(target))


MRA_RULES: dict[str, MraRule] = {
    "vsi": MraRule(_TOLERANCES, strict=False),
    "paper": MraRule(_TOLERANCES, strict=True),
    "ost": MraRule(tuple(1 - (0.5 + 0.05 * step) for step in range(10)), strict=True),
    "sibench": MraRule(tuple((1 - np.arange(0.5, 1, 0.05)).tolist()), strict=True),
    "spatialbench": MraRule(tuple(1 - percent / 100 for percent in range(50, 100, 5)), strict=True),
}
"""Variants that differ on small whole numbers: VSI-Bench's code, the strict `<` of its paper, OST-Bench, SIBench,
SpatialBench. Of the pairs with a target in 1-30 and a prediction in 0-60 the last three differ from the first on 66,
74 and 64."""


# ------------------------------------------------------------------------------------------------------------ numbers


def relative_error(prediction: float, target: float) -> float:
    """|prediction - target| / target in float64; NaN where the prediction is NaN.

    At target 0 the limit is taken: 0 for a prediction of 0, else infinity.

    Raises:
        ValueError: the target is negative, infinite or NaN. The published expression passes everything below 0.
    """
    if not 0 <= target < math.inf:
        raise ValueError(f"expected a finite target >= 0, got {target!r}")
    if target == 0:
        return math.nan if math.isnan(prediction) else 0.0 if prediction == 0 else math.inf
    return abs(prediction - target) / target


def mra_of_error(error: float) -> float:
    """Share of the ten tolerances that a relative error meets; 0 for NaN."""
    if math.isnan(error):
        return 0.0
    return (len(_ASCENDING) - bisect_left(_ASCENDING, error)) / len(_ASCENDING)


@overload
def mean_relative_accuracy(prediction: float | None, target: float) -> float: ...
@overload
def mean_relative_accuracy(prediction: FloatArray, target: ArrayLike) -> NDArray[np.float64]: ...
def mean_relative_accuracy(prediction: Any, target: Any) -> Any:
    """Mean relative accuracy (MRA) of VSI-Bench: mean over C = 0.5, 0.55 ... 0.95 of |p - t| / t <= 1 - C.

    The expression and its float64 rounding are those of vision-x-nyu/thinking-in-space@51e089c
    (lmms_eval/tasks/vsibench/utils.py); the paper writes a strict `<`, the code does not.

    Args:
        prediction: A number, or an array; None and NaN score 0.
        target: The right number, or an array that broadcasts against the predictions; finite and >= 0. At 0, where
            the published code divides by zero, only a prediction of 0 scores, and scores 1.

    Returns:
        In [0, 1]: a float, or an array of the broadcast shape for array predictions.

    Raises:
        ValueError: a target is negative, infinite or NaN.
    """
    if isinstance(prediction, np.ndarray):
        passed: NDArray[np.float64] = mean_relative_accuracy_vector(prediction, target).mean(axis=-1)
        return passed
    if prediction is None:
        return mra_of_error(relative_error(math.nan, float(target)))
    return mra_of_error(relative_error(float(prediction), float(target)))


def mean_relative_accuracy_vector(prediction: ArrayLike | None, target: ArrayLike) -> NDArray[np.bool_]:
    """Which of the ten tolerances each prediction meets, in order of rising confidence.

    Args:
        prediction: (...,) numbers; None or NaN meets none.
        target: (...,) as in `mean_relative_accuracy`.

    Returns:
        (..., 10) bool.

    Raises:
        ValueError: a target is negative, infinite or NaN.
    """
    predictions = np.asarray(math.nan if prediction is None else prediction, dtype=np.float64)
    targets = np.asarray(target, dtype=np.float64)
    if not np.all((targets >= 0) & np.isfinite(targets)):
        raise ValueError(f"expected finite targets >= 0, got {target!r}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        errors = np.abs(predictions - targets) / targets
    errors = np.where((targets == 0) & (predictions == 0), 0.0, errors)
    return np.asarray(errors[..., None] <= MRA_TOLERANCES)


# ------------------------------------------------------------------------------------------------- orders, directions


def kendall_tau(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Kendall's rank correlation of two orders of the same different labels, in [-1, 1]; 1 for fewer than two.

    Raises:
        ValueError: the two do not hold the same labels once each.
    """
    rank = {label: position for position, label in enumerate(predicted)}
    if sorted(predicted) != sorted(gold) or len(rank) != len(gold):
        raise ValueError(f"expected two orders of the same labels, got {list(predicted)} and {list(gold)}")
    if len(gold) < 2:
        return 1.0
    signs = [1 if rank[first] < rank[second] else -1 for first, second in combinations(gold, 2)]
    return sum(signs) / len(signs)


def direction_error_rad(first: Direction, second: Direction) -> float:
    """Angle between two gaze directions, in [0, pi]. ValueError for a pitch beyond a pole."""
    ends = [(direction.yaw_rad, direction.pitch_rad) for direction in (first, second)]
    return float(great_circle_rad(*ends))


# ------------------------------------------------------------------------------------------------- frames, detections


class KeyframeScores(NamedTuple):
    """How well a search found the frames that matter."""

    precision: float
    """Share of the found moments that lie near a right one."""
    recall: float
    """Share of the right moments that a found one lies near."""
    f1: float
    """Harmonic mean; 0 where both are 0."""


def keyframe_scores(
    found_s: Sequence[float], gold_s: Sequence[float], *, tolerance_s: int = 5
) -> KeyframeScores | None:
    """Temporal precision, recall and F1 of LV-Haystack: near is at most `tolerance_s` apart, whole seconds compared.

    Source: LongVideoHaystack/TStar. A score of a set is the mean over its instances.

    Args:
        found_s: Moments a search returned.
        gold_s: Moments that hold the answer; at least one.
        tolerance_s: Largest distance of two moments cut to whole seconds.

    Returns:
        None where nothing was found: the published scorer leaves such an instance out.

    Raises:
        ValueError: no right moment.
    """
    if not gold_s:
        raise ValueError("expected at least one right moment")
    if not found_s:
        return None
    ours, theirs = ([int(moment) for moment in moments] for moments in (found_s, gold_s))
    precision = sum(any(abs(a - b) <= tolerance_s for b in theirs) for a in ours) / len(ours)
    recall = sum(any(abs(a - b) <= tolerance_s for a in ours) for b in theirs) / len(theirs)
    total = precision + recall
    return KeyframeScores(precision, recall, 2 * precision * recall / total if total else 0.0)


Relation: TypeAlias = Literal["left", "right", "above", "below"]


class Visor(NamedTuple):
    """Scores of generated pictures by VISOR, in [0, 1]."""

    object_accuracy: float
    """Share of pictures with both objects (OA)."""
    unconditional: float
    """Share of pictures with both objects in the right relation."""
    conditional: float
    """Share of the right relation among pictures with both objects; NaN where there is none."""
    at_least: tuple[float, ...]
    """Element k - 1: share of prompts with at least k right pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VisorPicture:
    """What a detector found in one generated picture."""

    first_px: tuple[float, float, float, float] | None
    """Box (x0, y0, x1, y1) of the first object of the prompt, y down; None where it was not found."""
    second_px: tuple[float, float, float, float] | None
    """Box of the second object."""


def visor_relation_holds(picture: VisorPicture, relation: Relation) -> bool:
    """Whether both objects are there and the centre of the first is `relation` of the centre of the second."""
    if picture.first_px is None or picture.second_px is None:
        return False
    first, second = (((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in (picture.first_px, picture.second_px))
    match relation:
        case "left":
            return first[0] < second[0]
        case "right":
            return first[0] > second[0]
        case "above":
            return first[1] < second[1]
        case "below":
            return first[1] > second[1]


def visor(prompts: Sequence[tuple[Relation, Sequence[VisorPicture]]]) -> Visor:
    """VISOR of text-to-image models from detections (arXiv 2212.10015, microsoft/VISOR).

    There the detector is OWL-ViT with the threshold 0.1.

    Args:
        prompts: For each prompt its relation and the pictures made of it, as many for every prompt.

    Raises:
        ValueError: no pictures, or prompts with different numbers of them.
    """
    counts = {len(pictures) for _, pictures in prompts}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"expected as many pictures for every prompt, at least one; got {sorted(counts)}")
    right = [[visor_relation_holds(picture, relation) for picture in pictures] for relation, pictures in prompts]
    both = sum(p.first_px is not None and p.second_px is not None for _, pictures in prompts for p in pictures)
    hits, total = sum(map(sum, right)), len(prompts) * counts.pop()
    per_prompt = total // len(prompts)
    return Visor(
        object_accuracy=both / total,
        unconditional=hits / total,
        conditional=hits / both if both else math.nan,
        at_least=tuple(sum(sum(row) >= k for row in right) / len(right) for k in range(1, per_prompt + 1)),
    )


def point_mask_iou(predicted: ArrayLike, gold: ArrayLike) -> float:
    """Intersection over union of two masks over the same points of a scene.

    Args:
        predicted: (N,) bool.
        gold: (N,) bool.

    Returns:
        In [0, 1]; 1 where both masks are empty.

    Raises:
        ValueError: masks of different length, or not bool.
    """
    ours, theirs = np.asarray(predicted), np.asarray(gold)
    if ours.shape != theirs.shape or ours.ndim != 1 or ours.dtype != bool or theirs.dtype != bool:
        raise ValueError(
            f"expected two (N,) masks of bool, got {ours.shape} {ours.dtype}, {theirs.shape} {theirs.dtype}"
        )
    union = int((ours | theirs).sum())
    return float((ours & theirs).sum() / union) if union else 1.0


class SegmentationScores(NamedTuple):
    """3D reasoning segmentation over many questions."""

    mean_iou: float
    """Mean intersection over union."""
    accuracy: Mapping[float, float]
    """By threshold, the share of questions whose IoU reaches it."""


def segmentation_scores(ious: Sequence[float], thresholds: Sequence[float] = (0.25, 0.5)) -> SegmentationScores:
    """Mean IoU and accuracy at thresholds, as Surprise3D and ScanRefer report them. ValueError for no questions."""
    if not ious:
        raise ValueError("expected at least one question")
    values = np.asarray(ious, dtype=np.float64)
    return SegmentationScores(float(values.mean()), {limit: float((values >= limit).mean()) for limit in thresholds})


# ------------------------------------------------------------------------------------------------------ boxes, paths

Box: TypeAlias = tuple[float, float, float, float]
"""Picture box (x0, y0, x1, y1)."""


def box_iou(first_px: Box, second_px: Box) -> float:
    """Intersection over union of two picture boxes, in [0, 1]; 0 where both are empty."""
    width = min(first_px[2], second_px[2]) - max(first_px[0], second_px[0])
    height = min(first_px[3], second_px[3]) - max(first_px[1], second_px[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first_px, second_px)) - common
    return common / union if union > 0 else 0.0


def mean_box_iou(predicted: Boxes, gold: Boxes) -> float:
    """Mean IoU of the best one-to-one matching, over the larger number of boxes; 1 where neither has any."""
    from scipy.optimize import linear_sum_assignment

    count = max(len(predicted.boxes_px), len(gold.boxes_px))
    if not predicted.boxes_px or not gold.boxes_px:
        return float(count == 0)
    ious = np.array([[box_iou(ours, theirs) for theirs in gold.boxes_px] for ours in predicted.boxes_px])
    return float(ious[linear_sum_assignment(-ious)].sum() / count)


def path_likeness(predicted: Path2D, gold: Path2D, *, threshold_m: float = 1.0) -> float:
    """Normalised dynamic time warping (arXiv 1907.05446) of a path to the right one, in [0, 1]; 0 for no point.

    Args:
        predicted: Way points in order.
        gold: The right ones, at least one.
        threshold_m: Mean distance at which the score has fallen to 1 / e.
    """
    from allocentric.core.navigation import ndtw, pairwise_distances

    if not predicted.points_m:
        return 0.0
    return ndtw(pairwise_distances(predicted.points_m, gold.points_m), threshold=threshold_m)


# ------------------------------------------------------------------------------------------------------------ answers


def score(answer: Answer | Unreadable, gold: Answer, *, option_count: int | None = None) -> Score:
    """Worth of an answer: 1 or 0 for an option, a text or an order, mean relative accuracy for a number, mean IoU for
    boxes, likeness (`path_likeness`) for a path.

    An unreadable answer is worth 0 and stays unreadable in the score. Texts are compared without case and with single
    spaces. Orders score all or nothing (`kendall_tau` measures how far off one is).

    Args:
        answer: What was read.
        gold: The right answer; it decides the kind of score.
        option_count: Number of options, for the chance level.

    Raises:
        TypeError: no score is defined for this kind of gold answer, or `answer` is of another kind.
    """
    chance = 1 / option_count if isinstance(gold, Choice) and option_count else None
    if isinstance(answer, Unreadable):
        return Score(value=0.0, answer=answer, chance=chance)
    return Score(value=_worth(answer, gold), answer=answer, chance=chance)


def _worth(answer: Answer, gold: Answer) -> float:
    match answer, gold:
        case Number(value, unit), Number(target, target_unit) if unit == target_unit:
            return mean_relative_accuracy(value, target)
        case Text(text), Text(target_text):
            return float(" ".join(text.casefold().split()) == " ".join(target_text.casefold().split()))
        case (Choice(), Choice()) | (Order(), Order()):
            return float(answer == gold)
        case Boxes(), Boxes():
            return mean_box_iou(answer, gold)
        case Path2D(), Path2D():
            return path_likeness(answer, gold)
    raise TypeError(f"no score is defined for {answer!r} where {gold!r} is right")
