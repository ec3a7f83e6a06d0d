from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from allocentric.core.errors import UserError
from allocentric.core.types import Choice, Evidence, Item, Number
from allocentric.datasets.audit import Settings, ShortcutError, audit

WORDS = ("left", "right", "back", "front")
THINGS = ("chair", "table", "sofa", "bed", "lamp", "door", "window", "plant")


def choice_items(count: int = 400, seed: int = 0) -> list[Item]:
    """Nothing in the text tells the answer."""
    rng = np.random.default_rng(seed)
    items = []
    for index in range(count):
        a, b, c = rng.choice(THINGS, size=3, replace=False)
        choices = tuple(str(word) for word in rng.permutation(WORDS))
        place = int(rng.integers(4))
        items.append(
            Item(
                id=f"{index:05d}",
                kind="direction",
                prompt=f"Standing by the {a} and facing the {b}, where is the {c}?",
                choices=choices,
                gold=Choice(place),
                scene_id=f"scene{index % 20}",
                evidence=Evidence(label=choices[place]),
                source="test",
            )
        )
    return items


def number_items(count: int = 300, seed: int = 0) -> list[Item]:
    rng = np.random.default_rng(seed)
    return [
        Item(
            id=f"{index:05d}",
            kind="distance",
            prompt=f"How far is the {rng.choice(THINGS)} from the {rng.choice(THINGS)}?",
            gold=Number(round(float(rng.lognormal(0.5, 0.8)), 1) + 0.1, "m"),
            scene_id=f"scene{index % 20}",
            source="test",
        )
        for index in range(count)
    ]


def figure(result, baseline):
    return next(f for f in result.figures if f.baseline == baseline)


def test_clean_choices_pass_and_lie_at_chance():
    result = audit(choice_items(), Settings(replicates=200))
    result.check()
    for f in result.figures:
        assert f.chance == 0.25
        assert f.low <= 0.25 + 0.03
        assert f.high >= 0.25 - 0.03


def test_clean_numbers_pass():
    audit(number_items(), Settings(replicates=200)).check()


def test_a_hint_in_the_question_is_caught():
    hinted = [
        replace(item, prompt=f"{item.prompt} (seen while turning {item.choices[item.gold.index]})")
        for item in choice_items()
    ]
    result = audit(hinted, Settings(replicates=200))
    assert figure(result, "text").value > 0.9
    assert figure(result, "majority").passed
    with pytest.raises(ShortcutError, match=r"direction: text 9\d\.\d|direction: text 100"):
        result.check()


def test_a_pairing_of_question_and_answer_is_caught():
    """Behind the sofa is always left: only the pairing of a question's word with a meaning tells."""
    items = []
    for item in choice_items():
        gold = item.choices.index(WORDS[THINGS.index(item.prompt.rpartition(" the ")[2].rstrip("?")) % 4])
        items.append(replace(item, gold=Choice(gold)))
    result = audit(items, Settings(replicates=200))
    assert figure(result, "text").value > 0.8
    assert not figure(result, "text").passed


def test_a_favourite_meaning_is_caught_whatever_its_letter():
    rng = np.random.default_rng(1)
    items = [
        replace(item, gold=Choice(item.choices.index("left"))) if rng.random() < 0.6 else item
        for item in choice_items()
    ]
    result = audit(items, Settings(replicates=200))
    assert not figure(result, "prior").passed
    assert figure(result, "majority").passed


def test_a_favourite_letter_is_caught():
    rng = np.random.default_rng(1)
    items = [replace(item, gold=Choice(2)) if rng.random() < 0.6 else item for item in choice_items()]
    result = audit(items, Settings(replicates=200))
    assert not figure(result, "majority").passed


def test_a_number_in_words_is_caught():
    items = [
        replace(item, prompt=f"{item.prompt} {'far' if item.gold.value > 1.5 else 'near'}", gold=Number(v, "m"))
        for item in number_items()
        for v in [3.0 if item.gold.value > 1.5 else 0.6]
    ]
    result = audit(items, Settings(replicates=200))
    assert figure(result, "text").value > 0.9
    with pytest.raises(ShortcutError, match="distance: text"):
        result.check()


def test_a_memorised_scene_is_no_shortcut():
    """Answers that are constant within a scene can't be learned from other scenes."""
    rng = np.random.default_rng(0)
    answer = {f"scene{k}": str(rng.choice(WORDS)) for k in range(20)}
    items = [
        replace(
            item, prompt=f"{item.prompt} ({item.scene_id})", gold=Choice(item.choices.index(answer[item.scene_id]))
        )
        for item in choice_items()
    ]
    value = figure(audit(items, Settings(replicates=200)), "text").value
    assert value < 0.6


def test_limits_of_a_type_count_before_the_general_ones():
    strict = Settings(replicates=200, limits={"direction": 0.1})
    with pytest.raises(ShortcutError, match=r"allowed 10\.0"):
        audit(choice_items(), strict).check()


def test_one_scene_can_not_be_audited():
    with pytest.raises(UserError, match=r"needs items from 2 scenes or more, got 1"):
        audit([replace(item, scene_id="only") for item in choice_items(20)], Settings())


def test_same_items_same_figures():
    items = choice_items(100)
    assert audit(items, Settings(replicates=200)) == audit(items[::-1], Settings(replicates=200))
