"""Quizzes as VSI-SUPER records: what is written is loaded and scored by the benchmarks of that name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest

from allocentric.core.errors import UserError
from allocentric.core.types import Choice, Number
from allocentric.datasets.supersensing.quiz import Quiz
from allocentric.datasets.supersensing.records import write_set
from allocentric.eval.benchmarks import vsi_super_count, vsi_super_recall


def as_ten_minutes(made: Quiz) -> Quiz:
    """The same quiz under a length that VSI-SUPER publishes."""
    return replace(made, settings=made.settings.model_copy(update={"minutes": 10.0}))


@pytest.fixture(scope="module")
def written(make_quiz: Callable[..., Quiz], tmp_path_factory: pytest.TempPathFactory) -> tuple[Quiz, Path]:
    folder = tmp_path_factory.mktemp("quiz")
    made = as_ten_minutes(make_quiz(4.0, "plain", query_times=4))
    counts = write_set([made], folder, videos=False)
    assert sum(counts.values()) == len(made.items)
    return made, folder


@pytest.mark.parametrize("kind", ["recall", "where_direction", "where_way_back", "change"])
def test_options_go_round_by_vsi_super_recall(written: tuple[Quiz, Path], kind: str) -> None:
    made, folder = written
    mine = [item for item in made.items if item.kind == kind]
    assert mine
    loaded = items_of(vsi_super_recall, folder / kind)
    assert [(one.prompt, one.choices, one.gold) for one in loaded] == [(i.prompt, i.choices, i.gold) for i in mine]
    for item in loaded:
        assert isinstance(item.gold, Choice)
        assert worths(vsi_super_recall, item, ascii_uppercase[item.gold.index]) == {1.0}
        assert worths(vsi_super_recall, item, ascii_uppercase[(item.gold.index + 1) % 4]) == {0.0}


@pytest.mark.parametrize("kind", ["count", "where_metres", "count_streaming"])
def test_numbers_go_round_by_vsi_super_count(written: tuple[Quiz, Path], kind: str) -> None:
    made, folder = written
    mine = [item for item in made.items if item.kind == kind]
    assert mine
    for item, one in zip(items_of(vsi_super_count, folder / kind), mine, strict=True):
        assert item.prompt == one.prompt
        if isinstance(one.gold, Number):
            assert item.gold == Number(one.gold.value)
            assert worths(vsi_super_count, item, str(one.gold.value)) == {1.0}
            assert worths(vsi_super_count, item, str(one.gold.value * 3)) == {0.0}
        else:
            assert item.extra["answers"] == json.loads(one.gold.text)
            assert item.extra["query_times"] == one.extra["asks"]["query_times"]
            assert worths(vsi_super_count, item, one.gold.text) == {1.0}


def test_a_set_is_not_written_over_another(written: tuple[Quiz, Path]) -> None:
    made, folder = written
    with pytest.raises(UserError, match="holds a set already"):
        write_set([made], folder, videos=False)


def items_of(benchmark: Any, folder: Path) -> list[Any]:
    return list(benchmark.build(benchmark.Settings(dataset=str(folder))).items())


def worths(benchmark: Any, item: Any, text: str) -> set[float]:
    """Worth of a text under every profile."""
    made = benchmark.build(benchmark.Settings())
    return {made.score(item, text, profile).value for profile in made.profiles}
