"""T* and DATE keep their published rules, TimeSearch finds what there is.

The transcriptions follow TStar/interface_searcher.py of mll-lab-nu/TStar@014fd21 and utils/sampling.py of
yuanc3/DATE@a12084d step by step, with a seeded generator and with the repaired condition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.interpolate import UnivariateSpline

from allocentric.agents.memory.date import tass
from allocentric.agents.memory.t_star import Search, Settings

Table = list[dict[str, float]]


def tables(seed: int, count: int, labels: tuple[str, ...]) -> tuple[Table, Table]:
    """What each frame shows, small and whole: little is seen, and less of it is certain."""
    rng = np.random.default_rng(seed)
    small: Table = [{label: float(c) for label in labels if (c := rng.uniform(0, 0.7)) > 0.4} for _ in range(count)]
    whole: Table = [{label: min(1.0, c * float(rng.uniform(0.7, 1.2))) for label, c in seen.items()} for seen in small]
    return small, whole


def searched(small: Table, whole: Table, targets: list[str], seed: int, at_once: int, share: float) -> Any:
    """The loop of TStarSearcher.search: scores of all frames, and how often frames were sampled."""
    rng = np.random.default_rng(seed)
    total, threshold, steps = len(small), 0.5, 0
    remaining, budget = list(targets), min(1000, total * share)
    score, unvisited, chance = np.zeros(total), np.ones(total), np.ones(total) * threshold * 0.3
    while remaining and budget > 0:
        number = min(at_once, total)
        if steps == 0:
            sample = np.arange(0, total, total // number)[:number]
        else:
            weights = (chance + number / total) * unvisited
            weights = weights * (weights >= np.percentile(weights, 75))
            sample = rng.choice(total, size=number, replace=False, p=weights / weights.sum())
        budget -= at_once
        steps += 1
        seen = [max(small[int(frame)].values(), default=0.0) for frame in sample]
        for frame, confidence in zip(sample, seen, strict=True):
            unvisited[frame] = 0
            score[frame] = confidence
        quarter = np.percentile(seen, 75)
        for frame in [f for f, confidence in zip(sample, seen, strict=True) if confidence >= quarter]:
            for offset in range(-5, 6):
                if 0 <= frame + offset < total:
                    score[frame + offset] = max(score[frame + offset], score[frame] / (abs(offset) + 1))
        visited = [f for f in range(total) if unvisited[f] == 0]
        spline = UnivariateSpline(visited, [score[f] for f in visited], s=0.5)
        fitted = 1 / (1 + np.exp(-np.maximum(1 / total, spline(np.arange(total)))))
        chance = fitted / fitted.sum()
        for frame in sample:
            for target in list(remaining):
                if target in small[int(frame)]:
                    score[frame] = max(whole[int(frame)].values(), default=0.0)
                    if target in whole[int(frame)] and score[frame] > threshold:
                        remaining.remove(target)
                        break
    return score, steps


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [90, 400])
def test_t_star_equals_the_published_loop(seed: int, count: int) -> None:
    labels = ("sofa", "lamp", "bed", "cup", "rug")
    small, whole = tables(seed, count, labels)
    for seen in whole:  # two of the targets are never certain, so that the search goes on to the end
        seen.update({label: min(confidence, 0.5) for label, confidence in seen.items() if label in ("cup", "rug")})
        if "cup" in seen or "rug" in seen:
            seen.update({label: min(confidence, 0.5) for label, confidence in seen.items()})
    settings = Settings(looks_at_once=16, search_share=0.5, seed=seed)
    mine = Search(
        count=count, targets=labels, glance=lambda f: small[f], verify=lambda f: whole[f], settings=settings
    ).run()
    theirs, steps = searched(small, whole, list(labels), seed, 16, 0.5)
    assert steps > 2
    np.testing.assert_array_equal(mine, theirs)


def test_t_star_stops_when_all_is_found_and_when_all_is_seen() -> None:
    looked: list[int] = []

    def glance(frame: int) -> dict[str, float]:
        looked.append(frame)
        return {"sofa": 0.9} if frame == 8 else {}

    settings = Settings(looks_at_once=16, search_share=1.0)
    Search(count=128, targets=["sofa"], glance=glance, verify=glance, settings=settings).run()
    assert looked == [*range(0, 128, 8), 8], "an even sample, and one look at the whole frame"
    for count in (1, 2, 3, 5, 20):
        looked.clear()
        Search(count=count, targets=["bed"], glance=glance, verify=glance, settings=settings).run()
        assert len(set(looked)) == len(looked) <= count


def sampled(times: list[float], scores: list[float], most: int, interval: float) -> list[int]:
    """tass_sampling and get_final_indices, with `topk is None` where the shipped code has `is not None`."""
    topk = min(len([x for x in scores if x > sum(scores) / len(scores)]), most * 4)
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])[:topk]
    if len(ranked) <= most:
        return ranked
    chosen: list[int] = []
    while len(chosen) < most:
        for index in ranked:
            if index not in chosen and all(abs(times[index] - times[other]) >= interval for other in chosen):
                chosen.append(index)
                if len(chosen) >= most:
                    break
        interval *= 0.5
    return chosen


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [4, 16, 64, 300])
def test_tass_equals_the_published_rule(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(500.0).tolist()
    scores = (np.sin(np.arange(500) / 40) + rng.normal(0, 0.3, 500)).tolist()
    assert tass(times, scores, frames=most, gap_s=20.0) == sampled(times, scores, most, 20.0)


def test_tass_spreads_and_takes_frames_that_are_all_alike() -> None:
    times, scores = np.arange(100.0).tolist(), [1.0] * 50 + [0.9] * 10 + [0.0] * 40
    assert tass(times, scores, frames=15, gap_s=20.0)[:3] == [0, 20, 40], "not the best, which lie side by side"
    assert tass(times, [0.5] * 100, frames=2, gap_s=20.0) == [0, 5], "of 8 candidates, at a gap halved to 5 s"
