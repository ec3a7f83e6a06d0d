"""Uncertainty of benchmark scores: clustered intervals, paired differences, standard errors, power.

Questions about one scene share its pictures and its mistakes, so the scene is the unit that is resampled. A replicate
draws scenes with replacement and is expressed as one weight per item (how often its scene was drawn): any published
average, however nested, that can be computed from weights gets an interval of exactly itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Array], Mapping[str, Any]]
"""(R, N) weights -> (R,) values by name; NaN where a replicate has nothing to average."""

_BLOCK_WEIGHTS = 4_000_000
"""Weights held at once (32 MB), which bounds memory for any number of items and replicates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A confidence interval on the scale of its statistic; both ends are NaN where there are under two clusters."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A paired difference, first minus second."""

    value: float
    """On the data."""
    interval: Interval
    """From the same resampled clusters for both sides."""
    p_value: float
    """Two-sided, from the bootstrap distribution; at least 1 / replicates, 1 where both sides are always equal."""


# -------------------------------------------------------------------------------------------------------- bootstrap


def cluster_weights(clusters: Sequence[Hashable], *, replicates: int, seed: int) -> Iterator[Array]:
    """Bootstrap weights of items, in blocks of replicates.

    Args:
        clusters: (N,) cluster of each item, e.g. its scene.
        replicates: Number of replicates R in all.
        seed: Same seed, same weights.

    Yields:
        (R', N) float64 blocks, R' summing to R: how often each item's cluster was drawn in each replicate.
    """
    _, member_of = _cluster_index(clusters)
    block = max(1, _BLOCK_WEIGHTS // max(len(clusters), 1))
    sizes = np.ones(int(member_of.max()) + 1)
    for draws in cluster_draws(sizes, replicates=replicates, seed=seed, block=block):
        yield draws[:, member_of]


def cluster_draws(sizes: Array, *, replicates: int, seed: int, block: int | None = None) -> Iterator[Array]:
    """How often clusters are drawn, in blocks of replicates; equal clusters may be counted together.

    Args:
        sizes: (G,) number of clusters in every group; ones for single clusters. Where the clusters of a group are
            equal it makes no difference which of them is drawn, and one multinomial over groups has the distribution
            of the draws of its clusters added up.
        replicates: Number of replicates R in all.
        seed: Same seed, same draws.
        block: Replicates of a block; None bounds its memory.

    Yields:
        (R', G) float64 blocks, R' summing to R; every row sums to the number of clusters.
    """
    rng = np.random.default_rng([seed, 0xB007])
    count = int(sizes.sum())
    block = block or max(1, _BLOCK_WEIGHTS // len(sizes))
    for start in range(0, replicates, block):
        yield rng.multinomial(count, sizes / count, size=min(block, replicates - start)).astype(float)


def bootstrap(
    statistic: Statistic, clusters: Sequence[Hashable], *, replicates: int = 2000, seed: int = 0
) -> dict[str, Array]:
    """Bootstrap distribution of every value of `statistic`.

    Returns:
        By name, (R,) replicated values; NaN where a replicate holds nothing to average.
    """
    parts: dict[str, list[Array]] = {}
    for weights in cluster_weights(clusters, replicates=replicates, seed=seed):
        for name, values in statistic(weights).items():
            parts.setdefault(name, []).append(np.asarray(values, dtype=float))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def cluster_bootstrap(
    statistic: Statistic,
    clusters: Sequence[Hashable],
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    expanded: bool = True,
) -> dict[str, Interval]:
    """Percentile interval of every value of `statistic`, resampling clusters.

    The percentile interval is too narrow for few clusters; `expanded` moves its two quantiles outward so that it
    matches the t interval for a mean (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section
    5.3.2). With many clusters both are the same.

    Args:
        statistic: (R, N) weights -> (R,) values by name.
        clusters: (N,) cluster of each item.
        replicates: Number of bootstrap replicates.
        seed: Same seed, same interval.
        level: Nominal coverage in (0, 1).
        expanded: False gives the plain percentile interval.
    """
    count = cluster_count(clusters)
    return {
        name: percentile_interval(values, clusters=count, level=level, expanded=expanded)
        for name, values in bootstrap(statistic, clusters, replicates=replicates, seed=seed).items()
    }


def percentile_interval(values: Array, *, clusters: int, level: float = 0.95, expanded: bool = True) -> Interval:
    """Quantiles of (R,) bootstrap `values` (NaN left out) that hold `level` of them, as in `cluster_bootstrap`."""
    finite = values[np.isfinite(values)]
    if clusters < 2 or finite.size == 0:
        return Interval(low=float("nan"), high=float("nan"))
    tail = _expanded_tail(clusters, level) if expanded else (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def paired_difference(
    first: Statistic,
    second: Statistic,
    clusters: Sequence[Hashable],
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """`first` minus `second` for every name both give, with both computed on the same resampled clusters.

    Swapping the two flips every sign and nothing else.
    """

    def difference(weights: Array) -> dict[str, Any]:
        a, b = first(weights), second(weights)
        return {name: np.asarray(a[name]) - np.asarray(b[name]) for name in a if name in b}

    count = cluster_count(clusters)
    point = difference(np.ones((1, len(clusters))))
    replicated = bootstrap(difference, clusters, replicates=replicates, seed=seed)
    return {
        name: Difference(
            value=float(point[name][0]),
            interval=percentile_interval(values, clusters=count, level=level),
            p_value=_bootstrap_p_value(values),
        )
        for name, values in replicated.items()
    }


def cluster_count(clusters: Sequence[Hashable]) -> int:
    """Number of different clusters."""
    return len(set(clusters))


def _cluster_index(clusters: Sequence[Hashable]) -> tuple[list[Hashable], NDArray[np.int64]]:
    position: dict[Hashable, int] = {}
    index = [position.setdefault(cluster, len(position)) for cluster in clusters]
    return list(position), np.array(index, dtype=np.int64)


def _expanded_tail(clusters: int, level: float) -> float:
    from scipy.special import stdtrit

    t = float(stdtrit(clusters - 1, 1 - (1 - level) / 2))
    return NormalDist().cdf(-((clusters / (clusters - 1)) ** 0.5) * t)


def _bootstrap_p_value(differences: Array) -> float:
    """Twice the smaller tail at zero, ties counted half on each side."""
    finite = differences[np.isfinite(differences)]
    if finite.size == 0:
        return float("nan")
    above = float(np.mean(finite > 0) + 0.5 * np.mean(finite == 0))
    return float(min(1.0, max(2 * min(above, 1 - above), 1 / finite.size)))


# -------------------------------------------------------------------------------------------------------- closed forms


def clustered_standard_error(values: Array, clusters: Sequence[Hashable]) -> float:
    """Standard error of the plain mean of (N,) `values` with dependence inside clusters.

    sqrt(G/(G-1) * sum_g (sum_{i in g} (x_i - mean))^2) / N; with one item per cluster it is the usual s / sqrt(N).
    NaN for fewer than two clusters. Source: Miller 2024 (arXiv 2411.00640) equation 4, with the G/(G-1) correction.
    """
    names, member_of = _cluster_index(clusters)
    count = len(names)
    if count < 2:
        return float("nan")
    residual_sums = np.bincount(member_of, weights=values - values.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.sum(residual_sums**2)) / len(values))


def wilson_interval(successes: float, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of independent trials, in [0, 1]."""
    if trials == 0:
        return Interval(low=float("nan"), high=float("nan"))
    return _wilson(successes / trials, trials, level)


def _wilson(share: float, trials: float, level: float) -> Interval:
    z = _two_sided_z(level)
    denominator = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / denominator
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / denominator
    return Interval(low=max(0.0, float(middle - half)), high=min(1.0, float(middle + half)))


def clustered_wilson_interval(successes: Array, clusters: Sequence[Hashable], *, level: float = 0.95) -> Interval:
    """Wilson interval of the mean of (N,) 0/1 `successes` with dependence inside clusters.

    The trials are replaced by the effective ones, N over the design effect (clustered over independent variance, at
    least 1), shrunk by (z / t)^2 for the few clusters the variance comes from; where all values are equal nothing
    tells the dependence, and each cluster counts as one trial. Unlike a bootstrap it has width at 0 and 100 %.
    Source: Korn and Graubard 1998, with Wilson's interval in place of the exact one (Franco et al. 2019). Both ends
    are NaN for fewer than two clusters.
    """
    from scipy.special import stdtrit

    count, trials = cluster_count(clusters), len(successes)
    if count < 2:
        return Interval(low=float("nan"), high=float("nan"))
    share = float(np.mean(successes))
    independent = share * (1 - share) / trials
    effective = float(count)
    if independent > 0:
        effective = trials / max(1.0, clustered_standard_error(successes, clusters) ** 2 / independent)
    t = float(stdtrit(count - 1, 1 - (1 - level) / 2))
    effective *= min(1.0, (_two_sided_z(level) / t) ** 2)
    return _wilson(share, effective, level)


def detectable_difference(standard_error: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest true difference found with probability `power`, given the standard error of the difference."""
    return (_two_sided_z(level) + NormalDist().inv_cdf(power)) * standard_error


def power(difference: float, standard_error: float, *, level: float = 0.95) -> float:
    """Probability that a true `difference` is found different from 0 (both tails)."""
    z = _two_sided_z(level)
    shift = abs(difference) / standard_error
    return NormalDist().cdf(shift - z) + NormalDist().cdf(-shift - z)


def items_needed(difference: float, standard_deviation: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Independent items needed to find `difference`, given the standard deviation of one item's difference."""
    return int(np.ceil((detectable_difference(standard_deviation, power=power, level=level) / difference) ** 2))


def half_width(standard_error: float, *, level: float = 0.95) -> float:
    """Half the normal interval of a score with this standard error."""
    return _two_sided_z(level) * standard_error


def chance_adjusted(score: float, chance: float) -> float:
    """A score on the scale where guessing is worth 0 and everything right 1; negative below chance.

    Both arguments are in [0, 1]; NaN where chance is 1. For plain accuracy with n options it is the CAA of SITE
    (arXiv 2505.05456), (hits - N/n) / (N - N/n).
    """
    return (score - chance) / (1 - chance) if chance < 1 else float("nan")


def weighted_sum_error(weights: Array, clusters: Sequence[Hashable], *, deviation: float, correlation: float) -> float:
    """Standard error of sum_i w_i x_i for equally spread x with one correlation inside clusters and none across.

    deviation * sqrt(sum over clusters of ((1 - correlation) * sum w_i^2 + correlation * (sum w_i)^2)). For equal
    weights and clusters of m items it is the design effect 1 + (m - 1) * correlation of Kish 1965.

    Args:
        weights: (N,) weight of each item in the published average; they need not add up to 1.
        clusters: (N,) cluster of each item.
        deviation: Standard deviation of one x.
        correlation: Between two items of one cluster, in [0, 1].
    """
    _, member_of = _cluster_index(clusters)
    squares = np.bincount(member_of, weights=weights**2)
    sums = np.bincount(member_of, weights=weights)
    return float(deviation * np.sqrt(np.sum((1 - correlation) * squares + correlation * sums**2)))


def intracluster_correlation(values: Array, clusters: Sequence[Hashable]) -> float:
    """Correlation of two (N,) `values` of one cluster, by the analysis-of-variance estimator (Donner 1986).

    (MSB - MSW) / (MSB + (m - 1) * MSW) with m = (N - sum n_k^2 / N) / (G - 1). It may be slightly negative; NaN where
    there are fewer than two clusters, one item in each, or no spread.
    """
    _, member_of = _cluster_index(clusters)
    sizes = np.bincount(member_of).astype(float)
    groups, count = len(sizes), len(values)
    if groups < 2 or groups == count:
        return float("nan")
    means = np.bincount(member_of, weights=values) / sizes
    between = float(np.sum(sizes * (means - values.mean()) ** 2)) / (groups - 1)
    within = float(np.sum((values - means[member_of]) ** 2)) / (count - groups)
    typical = (count - float(np.sum(sizes**2)) / count) / (groups - 1)
    total = between + (typical - 1) * within
    return (between - within) / total if total > 0 else float("nan")


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p-value that two models are right equally often, from the items only one of them has right.

    Binomial with probability 1/2 over the discordant items (McNemar 1947, in its exact form); 1 where there are none.
    It takes items to be independent; see `clustered_mcnemar`.
    """
    from scipy.stats import binomtest

    discordant = first_only + second_only
    return float(binomtest(first_only, discordant).pvalue) if discordant else 1.0


def clustered_mcnemar(first: Array, second: Array, clusters: Sequence[Hashable]) -> float:
    """McNemar's test of (N,) 0/1 values where items of one cluster depend on each other.

    (sum_k d_k)^2 / sum_k d_k^2 against chi-square with one degree of freedom, d_k the difference of the numbers right
    in cluster k (Yang, Sun and Hardin 2010). With one item per cluster it is the usual (b - c)^2 / (b + c). 1 where
    every cluster is equal.
    """
    from scipy.special import chdtrc

    _, member_of = _cluster_index(clusters)
    differences = np.bincount(member_of, weights=first - second)
    spread = float(np.sum(differences**2))
    return float(chdtrc(1, float(np.sum(differences)) ** 2 / spread)) if spread else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values for testing all of them together, in the given order."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _two_sided_z(level: float) -> float:
    return NormalDist().inv_cdf(1 - (1 - level) / 2)
