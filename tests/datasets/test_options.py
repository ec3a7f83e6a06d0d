"""Options must not give the answer away by their rank, their spacing or their company."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from allocentric.core.types import Choice, Evidence, Item, Number
from allocentric.datasets.options import as_choice, kendall_distance, numeric_options, order_options


@pytest.mark.parametrize(("value", "decimals"), [(2.3, 1), (98, 0), (26.4, 1), (12, 0)])
def test_rank_of_the_right_number_is_uniform(value, decimals):
    rng = np.random.default_rng(1)
    text = f"{value:.{decimals}f}"
    ranks = Counter()
    for _ in range(4000):
        options = numeric_options(value, decimals=decimals, options=4, rng=rng)
        assert options is not None
        numbers = [float(option) for option in options]
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0
        ranks[options.index(text)] += 1
    assert stats.chisquare([ranks[k] for k in range(4)]).pvalue > 1e-4


def test_spacing_is_the_same_on_both_sides():
    rng = np.random.default_rng(2)
    ratios = {"below": [], "above": []}
    for _ in range(3000):
        numbers = [float(option) for option in numeric_options(1000, decimals=0, options=4, rng=rng)]
        for low, high in pairwise(numbers):
            ratios["above" if low >= 1000 else "below"].append(high / low)
    assert stats.ks_2samp(ratios["below"], ratios["above"]).pvalue > 1e-3
    assert min(ratios["below"] + ratios["above"]) > 1.19
    assert max(ratios["below"] + ratios["above"]) < 1.61


def test_small_counts_are_left_out_rather_than_made_the_smallest():
    rng = np.random.default_rng(3)
    drawn = [numeric_options(2, decimals=0, options=4, rng=rng) for _ in range(4000)]
    ranks = Counter("none" if options is None else options.index("2") for options in drawn)
    assert set(ranks) == {"none", 0, 1}
    assert stats.chisquare([ranks[0], ranks[1], ranks["none"]], [1000, 1000, 2000]).pvalue > 1e-4


def test_choice_form_of_an_item():
    item = Item(
        id="x", kind="object_abs_distance", prompt="How far?", gold=Number(2.3, "m"), scene_id="s", source="made_up",
        evidence=Evidence(label="2.3"),
    )  # fmt: skip
    choice = as_choice(item, np.random.default_rng(0))
    assert choice is not None
    assert choice.kind == "object_abs_distance_choice"
    assert isinstance(choice.gold, Choice)
    assert choice.choices[choice.gold.index] == "2.3"
    assert len(set(choice.choices)) == 4
    assert choice.id != item.id
    assert as_choice(choice, np.random.default_rng(0)) is choice


def test_orders_are_neither_nearly_right_nor_recognisable():
    rng = np.random.default_rng(4)
    central = []
    for _ in range(3000):
        options = order_options("abcd", rng)
        assert options[0] == tuple("abcd")
        pairs = [kendall_distance(a, b) for k, a in enumerate(options) for b in options[k + 1 :]]
        assert min(pairs) >= 2
        assert max(pairs) <= 4
        sums = [sum(kendall_distance(a, b) for b in options) for a in options]
        nearest = [k for k, value in enumerate(sums) if value == min(sums)]
        central.append((0 in nearest) / len(nearest))
    assert abs(np.mean(central) - 0.25) < 0.03  # the one nearest to the others is right one time in four


def test_kendall_distance_by_hand():
    assert kendall_distance("abcd", "abcd") == 0
    assert kendall_distance("abcd", "dcba") == 6
    assert kendall_distance("abcd", "bacd") == 1
