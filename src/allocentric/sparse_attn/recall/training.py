"""Train a small model on an exercise and count what it recalls, inside and beyond its window.

Fresh exercises at every step, so nothing can be learned by heart; the test exercises come from another seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn.functional import cross_entropy

from allocentric.core import config
from allocentric.sparse_attn.recall.exercises import Exercises
from allocentric.sparse_attn.recall.model import Settings as ModelSettings
from allocentric.sparse_attn.recall.model import SmallModel

_TEST_SEED = 10_000_019
"""Added to the seed for the test exercises."""


class Settings(config.Settings):
    """How fast."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak; a tenth of the steps to reach it, then a cosine to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW, on matrices."""
    test: int = Field(default=1024, ge=1)
    """Test sequences."""
    seed: int = Field(default=0, ge=0)
    """Of weights and exercises."""


class Stage(NamedTuple):
    """A stretch of the training."""

    updates: int
    """How many."""
    batch: int
    """Sequences per update."""
    exercise: Any
    """Settings of the exercise."""


class Recall(NamedTuple):
    """What a trained model recalls."""

    right_NA: NDArray[np.bool_]
    """Which answers are right."""
    exercises: Exercises
    """The test exercises."""
    losses: list[float]
    """Training loss of every update."""
    density: float
    """`SmallModel.density` on test exercises."""
    parameters: int
    """Trained numbers."""
    seconds: float
    """Of training."""

    def accuracy(self, chosen_NA: NDArray[np.bool_]) -> float:
        """Share of right answers among some; NaN where there are none."""
        return float(self.right_NA[chosen_NA].mean()) if chosen_NA.any() else math.nan


def train(
    exercise: ModuleType,
    stages: Sequence[Stage],
    model_settings: ModelSettings,
    settings: Settings,
    watch: Callable[[int, float], None] | None = None,
) -> Recall:
    """Train one model from scratch.

    Args:
        exercise: `mqar` or `spatial_needle`.
        stages: Easy ones first; the last is what is tested. All have the same vocabulary.
        model_settings: Of the model.
        settings: Of the training.
        watch: Called after every update with (step, loss).
    """
    torch.manual_seed(settings.seed)
    tested = stages[-1].exercise
    model = SmallModel(model_settings, tested.vocabulary)
    steps = sum(stage.updates for stage in stages)
    optimizer = _optimizer(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, steps))
    rng = np.random.default_rng(settings.seed)
    losses = []
    start_s = time.perf_counter()
    every = [stage for stage in stages for _ in range(stage.updates)]
    for step, stage in enumerate(every):
        loss = _loss(model, exercise.draw(stage.exercise, stage.batch, rng))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if watch is not None:
            watch(step, losses[-1])
    seconds = time.perf_counter() - start_s
    test = exercise.draw(tested, settings.test, np.random.default_rng(settings.seed + _TEST_SEED))
    return Recall(
        right_NA=_right(model, test),
        exercises=test,
        losses=losses,
        density=_density(model, test),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=seconds,
    )


def _optimizer(model: SmallModel, settings: Settings) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))


def _warm_cosine(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _loss(model: SmallModel, exercises: Exercises) -> torch.Tensor:
    logits, answers = _answer_logits(model, exercises)
    return cross_entropy(logits.flatten(0, 1), answers.flatten())


def _answer_logits(model: SmallModel, exercises: Exercises) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, A, W) logits at the places of the answers, and the right tokens (N, A)."""
    logits_NLW = model(torch.from_numpy(exercises.tokens_NL), exercises.geometry)
    place = torch.from_numpy(np.ascontiguousarray(exercises.place_NA))
    picked = torch.take_along_dim(logits_NLW, place[..., None], dim=1)
    return picked, torch.from_numpy(exercises.answers)


@torch.no_grad()
def _right(model: SmallModel, test: Exercises, batch: int = 64) -> NDArray[np.bool_]:
    parts = []
    for start in range(0, len(test.tokens_NL), batch):
        logits, answers = _answer_logits(model, _some(test, slice(start, start + batch)))
        parts.append((logits.argmax(-1) == answers).numpy())
    return np.concatenate(parts)


@torch.no_grad()
def _density(model: SmallModel, test: Exercises) -> float:
    few = _some(test, slice(0, 4))
    return model.density(torch.from_numpy(few.tokens_NL), few.geometry)


def _some(exercises: Exercises, rows: slice) -> Exercises:
    return Exercises(
        tokens_NL=exercises.tokens_NL[rows],
        place_NA=exercises.place_NA[rows],
        gap_NA=exercises.gap_NA[rows],
        group_NA=exercises.group_NA[rows],
        chance_NA=exercises.chance_NA[rows],
        geometry=exercises.geometry,
    )
