"""Navigation metrics against hand-computed walks, brute force and invariances."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from allocentric.core.episodes import successes_by_step, summarize_levels
from allocentric.core.navigation import (
    distinct_positions,
    navigation_error,
    ndtw,
    oracle_navigation_error,
    oracle_spl,
    oracle_success,
    pairwise_distances,
    path_length,
    score_walk,
    sdtw,
    shortest_path_distance,
    soft_spl,
    spl,
    success,
    task_completion,
)

lengths = st.floats(0, 1e6)
walks = st.integers(1, 4).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.floats(-5, 5)))


# ------------------------------------------------------------------------------------------------------------- success


def test_success_needs_stop_and_is_strict() -> None:
    distances = [0.0, 0.19, 0.2, 0.21, math.inf]
    assert success(distances, stopped=True, threshold_m=0.2).tolist() == [True, True, False, False, False]
    assert not success(distances, stopped=False, threshold_m=0.2).any()


def test_oracle_success_looks_back() -> None:
    distances = [5.0, 2.9, 4.0]
    assert oracle_success(distances, threshold_m=3.0)
    assert not oracle_success([5.0, 3.0, 4.0], threshold_m=3.0)
    assert navigation_error(distances) == 4.0
    assert oracle_navigation_error(distances) == 2.9
    assert navigation_error([math.inf]) == math.inf


def test_spl_of_hand_computed_episodes() -> None:
    # succeeded straight, succeeded with a detour of a half, failed, walked less than the geodesic (stopped in radius)
    values = spl([1, 1, 0, 1], shortest_m=[8.0, 8.0, 8.0, 8.0], path_m=[8.0, 12.0, 8.0, 7.9])
    assert values.tolist() == [1.0, 8 / 12, 0.0, 1.0]
    assert values.mean() == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)


def test_soft_spl_of_hand_computed_episodes() -> None:
    values = soft_spl([0.0, 2.0, 8.0, 10.0], shortest_m=8.0, path_m=[8.0, 16.0, 0.0, 4.0])
    assert values.tolist() == [1.0, 0.75 * 0.5, 0.0, 0.0]


def test_zero_length_shortest_path_is_worth_staying() -> None:
    assert spl([1, 1, 0], shortest_m=0.0, path_m=[0.0, 0.1, 0.0]).tolist() == [1.0, 0.0, 0.0]
    assert soft_spl([0.0, 0.0, 1.0], shortest_m=0.0, path_m=[0.0, 2.0, 1.0]).tolist() == [1.0, 0.0, 0.0]


def test_unreachable_goal_is_worth_nothing_and_cannot_be_reached() -> None:
    assert spl(False, shortest_m=math.inf, path_m=3.0) == 0.0
    assert soft_spl(math.inf, shortest_m=math.inf, path_m=3.0) == 0.0
    assert soft_spl(math.inf, shortest_m=4.0, path_m=3.0) == 0.0
    with pytest.raises(ValueError, match="shortest path is infinite"):
        spl([False, True], shortest_m=math.inf, path_m=3.0)


@given(st.booleans(), lengths, lengths, lengths)
def test_spl_and_soft_spl_are_bounded(reached: bool, distance: float, shortest: float, path: float) -> None:
    hard = float(spl(reached, shortest_m=shortest, path_m=path))
    soft = float(soft_spl(distance, shortest_m=shortest, path_m=path))
    assert 0 <= hard <= reached
    assert 0 <= soft <= float(spl(True, shortest_m=shortest, path_m=path))


@pytest.mark.parametrize("path", [math.inf, math.nan, -1.0])
def test_impossible_path_lengths_are_refused(path: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        spl(True, shortest_m=1.0, path_m=path)
    with pytest.raises(ValueError, match="0 or 1"):
        spl(0.5, shortest_m=1.0, path_m=1.0)


def test_path_length_counts_every_step() -> None:
    assert path_length([[1.0, 2.0, 3.0]]) == 0.0
    assert path_length([[0, 0], [3, 4], [3, 4], [0, 0]]) == 10.0


def test_oracle_spl_stops_at_the_first_position_in_reach() -> None:
    positions = [[0, 0], [0, 3], [4, 3], [4, 0], [9, 0]]  # 3, then 7 (in reach), then back away
    assert oracle_spl(positions, [5, 4, 2, 2.5, 7], shortest_m=5.0, threshold_m=3.0) == 5 / 7
    assert oracle_spl(positions, [5, 4, 3, 3.5, 7], shortest_m=5.0, threshold_m=3.0) == 0.0
    with pytest.raises(ValueError, match="one distance per position"):
        oracle_spl(positions, [5.0], shortest_m=5.0, threshold_m=3.0)


def test_score_walk_agrees_with_its_parts() -> None:
    positions, distances = [[0, 0], [3, 0], [3, 4]], [5.0, 4.0, 0.1]
    scores = score_walk(positions, distances, stopped=True, steps=9, threshold_m=0.2)
    assert scores.success
    assert scores.spl == 5 / 7
    assert scores.soft_spl == pytest.approx((1 - 0.1 / 5) * 5 / 7)
    assert (scores.oracle_success, scores.oracle_spl) == (True, 5 / 7)
    assert (scores.navigation_error_m, scores.oracle_navigation_error_m) == (0.1, 0.1)
    assert (scores.path_length_m, scores.steps) == (7.0, 9)
    cut_off = score_walk(positions, distances, stopped=False, steps=9, threshold_m=0.2)
    assert (cut_off.success, cut_off.spl, cut_off.oracle_success) == (False, 0.0, True)
    lost = score_walk([[0, 0]], [math.inf], stopped=True, steps=1, threshold_m=0.2)
    assert lost == (False, 0.0, 0.0, False, 0.0, math.inf, math.inf, 0.0, 1)


# ---------------------------------------------------------------------------------------------------------------- nDTW


def least_alignment_cost(path: np.ndarray, reference: np.ndarray) -> float:
    """Every monotone alignment of two tiny paths, by definition."""

    def costs(i: int, j: int) -> Iterator[float]:
        here = math.dist(path[i], reference[j])
        if (i, j) == (len(path) - 1, len(reference) - 1):
            yield here
        for a, b in ((i + 1, j), (i, j + 1), (i + 1, j + 1)):
            if a < len(path) and b < len(reference):
                yield from (here + rest for rest in costs(a, b))

    return min(costs(0, 0))


@given(walks, walks, st.floats(0.1, 10))
def test_both_variants_equal_their_definition_by_brute_force(
    path: np.ndarray, reference: np.ndarray, threshold: float
) -> None:
    least, costs, steps = least_alignment_cost(path, reference), pairwise_distances(path, reference), len(reference)
    assert ndtw(costs, threshold=threshold) == pytest.approx(math.exp(-least / (steps * threshold)), abs=1e-12)
    outdoor = ndtw(costs, threshold=threshold, variant="map2seq")
    assert outdoor == pytest.approx(math.exp(-least / (math.sqrt(steps) * threshold)), abs=1e-12)
    assert outdoor <= ndtw(costs, threshold=threshold) <= 1


def test_ndtw_of_a_hand_computed_walk() -> None:
    reference = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    beside = np.add(reference, [0, 1.5])  # 4 pairs at 1.5
    assert ndtw(pairwise_distances(reference, reference), threshold=3) == 1.0
    assert ndtw(pairwise_distances(beside, reference), threshold=3) == pytest.approx(math.exp(-0.5))
    costs = pairwise_distances(beside, reference)
    assert ndtw(costs, threshold=2, variant="map2seq") == pytest.approx(math.exp(-6 / (2 * 2)))
    assert sdtw(True, costs, threshold=3) == pytest.approx(math.exp(-0.5))
    assert sdtw(False, costs, threshold=3) == 0.0


def test_a_reference_out_of_reach_is_worth_nothing() -> None:
    assert ndtw([[0.0, np.inf]], threshold=3) == 0.0
    assert ndtw([[0.0]], threshold=3) == 1.0


def test_order_matters_to_ndtw() -> None:
    loop = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4], [0, 0]])
    # the same places backwards: both wait a corner's diagonal (4 sqrt 2) at two opposite corners
    assert ndtw(pairwise_distances(loop[::-1], loop), threshold=3) == pytest.approx(math.exp(-8 * math.sqrt(2) / 15))


@given(walks, walks, st.integers(0, 2**32 - 1))
def test_rigid_motions_and_mirrors_change_nothing(path: np.ndarray, reference: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    move = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    shift = rng.normal(size=3)
    solid = [np.column_stack([walk, np.arange(len(walk))]) for walk in (path, reference)]
    before = pairwise_distances(*solid)
    after = pairwise_distances(*[walk @ move.T + shift for walk in solid])
    assert ndtw(after, threshold=3) == pytest.approx(ndtw(before, threshold=3), abs=1e-9)
    assert path_length(solid[0] @ move.T + shift) == pytest.approx(path_length(solid[0]), abs=1e-9)


def test_waiting_is_forgotten_before_warping() -> None:
    reference = np.array([[0.0, 0], [3, 0], [6, 0]])
    beside = np.add(reference, [0, 1])
    waiting = np.repeat(beside, [4, 1, 7], axis=0)
    np.testing.assert_array_equal(distinct_positions(waiting), beside)
    turned_round = [[0, 0], [1, 0], [0, 0]]
    assert len(distinct_positions(turned_round)) == 3
    assert distinct_positions([[2.0, 2.0]]).shape == (1, 2)


def test_unknown_variant_and_bad_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="variant"):
        ndtw([[1.0]], threshold=3, variant="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        ndtw([[1.0]], threshold=0)
    with pytest.raises(ValueError, match="one dimension"):
        pairwise_distances([[0, 0]], [[0, 0, 0]])
    for positions in ([], [[np.nan, 0]], [1.0, 2.0]):
        with pytest.raises(ValueError, match="finite positions"):
            path_length(positions)
    for distances in ([], [[1.0]], [np.nan], [-1.0]):
        with pytest.raises(ValueError, match="distances"):
            navigation_error(distances)


# -------------------------------------------------------------------------------------------------------------- graphs


def hops_by_search(links: np.ndarray, start: int, goal: int) -> float:
    queue, seen = deque([(start, 0)]), {start}
    while queue:
        node, hops = queue.popleft()
        if node == goal:
            return hops
        for other in np.flatnonzero(links[node]):
            if int(other) not in seen:
                seen.add(int(other))
                queue.append((int(other), hops + 1))
    return math.inf


@given(st.integers(0, 10_000))
def test_hops_equal_a_breadth_first_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = rng.random((7, 7)) < 0.2
    final, goal = rng.integers(0, 7, (2, 5))
    expected = [hops_by_search(links, a, b) for a, b in zip(final, goal, strict=True)]
    assert shortest_path_distance(links, final=final, goal=goal).tolist() == expected
    assert shortest_path_distance(csr_array(links), final=final, goal=goal).tolist() == expected
    near = [a == b or links[a, b] or links[b, a] for a, b in zip(final, goal, strict=True)]
    assert task_completion(links, final=final, goal=goal).tolist() == near


def test_bad_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="links"):
        shortest_path_distance(np.zeros((2, 3)), final=[0], goal=[0])
    with pytest.raises(ValueError, match="nodes from 0 to 1"):
        task_completion(np.eye(2), final=[2], goal=[0])
    with pytest.raises(ValueError, match="ends and goals"):
        task_completion(np.eye(2), final=[0, 1], goal=[0])


# ------------------------------------------------------------------------------------------------------------ episodes


def test_levels_are_summed_over_episodes() -> None:
    levels = ["easy", "easy", "hard", "hard", "hard", "easy"]
    result = summarize_levels(
        [1, 0, 0, 0, 1, 1], completed=[1, 1, 0, 1, 1, 1], steps=[2, 3, 10, 4, 6, 1], levels=levels
    )
    assert list(result) == ["overall", "easy", "hard"]
    assert result["easy"] == (3, 2 / 3, 1.0, 2.0, 1.5)
    assert result["hard"] == (3, 1 / 3, 2 / 3, 20 / 3, 6.0)
    assert result["overall"] == (6, 0.5, 5 / 6, 26 / 6, 3.0)


@given(st.integers(0, 10_000))
def test_order_of_episodes_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    succeeded, steps, levels = rng.random(12) < 0.4, rng.integers(1, 11, 12), rng.integers(0, 4, 12)
    order = rng.permutation(12)

    def summary(pick: np.ndarray) -> dict[object, object]:
        return dict(
            summarize_levels(succeeded[pick], completed=np.ones(12), steps=steps[pick], levels=levels[pick].tolist())
        )

    before, after = summary(np.arange(12)), summary(order)
    assert before.keys() == after.keys()
    for level, values in before.items():
        np.testing.assert_allclose(values, after[level], rtol=1e-12)


def test_success_histogram_sums_to_the_successes() -> None:
    histogram = successes_by_step([1, 0, 1, 1], steps=[1, 10, 3, 3], step_limit=10)
    assert histogram.tolist() == [1, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert successes_by_step([0], steps=[99], step_limit=2).tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 to 10"):
        successes_by_step([1], steps=[11], step_limit=10)


def test_bad_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        summarize_levels([], completed=[], steps=[], levels=[])
    with pytest.raises(ValueError, match="one value per episode"):
        summarize_levels([1, 0], completed=[1], steps=[1, 1], levels=[0, 0])
    with pytest.raises(ValueError, match="a limit ended"):
        summarize_levels([1], completed=[0], steps=[1], levels=[0])
    with pytest.raises(ValueError, match="overall"):
        summarize_levels([1], completed=[1], steps=[1], levels=["overall"])
    with pytest.raises(ValueError, match="steps >= 0"):
        summarize_levels([1], completed=[1], steps=[-1], levels=["easy"])
