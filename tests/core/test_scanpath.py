"""Scanpath metrics on the sphere against the planar originals, scikit-learn and invariances.

The planar references below are written from the published definitions, for flat pictures, with loops.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import linregress
from sklearn.cluster import MeanShift

from allocentric.core.multimatch import Frame, MultiMatch, multimatch, simplified
from allocentric.core.scanpath import (
    FixationGrid,
    Scanpath,
    angular_spl,
    asymmetry_index,
    cumulative_performance,
    first_on_target,
    fixation_modes,
    nearest_mode,
    probability_mismatch,
    saccade_amplitudes_rad,
    scanmatch,
    scanmatch_threshold_rad,
    search_slope,
    sequence_score,
)
from allocentric.core.sphere import Window, great_circle_rad, unit_vectors

WIDTH, HEIGHT = 12.0, 8.0
"""The flat picture of the references, in cells of the ScanMatch grid."""
FRAMES: list[Frame] = ["geodesic", "horizon"]


def random_flat(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3): x, y and duration on the flat picture."""
    places = rng.uniform([0.01, 0.01], [WIDTH - 0.01, HEIGHT - 0.01], (count, 2))
    return np.column_stack([places, rng.uniform(0.05, 0.6, count)])


def on_sphere(flat: np.ndarray, scale_rad: float) -> Scanpath:
    """The flat scanpath as a small patch around the horizon, one cell being `scale_rad` wide."""
    places = (flat[:, :2] - [WIDTH / 2, HEIGHT / 2]) * scale_rad
    return Scanpath(directions_rad=places, durations_s=flat[:, 2])


def random_path(rng: np.random.Generator, count: int) -> Scanpath:
    yaw, pitch = rng.uniform(-np.pi, np.pi, count), np.arcsin(rng.uniform(-1, 1, count))
    return Scanpath(directions_rad=np.column_stack([yaw, pitch]), durations_s=rng.uniform(0.05, 0.6, count))


def moved(path: Scanpath, rotation: np.ndarray) -> Scanpath:
    x, y, z = (unit_vectors(path.directions_rad) @ rotation.T).T
    pitch = np.arctan2(z, np.hypot(x, y))
    return Scanpath(directions_rad=np.column_stack([np.arctan2(x, y), pitch]), durations_s=path.durations_s)


def shifted(path: Scanpath, yaw_rad: float) -> Scanpath:
    return Scanpath(directions_rad=np.add(path.directions_rad, [yaw_rad, 0.0]), durations_s=path.durations_s)


# ----------------------------------------------------------------------------------------- planar reference: ScanMatch


def planar_scanmatch(
    first: np.ndarray, second: np.ndarray, threshold: float, gap: float, bin_s: float | None
) -> float:
    """Cristino et al. 2010 on a 12 x 8 grid of unit cells."""

    def letters(flat: np.ndarray) -> list[tuple[int, int]]:
        word: list[tuple[int, int]] = []
        for x, y, duration in flat:
            repeats = 1 if bin_s is None else math.floor(duration / bin_s + 0.5)
            word += [(int(x), int(y))] * repeats
        return word

    cells = list(itertools.product(range(12), range(8)))
    largest = max(math.dist(a, b) for a in cells for b in cells)

    def substitution(a: tuple[int, int], b: tuple[int, int]) -> float:
        return abs(math.dist(a, b) - largest) - (largest - threshold)

    one, two = letters(first), letters(second)
    score = [[0.0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(two) + 1):
            options = [score[i - 1][j] + gap] if i else []
            options += [score[i][j - 1] + gap] if j else []
            options += [score[i - 1][j - 1] + substitution(one[i - 1], two[j - 1])] if i and j else []
            score[i][j] = max(options, default=0.0)
    return score[-1][-1] / (threshold * max(len(one), len(two)))


@pytest.mark.parametrize(("gap", "bin_s"), [(0.0, None), (-1.0, None), (0.0, 0.1), (-0.5, 0.1)])
def test_scanmatch_tends_to_the_planar_original(gap: float, bin_s: float | None) -> None:
    rng = np.random.default_rng(11)
    errors = {0.02: [], 0.01: [], 0.005: []}
    for _ in range(10):
        first, second = random_flat(rng, int(rng.integers(2, 9))), random_flat(rng, int(rng.integers(2, 9)))
        flat = planar_scanmatch(first, second, 3.5, gap, bin_s)
        for scale, found in errors.items():
            half = np.array([WIDTH, HEIGHT]) / 2 * scale
            patch = Window((-half[0], half[0]), (-half[1], half[1]))
            grid = FixationGrid(columns=12, rows=8, equal="pitch", window=patch)
            pair = (on_sphere(first, scale), on_sphere(second, scale))
            ours = scanmatch(*pair, threshold_rad=3.5 * scale, grid=grid, gap_rad=gap * scale, bin_s=bin_s)
            found.append(abs(ours - flat))
    worst = [max(found) for found in errors.values()]
    assert worst[0] < 5e-3
    assert worst[2] < 3e-4
    assert worst[1] < worst[0] / 3.5  # the error falls with the square of the angle
    assert worst[2] < worst[1] / 3.5


def test_equal_area_rows_tend_to_the_same_cells() -> None:
    rng = np.random.default_rng(12)
    half = 0.005 * np.array([WIDTH, HEIGHT]) / 2
    patch = Window((-half[0], half[0]), (-half[1], half[1]))
    path = on_sphere(random_flat(rng, 200), 0.005)
    area = FixationGrid(columns=12, rows=8, window=patch).cells(path.directions_rad)
    pitch = FixationGrid(columns=12, rows=8, equal="pitch", window=patch).cells(path.directions_rad)
    np.testing.assert_array_equal(area, pitch)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([None, 0.1]))
def test_scanmatch_is_bounded_symmetric_and_one_for_the_same(seed: int, gridded: bool, bin_s: float | None) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_path(rng, int(rng.integers(1, 7))), random_path(rng, int(rng.integers(1, 7)))
    first = Scanpath(directions_rad=first.directions_rad, durations_s=first.durations_s + 0.05)
    second = Scanpath(directions_rad=second.directions_rad, durations_s=second.durations_s + 0.05)
    grid = FixationGrid() if gridded else None

    def score(a: Scanpath, b: Scanpath) -> float:
        return scanmatch(a, b, threshold_rad=0.8, grid=grid, bin_s=bin_s)

    assert score(first, first) == pytest.approx(1.0, abs=1e-9)
    assert 0 <= score(first, second) <= 1 + 1e-12
    assert score(first, second) == pytest.approx(score(second, first), abs=1e-12)
    assert score(first, shifted(first, 4 * np.pi)) == pytest.approx(1.0, abs=1e-6)


@given(st.integers(0, 10_000))
def test_scanmatch_without_a_grid_does_not_know_the_axes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_path(rng, 5), random_path(rng, 6)
    turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    before = scanmatch(first, second, threshold_rad=1.0, grid=None)
    after = scanmatch(moved(first, turn), moved(second, turn), threshold_rad=1.0, grid=None)
    assert after == pytest.approx(before, abs=1e-7)


def test_grid_wraps_at_the_seam_and_turns_by_whole_cells() -> None:
    grid = FixationGrid(columns=16, rows=8)
    rng = np.random.default_rng(3)
    path = random_path(rng, 300).directions_rad
    cells = grid.cells(path)
    assert cells.min() >= 0
    assert cells.max() < 128
    row, column = np.divmod(cells, 16)
    next_cell = grid.cells(np.add(path, [2 * np.pi / 16, 0]))
    np.testing.assert_array_equal(next_cell, row * 16 + (column + 1) % 16)
    np.testing.assert_array_equal(grid.cells(np.add(path, [2 * np.pi, 0])), cells)
    np.testing.assert_array_equal(grid.cells([[np.pi, 0.1], [-np.pi, 0.1], [3 * np.pi, 0.1]]), [64] * 3)
    np.testing.assert_array_equal(grid.cells(grid.centres_rad()), np.arange(128))
    seam = [Scanpath(directions_rad=[[side * (np.pi - 0.05), 0.1]]) for side in (-1, 1)]
    assert scanmatch(*seam, threshold_rad=1.0) == pytest.approx(1 - great_circle_rad(*grid.centres_rad()[[64, 79]]))


def test_equal_area_cells_catch_equal_shares_of_the_sphere() -> None:
    path = random_path(np.random.default_rng(4), 64_000).directions_rad
    counts = np.bincount(FixationGrid(columns=8, rows=4).cells(path), minlength=32)
    assert abs(counts - 2000).max() < 5 * math.sqrt(2000)


def test_bins_repeat_places_by_duration() -> None:
    places = [[0.0, 0.0], [1.0, 0.0]]
    slow = Scanpath(directions_rad=places, durations_s=[0.3, 0.1])
    same = Scanpath(directions_rad=[places[0]] * 3 + [places[1]], durations_s=[0.1] * 4)
    assert scanmatch(slow, same, threshold_rad=0.5, bin_s=0.1) == 1.0
    assert scanmatch(slow, same, threshold_rad=0.5) == 0.5


def test_guideline_threshold_is_twice_the_spread() -> None:
    path = Scanpath(directions_rad=[[0, 0], [0.1, 0], [0.4, 0], [0.4, 0.2]])
    assert saccade_amplitudes_rad(path).tolist() == pytest.approx([0.1, 0.3, 0.2])
    assert scanmatch_threshold_rad([path]) == pytest.approx(0.2)


# ---------------------------------------------------------------------------------------- planar reference: MultiMatch


def planar_multimatch(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Dewhurst et al. 2012 on the flat picture; fixations and saccades are complex numbers."""
    z, w = (flat[:, 0] + 1j * flat[:, 1] for flat in (first, second))
    u, v = np.diff(z), np.diff(w)
    total: dict[tuple[int, int], tuple[float, list[tuple[int, int]]]] = {}
    for i, j in itertools.product(range(len(u)), range(len(v))):
        before = [total[cell] for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if cell in total]
        cost, pairs = min(before, key=lambda entry: entry[0]) if before else (0.0, [])
        total[i, j] = (cost + abs(u[i] - v[j]), [*pairs, (i, j)])
    i, j = np.array(total[len(u) - 1, len(v) - 1][1]).T
    diagonal = math.hypot(WIDTH, HEIGHT)
    durations = first[i, 2], second[j, 2]
    return [
        1 - np.median(abs(u[i] - v[j])) / (2 * diagonal),
        1 - np.median(abs(np.angle(u[i] / v[j]))) / np.pi,
        1 - np.median(abs(abs(u[i]) - abs(v[j]))) / diagonal,
        1 - np.median(abs(z[i] - w[j])) / diagonal,
        1 - np.median(abs(durations[0] - durations[1]) / np.maximum(*durations)),
    ]


def small_multimatch(first: np.ndarray, second: np.ndarray, scale: float, frame: Frame) -> MultiMatch:
    extent = math.hypot(WIDTH, HEIGHT) * scale
    return multimatch(on_sphere(first, scale), on_sphere(second, scale), extent_rad=extent, frame=frame)


def flat_pairs(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(21)
    return [
        (random_flat(rng, int(rng.integers(3, 9))), random_flat(rng, int(rng.integers(3, 9)))) for _ in range(count)
    ]


@pytest.mark.parametrize("frame", FRAMES)
def test_multimatch_tends_to_the_planar_original(frame: Frame) -> None:
    worst = []
    for scale in (0.01, 0.005, 0.0025):
        errors = [
            np.abs(np.subtract(small_multimatch(*pair, scale, frame), planar_multimatch(*pair)))
            for pair in flat_pairs(20)
        ]
        worst.append(np.max(errors, axis=0))
    assert np.all(worst[0] < 2e-3)
    assert np.all(worst[2] < 1e-4)
    assert np.all(worst[1][:4] < worst[0][:4] / 3.5)
    assert np.all(worst[2][:4] < worst[1][:4] / 3.5)


def published(flat: np.ndarray) -> np.ndarray:
    names = ["start_x", "start_y", "duration"]
    return np.rec.fromarrays(flat.T, names=names)


@pytest.mark.parametrize("frame", FRAMES)
def test_multimatch_tends_to_the_published_package(frame: Frame) -> None:
    package = pytest.importorskip("multimatch_gaze")
    for first, second in flat_pairs(20):
        expected = package.docomparison(published(first), published(second), screensize=[WIDTH, HEIGHT])
        assert planar_multimatch(first, second) == pytest.approx(list(expected), abs=1e-9)
        assert list(small_multimatch(first, second, 1e-4, frame)) == pytest.approx(list(expected), abs=1e-6)


def planar_simplified(flat: np.ndarray, amplitude: float, direction: float, duration: float) -> np.ndarray:
    """Dewhurst et al. 2012 on the flat picture: join straight saccades, then short ones, until nothing changes."""
    while True:
        before = len(flat)
        for straight in (True, False):
            z, held, kept, i = flat[:, 0] + 1j * flat[:, 1], flat[:, 2], [0], 0
            while i < len(z) - 1:
                is_last = i == len(z) - 2
                if straight:
                    turn = math.inf if is_last else abs(np.angle((z[i + 2] - z[i + 1]) / (z[i + 1] - z[i])))
                    joins = turn < direction and held[i + 1] < duration
                else:
                    joins = abs(z[i + 1] - z[i]) < amplitude and min(held[i], held[i + 1]) < duration
                if joins and is_last and len(kept) > 1:
                    kept.pop()  # a short last saccade is joined with the one before
                i += 2 if joins and not is_last else 1
                kept.append(i)
            flat = flat[kept]
        if len(flat) == before:
            return flat


@pytest.mark.parametrize("ending", [1.0, 0.1])
def test_simplification_tends_to_the_planar_original(ending: float) -> None:
    rng, scale, lengths = np.random.default_rng(23), 1e-5, []
    for _ in range(60):
        flat = random_flat(rng, 12)
        flat[:, :2] = np.cumsum(rng.normal(0.4, 0.8, (12, 2)), axis=0)
        flat[-2:, 2] = ending
        expected = planar_simplified(flat, 0.6, math.radians(25), 0.3)
        ours = simplified(
            on_sphere(flat, scale), amplitude_rad=0.6 * scale, direction_rad=math.radians(25), duration_s=0.3
        )
        np.testing.assert_array_equal(ours.directions_rad, on_sphere(expected, scale).directions_rad)
        np.testing.assert_array_equal(ours.durations_s, expected[:, 2])
        lengths.append(len(ours))
    assert len(set(lengths)) > 4


def test_simplification_tends_to_the_published_package() -> None:
    package = pytest.importorskip("multimatch_gaze")
    rng, scale, compared = np.random.default_rng(22), 1e-4, 0
    for _ in range(60):
        flat = random_flat(rng, 12)
        flat[:, :2] = np.cumsum(rng.normal(0.4, 0.8, (12, 2)), axis=0)
        flat[-2:, 2] = 1.0  # two long fixations at the end keep the last saccade, where the package loses count
        grouped = package.multimatch_gaze.gen_scanpath_structure(published(flat))
        expected = package.multimatch_gaze.simplify_scanpath(grouped, TAmp=0.6, TDir=25.0, TDur=0.3)
        ours = simplified(
            on_sphere(flat, scale), amplitude_rad=0.6 * scale, direction_rad=math.radians(25), duration_s=0.3
        )
        np.testing.assert_allclose(saccade_amplitudes_rad(ours) / scale, expected["sac"]["rho"], rtol=1e-4)
        np.testing.assert_allclose(ours.durations_s, expected["fix"]["dur"])
        compared += len(ours) < 12
    assert compared > 30


@given(st.integers(0, 10_000), st.sampled_from(FRAMES))
def test_multimatch_is_bounded_and_one_for_the_same(seed: int, frame: Frame) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_path(rng, int(rng.integers(3, 8))), random_path(rng, int(rng.integers(3, 8)))
    assert list(multimatch(first, first, frame=frame)) == pytest.approx([1.0] * 5, abs=1e-7)
    likeness = multimatch(first, second, frame=frame)
    assert all(0 <= value <= 1 for value in likeness)
    assert list(multimatch(second, first, frame=frame)) == pytest.approx(list(likeness), abs=1e-9)
    assert list(multimatch(shifted(first, 2 * np.pi), second, frame=frame)) == pytest.approx(list(likeness), abs=1e-9)
    together = multimatch(shifted(first, 1.234), shifted(second, 1.234), frame=frame)
    assert list(together) == pytest.approx(list(likeness), abs=1e-9)
    mirrored = [
        Scanpath(directions_rad=path.directions_rad * [-1, 1], durations_s=path.durations_s)
        for path in (first, second)
    ]
    assert list(multimatch(*mirrored, frame=frame)) == pytest.approx(list(likeness), abs=1e-9)


@given(st.integers(0, 10_000))
def test_multimatch_along_great_circles_does_not_know_the_axes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_path(rng, 5), random_path(rng, 6)
    turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    after = multimatch(moved(first, turn), moved(second, turn))
    assert list(after) == pytest.approx(list(multimatch(first, second)), abs=1e-6)


def test_a_path_over_the_pole_resembles_itself_moved_a_little() -> None:
    over = [[0.3, 1.2], [0.3, np.pi / 2], [0.3 + np.pi, 1.3]]
    near = np.add(over, [[0.0, 0.001], [2.5, -0.001], [0.001, 0.001]])
    first, second = Scanpath(directions_rad=over), Scanpath(directions_rad=near)
    likeness = multimatch(first, second)
    assert min(likeness[:4]) > 0.99
    assert multimatch(first, second, frame="horizon").direction < 0.9


def test_the_same_movement_elsewhere_differs_only_in_position() -> None:
    steps = np.array([[0.0, 0.0], [0.2, 0.1], [0.5, -0.1], [0.6, 0.2]])
    first = Scanpath(directions_rad=np.add(steps, [0.0, 0.6]), durations_s=[0.2] * 4)
    second = shifted(first, 1.5)
    horizon = multimatch(first, second, frame="horizon")
    assert [horizon.vector, horizon.direction, horizon.length, horizon.duration] == pytest.approx([1.0] * 4)
    assert 0.5 < horizon.position < 0.8


def test_the_way_back_has_the_opposite_direction() -> None:
    there = Scanpath(directions_rad=[[3.0, 0.0], [3.1, 0.0], [3.3, 0.0], [3.7, 0.0]], durations_s=[0.2] * 4)
    back = Scanpath(directions_rad=there.directions_rad[::-1], durations_s=[0.4] * 4)
    for frame in FRAMES:
        likeness = multimatch(there, back, frame=frame)
        assert likeness.direction == pytest.approx(0.0)
        assert likeness.duration == pytest.approx(0.5)


def test_multimatch_is_undefined_for_short_scanpaths_and_without_durations() -> None:
    two, three = Scanpath(directions_rad=[[0, 0], [1, 0]]), Scanpath(directions_rad=[[0, 0], [1, 0], [1, 1]])
    assert all(math.isnan(value) for value in multimatch(two, three))
    likeness = multimatch(three, three)
    assert math.isnan(likeness.duration)
    assert likeness[:4] == (1.0, 1.0, 1.0, 1.0)


def test_saccades_of_no_length_are_neither_here_nor_there() -> None:
    still = Scanpath(directions_rad=[[0.1, 0.2]] * 3, durations_s=[0.0, 0.0, 0.0])
    moving = Scanpath(directions_rad=[[0.1, 0.2], [0.3, 0.2], [0.5, 0.2]], durations_s=[0.0, 0.0, 0.0])
    assert multimatch(still, still) == (1.0, 1.0, 1.0, 1.0, 1.0)
    assert multimatch(still, moving).direction == pytest.approx(0.5)


def test_simplification_drops_what_interrupts_a_movement() -> None:
    places = [[0.0, 0.0], [0.3, 0.0], [0.6, 0.0], [0.6, 0.5], [0.61, 0.5]]
    path = Scanpath(directions_rad=places, durations_s=[0.3, 0.05, 0.3, 0.3, 0.05])
    kept = simplified(path, amplitude_rad=0.1, direction_rad=0.2, duration_s=0.1)
    np.testing.assert_allclose(kept.directions_rad, [places[0], places[2], places[4]])
    assert kept.durations_s is not None
    assert kept.durations_s.tolist() == [0.3, 0.3, 0.05]
    untouched = simplified(path, amplitude_rad=0.0, direction_rad=0.0, duration_s=0.1)
    assert len(untouched) == 5
    two = Scanpath(directions_rad=places[3:], durations_s=[0.01, 0.01])
    assert len(simplified(two, amplitude_rad=1.0, direction_rad=1.0, duration_s=1.0)) == 2


# ------------------------------------------------------------------------------------------------------ sequence score


def longest_common(first: str, second: str) -> int:
    words = [{"".join(word) for n in range(len(text) + 1) for word in itertools.combinations(text, n)} for text in
             (first, second)]  # fmt: skip
    return max(len(word) for word in words[0] & words[1])


@given(st.text("abc", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=6))
def test_sequence_score_is_the_longest_common_subsequence(first: str, second: str) -> None:
    expected = longest_common(first, second) / max(len(first), len(second))
    assert sequence_score(first, second) == pytest.approx(expected)


def test_modes_are_those_of_planar_mean_shift() -> None:
    rng, scale = np.random.default_rng(31), 1e-4
    for _ in range(5):
        centres = rng.uniform(0, 10, (4, 2))
        flat = (centres[:, None] + rng.normal(0, 0.4, (4, 15, 2))).reshape(-1, 2)
        expected = MeanShift(bandwidth=1.5).fit(flat)
        modes = fixation_modes(flat * scale, bandwidth_rad=1.5 * scale) / scale
        assert len(modes) == len(expected.cluster_centers_)
        distances = np.linalg.norm(modes[:, None] - expected.cluster_centers_[None], axis=-1)
        np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-3)
        ours, theirs = np.array(nearest_mode(flat * scale, modes * scale)), expected.labels_
        np.testing.assert_array_equal(ours[:, None] == ours, theirs[:, None] == theirs)


@pytest.mark.parametrize("centre", [[0.0, 0.0], [np.pi, 0.0], [0.3, np.pi / 2], [1.0, -np.pi / 2]])
def test_modes_do_not_know_the_seam_and_the_poles(centre: list[float]) -> None:
    rng = np.random.default_rng(32)
    axis = unit_vectors(centre)
    vectors = axis + rng.normal(0, 0.05, (40, 3))
    x, y, z = vectors.T
    modes = fixation_modes(np.column_stack([np.arctan2(x, y), np.arctan2(z, np.hypot(x, y))]), bandwidth_rad=0.3)
    assert len(modes) == 1
    assert float(great_circle_rad(modes[0], centre)) < 0.03


# -------------------------------------------------------------------------------------------------------------- search


def test_cumulative_performance_of_hand_computed_searches() -> None:
    curve = cumulative_performance([1, 3, 3, math.inf, 5], fixations=4)
    assert curve.tolist() == [0.2, 0.2, 0.6, 0.6]
    assert probability_mismatch(curve, [0.0, 0.2, 0.6, 1.0]) == pytest.approx(0.6)
    assert cumulative_performance([math.inf], fixations=2).tolist() == [0.0, 0.0]


@given(st.lists(st.one_of(st.integers(1, 12), st.just(math.inf)), min_size=1), st.randoms())
def test_cumulative_performance_rises_and_forgets_the_order(hits: list[float], random: object) -> None:
    curve = cumulative_performance(hits, fixations=12)
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == pytest.approx(np.mean(np.isfinite(hits)))
    random.shuffle(hits)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(cumulative_performance(hits, fixations=12), curve)


def test_first_fixation_on_target_crosses_the_seam() -> None:
    target = Window((3.0, 3.4), (-0.2, 0.2))
    looks = [[0.0, 0.0], [3.2, 0.5], [-3.0, 0.1], [3.1, 0.0]]
    path = Scanpath(directions_rad=looks)
    assert first_on_target(path, target) == 3.0
    assert first_on_target(shifted(path, 2 * np.pi), target) == 3.0
    assert first_on_target(Scanpath(directions_rad=looks[:2]), target) == math.inf


def test_angular_spl_of_hand_computed_searches() -> None:
    target = Window((0.5, 0.7), (-0.3, 0.3))
    straight = Scanpath(directions_rad=[[0.0, 0.0], [0.5, 0.0]])
    detour = Scanpath(directions_rad=[[0.0, 0.0], [-0.25, 0.0], [0.5, 0.0]])
    assert angular_spl(straight, target, succeeded=True) == pytest.approx(1.0)
    assert angular_spl(detour, target, succeeded=True) == pytest.approx(0.5)
    assert angular_spl(detour, target, succeeded=False) == 0.0
    on_target = Scanpath(directions_rad=[[0.6, 0.0]])
    assert angular_spl(on_target, target, succeeded=True) == 1.0
    over_seam = Scanpath(directions_rad=[[np.pi - 0.1, 0.0], [-np.pi + 0.1, 0.0]])
    assert angular_spl(over_seam, Window((3.24, 3.5), (-1, 1)), succeeded=True) == pytest.approx(
        (3.24 - np.pi + 0.1) / 0.2
    )


@given(st.integers(0, 10_000))
def test_angular_spl_of_searches_that_end_on_target_is_bounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = random_path(rng, int(rng.integers(1, 6)))
    yaw, pitch = path.directions_rad[-1]
    target = Window((yaw - 0.3, yaw + 0.2), (max(pitch - 0.2, -np.pi / 2), min(pitch + 0.3, np.pi / 2)))
    value = angular_spl(path, target, succeeded=True)
    assert 0 <= value <= 1
    mirrored = Scanpath(directions_rad=path.directions_rad * [-1, 1])
    other_way = Window((-target.yaw_rad[1], -target.yaw_rad[0]), target.pitch_rad)
    assert angular_spl(mirrored, other_way, succeeded=True) == pytest.approx(value, abs=1e-9)


def test_slopes_are_those_of_linear_regression() -> None:
    rng = np.random.default_rng(41)
    sizes = rng.integers(1, 20, 50)
    effort = 0.3 * sizes + rng.normal(0, 1, 50)
    assert search_slope(sizes, effort) == pytest.approx(linregress(sizes, effort).slope)
    assert search_slope(sizes, 250.0 * effort + 180.0) == pytest.approx(250 * search_slope(sizes, effort))


def test_asymmetry_index_of_hand_computed_slopes() -> None:
    assert asymmetry_index(30.0, 10.0) == 0.5
    assert asymmetry_index(10.0, 30.0) == -0.5
    assert asymmetry_index(20.0, -3.0) == 1.0
    assert asymmetry_index(-1.0, -3.0) == 0.0
    assert asymmetry_index(7.0, 7.0) == 0.0


# ----------------------------------------------------------------------------------------------------------- bad input


def test_impossible_input_is_refused() -> None:
    path = Scanpath(directions_rad=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    refused = [
        lambda: Scanpath(directions_rad=np.zeros((0, 2))),
        lambda: Scanpath(directions_rad=[[0.0, 2.0]]),
        lambda: Scanpath(directions_rad=[[0.0, 0.0]], durations_s=[0.1, 0.2]),
        lambda: Scanpath(directions_rad=[[0.0, 0.0]], durations_s=[-0.1]),
        lambda: scanmatch(path, path, threshold_rad=0.0),
        lambda: scanmatch(path, path, threshold_rad=1.0, gap_rad=0.1),
        lambda: scanmatch(path, path, threshold_rad=1.0, bin_s=0.1),
        lambda: scanmatch(path, path, threshold_rad=1.0, grid=FixationGrid(window=Window((0, 0.5), (0, 1)))),
        lambda: scanmatch_threshold_rad([]),
        lambda: FixationGrid(columns=0),
        lambda: FixationGrid(equal="other"),  # type: ignore[arg-type]
        lambda: FixationGrid(window=Window((0.0, 7.0), (0.0, 1.0))),
        lambda: multimatch(path, path, extent_rad=0.0),
        lambda: multimatch(path, path, frame="other"),  # type: ignore[arg-type]
        lambda: simplified(path, amplitude_rad=0.1, direction_rad=0.1, duration_s=0.1),
        lambda: fixation_modes([[0.0, 0.0]], bandwidth_rad=2.0),
        lambda: fixation_modes(np.zeros((0, 2)), bandwidth_rad=0.1),
        lambda: cumulative_performance([], fixations=3),
        lambda: cumulative_performance([0], fixations=3),
        lambda: cumulative_performance([1], fixations=0),
        lambda: probability_mismatch([0.1], [0.1, 0.2]),
        lambda: search_slope([3, 3], [1, 2]),
        lambda: search_slope([3], [1, 2]),
        lambda: asymmetry_index(math.nan, 1.0),
        lambda: sequence_score("", "a"),
    ]
    for call in refused:
        with pytest.raises(ValueError, match="expected"):
            call()
    brief = Scanpath(directions_rad=[[0.0, 0.0]], durations_s=[0.01])
    with pytest.raises(ValueError, match="half a bin"):
        scanmatch(brief, brief, threshold_rad=1.0, bin_s=0.1)
