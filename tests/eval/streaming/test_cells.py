"""Policies watch a quiz and are asked, without anything being drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from whole_house import WholeHouse

from allocentric.core.errors import SettingsError
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.datasets.supersensing.quiz import Quiz
from allocentric.eval.streaming import cells
from allocentric.eval.streaming.cells import Cell, Policy
from allocentric.eval.streaming.ideal import IdealEncoder

LITTLE, ENOUGH = 4_000, 10_000_000
POLICIES = [
    Policy(label="last frames", name="last_n", settings={"codec": "none", "frames": 4, "budget_bytes": LITTLE}),
    Policy(label="everything", name="uniform", settings={"codec": "none", "frames": 500, "budget_bytes": ENOUGH}),
    Policy(label="bag", name="bag_of_frames", settings={"codec": "none", "budget_bytes": ENOUGH}, ideal=True),
]


@pytest.fixture
def watched(make_quiz: Callable[..., Quiz], monkeypatch: pytest.MonkeyPatch) -> tuple[Quiz, dict[str, cells.Watched]]:
    monkeypatch.setattr(cells, "Eyes", WholeHouse)
    made = make_quiz(4.0, "plain")
    found = cells.watch(made, POLICIES, IdealEncoder(WholeHouse(made.stream)))
    return made, {one.policy: one for one in found}


def test_every_policy_answers_every_question_within_its_budget(
    watched: tuple[Quiz, dict[str, cells.Watched]],
) -> None:
    made, by_policy = watched
    assert list(by_policy) == [policy.label for policy in POLICIES]
    for one in by_policy.values():
        assert [answer["item"] for answer in one.answers] == [item.id for item in made.items]
        assert 0 < one.peak_bytes <= one.budget_bytes
    assert {answer["worth"] for answer in by_policy["everything"].answers} == {1.0}
    assert {answer["frames"] for answer in by_policy["everything"].answers} == {len(made.stream)}
    assert {answer["frames"] for answer in by_policy["last frames"].answers} == {4}
    last = [answer["worth"] for answer in by_policy["last frames"].answers]
    assert sum(last) < len(last)


def test_the_golds_of_a_row_are_those_of_its_items(watched: tuple[Quiz, dict[str, cells.Watched]]) -> None:
    made, _ = watched
    golds = cells.golds(made.items)
    assert [gold["options"] for gold in golds] == [len(item.choices) for item in made.items]
    assert {gold["kind"] for gold in golds} == {kind for kinds in cells.TASKS.values() for kind in kinds}


def test_a_wrong_setting_of_a_policy_names_its_row() -> None:
    wrong = Policy(label="bag", name="last_n", settings={"frame": 3})
    with pytest.raises(SettingsError, match="bag: unknown setting 'frame'; did you mean 'frames'"):
        cells.build_memory(wrong, IdealEncoder.__new__(IdealEncoder))


@pytest.mark.slow
def test_a_bag_of_frames_falls_where_houses_are_walked_again_and_where_the_video_is_played_twice(
    tmp_path: Path,
) -> None:
    """With perfect eyes, on the streams of the table: what falls is a policy without time or space."""
    bag = Policy(label="bag", name="bag_of_frames", settings={"budget_bytes": 2**20}, ideal=True)
    worth: dict[str, dict[str, list[float]]] = {}
    for perturbation in ("plain", "revisit", "repeat"):
        tasks = worth.setdefault(perturbation, {task: [] for task in cells.TASKS})
        for number in range(3):
            made = cells.quiz_of(Cell(minutes=10, perturbation=perturbation, number=number), 0.5, tmp_path)
            (watched,) = cells.watch(made, [bag], IdealEncoder(Eyes(made.stream)))
            made.stream.close()
            for task, kinds in cells.TASKS.items():
                tasks[task] += [answer["worth"] for answer in watched.answers if answer["kind"] in kinds]
    mean = {one: np.mean([np.mean(values) for values in tasks.values()]) for one, tasks in worth.items()}
    assert mean["revisit"] < mean["plain"] - 0.1
    assert mean["repeat"] < mean["plain"] - 0.1
