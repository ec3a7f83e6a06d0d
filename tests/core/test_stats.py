"""Intervals cover what they promise, and closed forms agree with independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from allocentric.core.stats import (
    bootstrap,
    chance_adjusted,
    cluster_bootstrap,
    cluster_weights,
    clustered_mcnemar,
    clustered_standard_error,
    clustered_wilson_interval,
    detectable_difference,
    holm,
    intracluster_correlation,
    items_needed,
    mcnemar,
    paired_difference,
    percentile_interval,
    power,
    weighted_sum_error,
    wilson_interval,
)


def weighted_mean(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def clustered_sample(rng, clusters=40, size=5, spread=1.0):
    """Cluster effects of standard deviation `spread` around a true mean of 0, plus unit noise."""
    names = np.repeat(np.arange(clusters), size)
    return rng.normal(0, spread, clusters)[names] + rng.normal(0, 1, len(names)), names.tolist()


def test_weights_count_draws_of_whole_clusters():
    clusters = ["a", "b", "a", "c", "b", "a"]
    (weights,) = cluster_weights(clusters, replicates=500, seed=3)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_bootstrap_is_the_same_in_one_block_or_many(monkeypatch):
    rng = np.random.default_rng(0)
    values, clusters = clustered_sample(rng)
    whole = bootstrap(weighted_mean(values), clusters, replicates=300, seed=1)["mean"]
    monkeypatch.setattr("allocentric.core.stats._BLOCK_WEIGHTS", 7 * len(values))
    np.testing.assert_allclose(bootstrap(weighted_mean(values), clusters, replicates=300, seed=1)["mean"], whole)


def test_weights_equal_resampling_rows_by_hand():
    """The weighted mean of a replicate is the mean of the concatenated drawn clusters."""
    rng = np.random.default_rng(1)
    values, clusters = clustered_sample(rng, clusters=6, size=3)
    (weights,) = cluster_weights(clusters, replicates=20, seed=0)
    for row in weights:
        drawn = np.concatenate([np.repeat(values[i], int(row[i])) for i in range(len(values))])
        np.testing.assert_allclose(weighted_mean(values)(row[None])["mean"][0], drawn.mean())


@pytest.mark.parametrize("clusters", [12, 40])
def test_nominal_95_percent_covers_92_to_98(clusters):
    rng = np.random.default_rng(20)
    hits = 0
    for trial in range(500):
        values, names = clustered_sample(rng, clusters=clusters)
        interval = cluster_bootstrap(weighted_mean(values), names, replicates=400, seed=trial)["mean"]
        hits += interval.low <= 0 <= interval.high
    assert 0.92 <= hits / 500 <= 0.98


def test_ignoring_clusters_covers_far_less():
    """The reason for clustering: the same data with every item its own cluster."""
    rng = np.random.default_rng(20)
    hits = 0
    for trial in range(200):
        values, names = clustered_sample(rng)
        interval = cluster_bootstrap(weighted_mean(values), range(len(names)), replicates=300, seed=trial)["mean"]
        hits += interval.low <= 0 <= interval.high
    assert hits / 200 < 0.8


def test_expanded_is_wider_for_few_clusters_and_equal_for_many():
    values = np.random.default_rng(4).normal(size=4000)
    few = [percentile_interval(values, clusters=8, expanded=flag) for flag in (True, False)]
    many = [percentile_interval(values, clusters=100_000, expanded=flag) for flag in (True, False)]
    assert few[0].low < few[1].low
    assert few[0].high > few[1].high
    assert many[0].low == pytest.approx(many[1].low, abs=1e-3)


def test_one_cluster_has_no_interval():
    interval = cluster_bootstrap(weighted_mean(np.array([0.0, 1.0])), ["a", "a"], replicates=100)["mean"]
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


def test_replicates_without_a_cell_are_left_out():
    values = np.array([0.2, 0.4, 0.9, 0.9])

    def only_second(weights):
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"cell": weights[:, 2:3] @ values[2:3] / weights[:, 2]}

    interval = cluster_bootstrap(only_second, ["a", "b", "c", "d"], replicates=200)["cell"]
    assert (interval.low, interval.high) == pytest.approx((0.9, 0.9))


def test_paired_difference_is_antisymmetric_and_zero_for_equal():
    rng = np.random.default_rng(5)
    a, clusters = clustered_sample(rng)
    b = a + rng.normal(0.3, 0.5, len(a))
    forward = paired_difference(weighted_mean(a), weighted_mean(b), clusters, seed=2)["mean"]
    backward = paired_difference(weighted_mean(b), weighted_mean(a), clusters, seed=2)["mean"]
    assert forward.value == pytest.approx(-backward.value)
    assert (forward.interval.low, forward.interval.high) == pytest.approx(
        (-backward.interval.high, -backward.interval.low)
    )
    assert forward.p_value == pytest.approx(backward.p_value)
    same = paired_difference(weighted_mean(a), weighted_mean(a), clusters)["mean"]
    assert (same.value, same.interval.low, same.interval.high, same.p_value) == (0, 0, 0, 1)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(6)
    a, clusters = clustered_sample(rng, spread=3)
    b = a + rng.normal(0.2, 0.1, len(a))
    paired = paired_difference(weighted_mean(a), weighted_mean(b), clusters)["mean"].interval
    alone = cluster_bootstrap(weighted_mean(a), clusters)["mean"]
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)


def test_clustered_standard_error_against_closed_forms():
    rng = np.random.default_rng(7)
    values = rng.normal(size=50)
    assert clustered_standard_error(values, range(50)) == pytest.approx(scipy_stats.sem(values))
    # Equal clusters: the standard error of the mean of the cluster means.
    means = values.reshape(10, 5).mean(axis=1)
    assert clustered_standard_error(values, np.repeat(np.arange(10), 5).tolist()) == pytest.approx(
        scipy_stats.sem(means)
    )
    assert np.isnan(clustered_standard_error(values, ["one"] * 50))


def test_clustered_standard_error_agrees_with_the_bootstrap():
    values, clusters = clustered_sample(np.random.default_rng(8), clusters=80)
    spread = bootstrap(weighted_mean(values), clusters, replicates=4000, seed=0)["mean"].std()
    assert spread == pytest.approx(clustered_standard_error(values, clusters), rel=0.06)


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (7, 20), (20, 20), (481, 1000)])
def test_wilson_against_scipy(successes, trials):
    expected = scipy_stats.binomtest(successes, trials).proportion_ci(method="wilson")
    interval = wilson_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_power_of_the_detectable_difference_is_the_power_asked_for():
    difference = detectable_difference(0.02, power=0.8)
    assert difference == pytest.approx((1.959964 + 0.841621) * 0.02, rel=1e-5)
    assert power(difference, 0.02) == pytest.approx(0.8, abs=1e-4)
    assert power(0.0, 0.02) == pytest.approx(0.05)
    assert items_needed(0.05, 0.5) == 785  # (2.8016 * 0.5 / 0.05)^2 = 784.9


def test_holm_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def clustered_coin(rng, clusters, size, share, spread):
    """0/1 outcomes; each cluster has its own probability, beta-distributed around `share`."""
    chance = rng.beta(share * spread, (1 - share) * spread, clusters)
    names = np.repeat(np.arange(clusters), size)
    return (rng.random(len(names)) < chance[names]).astype(float), names.tolist()


@pytest.mark.parametrize(("clusters", "size", "share"), [(30, 4, 0.5), (12, 8, 0.3), (60, 4, 0.05)])
def test_clustered_wilson_covers(clusters, size, share):
    rng = np.random.default_rng(5)
    covered, plain = [], []
    for _ in range(600):
        values, names = clustered_coin(rng, clusters, size, share, spread=1.5)
        found = clustered_wilson_interval(values, names)
        covered.append(found.low <= share <= found.high)
        naive = wilson_interval(values.sum(), len(values))
        plain.append(naive.low <= share <= naive.high)
    assert np.mean(covered) >= 0.93
    assert np.mean(plain) < 0.90  # what it is for


def test_clustered_wilson_at_the_ends_and_for_single_clusters():
    sure = clustered_wilson_interval(np.ones(20), list(range(10)) * 2)
    ten = wilson_interval(10, 10)
    assert sure.high == pytest.approx(1.0)
    assert ten.low - 0.1 < sure.low < ten.low  # no more than ten trials, and their spread is not known
    assert np.isnan(clustered_wilson_interval(np.ones(5), ["a"] * 5).low)
    many = np.arange(4000) % 2 == 0
    alone = clustered_wilson_interval(many.astype(float), list(range(4000)))
    apart = wilson_interval(2000, 4000)
    assert (alone.low, alone.high) == pytest.approx((apart.low, apart.high), abs=1e-4)


def test_mcnemar_is_the_binomial_test():
    """By hand: 1 + 7 discordant items, P(at most 1 of 8 heads) = 9 / 256 on each side."""
    assert mcnemar(1, 7) == pytest.approx(2 * 9 / 256)
    assert mcnemar(7, 1) == mcnemar(1, 7)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1


def test_clustered_mcnemar_of_single_items_is_the_usual_one():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 300)).astype(float)
    b, c = np.sum(first > second), np.sum(second > first)
    expected = scipy_stats.chi2.sf((b - c) ** 2 / (b + c), 1)
    assert clustered_mcnemar(first, second, range(300)) == pytest.approx(expected)
    assert clustered_mcnemar(first, first, range(300)) == 1


def test_clustered_mcnemar_keeps_its_level_where_the_exact_one_does_not():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(80), 8)
    rejected = np.zeros(2)
    for _ in range(400):
        better = np.repeat(rng.integers(0, 2, 80), 8)  # in every scene one model is better, none is overall
        discordant = rng.random(640) < 0.4
        first = np.where(discordant, better, 1.0)
        second = np.where(discordant, 1 - better, 1.0)
        p_exact = mcnemar(int(np.sum(first > second)), int(np.sum(second > first)))
        rejected += [clustered_mcnemar(first, second, clusters) < 0.05, p_exact < 0.05]
    assert rejected[0] / 400 == pytest.approx(0.05, abs=0.03)
    assert rejected[1] / 400 > 0.2


def test_weighted_sum_error_is_that_of_a_simulation():
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 9, 25)
    clusters = np.repeat(np.arange(25), sizes)
    weights = rng.random(len(clusters))
    shared, own = rng.normal(0, 0.3**0.5, (20_000, 25)), rng.normal(0, 0.7**0.5, (20_000, len(clusters)))
    sums = 2.0 * (shared[:, clusters] + own) @ weights
    found = weighted_sum_error(weights, clusters.tolist(), deviation=2.0, correlation=0.3)
    assert found == pytest.approx(sums.std(), rel=0.02)


def test_intracluster_correlation_recovers_what_was_drawn():
    rng = np.random.default_rng(6)
    values, clusters = clustered_sample(rng, clusters=4000, size=5, spread=0.5)
    assert intracluster_correlation(values, clusters) == pytest.approx(0.25 / 1.25, abs=0.02)
    assert np.isnan(intracluster_correlation(values[:3], ["a", "b", "c"]))


def test_chance_adjusted_ends():
    assert chance_adjusted(0.25, 0.25) == 0
    assert chance_adjusted(1.0, 0.25) == 1
    assert chance_adjusted(0.0, 0.5) == -1
    assert np.isnan(chance_adjusted(1.0, 1.0))
