from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from allocentric.datasets.selection import Candidate, ShortageError, balanced, select

WORDS = ("back", "left", "right")


def direction(index: int, label: str, letter: int, scene: str = "s") -> Candidate:
    rest = [word for word in WORDS if word != label]
    choices = (*rest[:letter], label, *rest[letter:])
    return Candidate(f"{index:06d}", "direction", scene, label, letter, choices)


def directions(counts: dict[str, int], seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    labels = [label for label, n in counts.items() for _ in range(n)]
    return [
        direction(index, label, int(rng.integers(3)), f"scene{int(rng.integers(10))}")
        for index, label in enumerate(labels)
    ]


def test_quota_is_even_over_labels_and_letters():
    chosen = select(
        directions({"left": 400, "right": 300, "back": 60}), {"direction": 90}, max_label_ratio=1.5, allow_short=False
    )
    assert Counter(c.label for c in chosen) == {"left": 30, "right": 30, "back": 30}
    assert Counter((c.label, c.letter) for c in chosen) == {(word, k): 10 for word in WORDS for k in range(3)}


def test_no_word_exceeds_its_ratio_to_the_rarest():
    chosen = select(
        directions({"left": 400, "right": 300, "back": 60}),
        {"direction": None},
        max_label_ratio=1.5,
        allow_short=False,
    )
    assert Counter(c.label for c in chosen) == {"left": 90, "right": 90, "back": 60}


def test_choice_does_not_depend_on_the_order_candidates_come_in():
    candidates = directions({"left": 40, "right": 30, "back": 20})
    shuffled = [candidates[index] for index in np.random.default_rng(1).permutation(len(candidates))]
    options = {"max_label_ratio": 1.5, "allow_short": False}
    assert select(candidates, {"direction": 31}, **options) == select(shuffled, {"direction": 31}, **options)


def test_the_same_question_counts_once():
    candidates = directions({"left": 5, "right": 5, "back": 5})
    chosen = select(candidates * 3, {"direction": None}, max_label_ratio=1.5, allow_short=False)
    assert len(chosen) == len({c.id for c in chosen}) == 15


def test_scenes_take_turns():
    candidates = [direction(index, WORDS[index % 3], 0, f"scene{index % 30 // 3}") for index in range(3000)]
    chosen = select(candidates, {"direction": 30}, max_label_ratio=1.0, allow_short=False)
    assert set(Counter(c.scene_id for c in chosen).values()) == {3}


def test_too_few_items_are_refused_by_name_and_number():
    with pytest.raises(ShortageError, match=r"'direction': got 22 balanced items, expected 30 .*back 6, left 40"):
        select(
            directions({"left": 40, "right": 30, "back": 6}),
            {"direction": 30},
            max_label_ratio=1.34,
            allow_short=False,
        )


def test_allow_short_takes_what_there_is():
    assert select([], {"direction": 3}, max_label_ratio=1.5, allow_short=True) == []


def test_an_option_is_right_in_proportion_to_how_often_it_is_offered():
    """Chairs are the answer whenever they are offered; knowing that must not help a guesser in what is kept."""
    rng = np.random.default_rng(0)
    names = [f"thing{index}" for index in range(12)]
    candidates = []
    for index in range(3000):
        offered = [names[k] for k in rng.permutation(12)[:4]]
        gold = "thing0" if "thing0" in offered else str(rng.choice(offered))
        candidates.append(
            Candidate(f"{index:06d}", "near", f"s{index % 20}", gold, offered.index(gold), tuple(offered))
        )
    kept = balanced(candidates, max_label_ratio=1.2)
    right = Counter(c.label for c in kept)
    offered_times = Counter(name for c in kept for name in c.choices)
    assert len(kept) > 1000
    assert all(right[name] <= 1.2 / 4 * offered_times[name] + 3 for name in names)
    assert sum(c.label == "thing0" for c in candidates) / 1000 > 0.9  # the shortcut was there
