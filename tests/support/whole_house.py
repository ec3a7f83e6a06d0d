"""Quizzes whose eyes see the whole house in every frame, so that nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from allocentric.datasets.supersensing import quiz
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.scenes import stream as streams
from allocentric.scenes import trajectory
from allocentric.scenes.stream import Visit


class WholeHouse(Eyes):
    """Recognises every object of the house at full size in every frame."""

    def pixels(self, visit: Visit) -> tuple[dict[str, int], ...]:
        return (dict.fromkeys(self.things(visit), 10**6),) * self.stream.settings.stretch_frames


@pytest.fixture(scope="session")
def make_quiz() -> Iterator[Callable[..., quiz.Quiz]]:
    """(minutes, perturbation, **settings) -> a quiz with stretches of half a minute; made once per session."""
    walk = trajectory.Settings(width_px=64, height_px=48, fps=0.5)
    houses = streams.Settings(seed=1, rooms=(2, 2), stretch_s=30.0, walk=walk)
    made: dict[str, quiz.Quiz] = {}

    def make(minutes: float, perturbation: str, **settings: object) -> quiz.Quiz:
        key = repr((minutes, perturbation, sorted(settings.items())))
        if key not in made:
            values = {"seed": 20, "stream": houses, "recall": 1, "where": 1, "change": 4} | settings
            made[key] = quiz.make(quiz.Settings(minutes=minutes, perturbation=perturbation, **values))
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quiz, "Eyes", WholeHouse)
        yield make
