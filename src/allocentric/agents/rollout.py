"""Episodes: a model that writes, or a policy that acts, in an environment with Gymnasium's interface.

A model is asked once per turn for one action. It is shown the instruction, the last `window` rounds (picture, state,
what it did, what became of it) and the present picture; older rounds are gone, so a prompt's length is bounded
whatever the episode's. Several environments are played at once, and what a model is asked in one episode depends on
that episode alone: batch size and resuming change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
from pydantic import Field

from allocentric.agents.adapters import Adapter, Reading
from allocentric.agents.watching import Watcher
from allocentric.core import config
from allocentric.core.types import Episode, Image, Model, Policy, Prompt, Response, Sampling, Turn, Unreadable, View

NOT_READ = "not_read"
"""Key of a turn's info with the reason why its text could not be read."""
_METRICS = ("spl", "soft_spl", "oracle_success", "score", "claim_in_window", "claim_in_view")
"""What environments tell at the end, where they do; kept in the outcome."""


class Environment(Protocol):
    """The part of Gymnasium's interface that is used."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        ...

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act."""
        ...


class Settings(config.Settings):
    """How a model is asked."""

    window: int | None = Field(default=2, ge=0)
    """Past rounds shown beside the present one, as H* does with 2; None shows all."""
    max_turns: int = Field(default=10, ge=1)
    """Turns of an episode, whatever the environment allows; one that is not over by then is cut off."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Longest text of a turn."""
    temperature: float = Field(default=0.0, ge=0.0)
    """0 is greedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Which episode is played."""

    key: str
    """Unique among the episodes of a run; seeds a model's sampling together with the turn."""
    seed: int
    """Of the reset, the policy and the sampling."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the reset."""


# --------------------------------------------------------------------------------------------------------- policies


def play(policy: Policy, env: Environment, start: Start, *, max_turns: int) -> Episode:
    """One episode of a policy; cut off after `max_turns`."""
    observation, info = env.reset(seed=start.seed, options=dict(start.options) or None)
    policy.reset(start.seed)
    record = _Record(start, info)
    while not record.over(max_turns):
        action = policy.act(observation)
        shown = observation
        observation, reward, terminated, truncated, info = env.step(action)
        record.add(shown, None, action, reward, terminated, truncated, info)
    return record.episode(max_turns)


# --------------------------------------------------------------------------------------------------------- watchers


def watch(watcher: Watcher, env: Environment, start: Start, *, max_turns: int) -> Episode:
    """One stream with a watcher; every turn's info has its notes as `agent`. Cut off after `max_turns`.

    An answer that the model fails to give ends the episode: the outcome then has `failed` with the reason, and is no
    result.
    """
    observation, info = env.reset(seed=start.seed, options=dict(start.options) or None)
    watcher.reset(start.seed)
    record = _Record(start, info)
    while not record.over(max_turns):
        said = watcher.act(observation)
        record.failed = watcher.failed
        if record.failed is not None:
            break
        shown = observation
        observation, reward, terminated, truncated, info = env.step(said)
        told = {"agent": watcher.told.record()}
        record.add(shown, said, said, reward, terminated, truncated, {**info, **told})
    record.spent(watcher.prompt_tokens, watcher.completion_tokens)
    return record.episode(max_turns)


# ----------------------------------------------------------------------------------------------------------- models


def rollout(
    model: Model,
    envs: Sequence[Environment],
    starts: Iterable[Start],
    adapter: Adapter,
    settings: Settings,
) -> Iterator[tuple[Start, Episode]]:
    """Play every start, as many at once as there are environments; each episode is yielded when it is over.

    A response with an error ends its episode: the outcome then has `failed` with the reason, and is no result.

    Args:
        model: Asked once per turn with one prompt per running episode.
        envs: At least one; each plays one episode after another.
        starts: In order.
        adapter: Words for these environments.
        settings: How the model is asked.
    """
    waiting = iter(starts)
    seats = [_Seat(env, start, adapter, settings) for env, start in zip(envs, waiting, strict=False)]
    # zip takes a start only after an environment, so none is lost when the environments run out first
    while seats:
        responses = model.generate([seat.prompt() for seat in seats])
        assert len(responses) == len(seats), f"{model.name} answered {len(responses)} of {len(seats)} prompts"
        going: list[_Seat] = []
        for seat, response in zip(seats, responses, strict=True):
            seat.act(response)
            if not seat.over:
                going.append(seat)
                continue
            yield seat.start, seat.episode()
            going.extend(_Seat(seat.env, start, adapter, settings) for start in islice(waiting, 1))
        seats = going


@dataclass(frozen=True, slots=True)
class Round:
    """One past turn as it is told to the model."""

    picture: Image
    """What was seen."""
    state: str
    """The rest of the observation."""
    said: str
    """What was done, or that nothing was."""
    feedback: str
    """What became of it."""


def turn_prompt(
    adapter: Adapter, observation: Any, rounds: Sequence[Round], settings: Settings, *, key: str, seed: int
) -> Prompt:
    """The prompt of one turn: pictures of the last rounds and of now, and one text that numbers them."""
    kept = list(rounds) if settings.window is None else list(rounds)[max(0, len(rounds) - settings.window) :]
    lines = [f"Instruction: {adapter.instruction(observation)}", ""]
    for number, past in enumerate(kept, start=1):
        parts = [f"Picture {number}:", past.state, "You replied:", past.said, past.feedback]
        lines.append(" ".join(part for part in parts if part))
    state = adapter.state(observation)
    lines.append(" ".join(part for part in (f"Picture {len(kept) + 1} is what you see now.", state) if part))
    views = tuple(View(image=picture) for picture in [*(past.picture for past in kept), adapter.picture(observation)])
    sampling = Sampling(max_new_tokens=settings.max_new_tokens, temperature=settings.temperature, seed=seed)
    return Prompt(
        item_id=f"{key}/{len(rounds)}", text="\n".join(lines), views=views, system=adapter.system(), sampling=sampling
    )


class _Seat:
    """One running episode of a model."""

    def __init__(self, env: Environment, start: Start, adapter: Adapter, settings: Settings) -> None:
        self.env, self.start = env, start
        self._adapter, self._settings = adapter, settings
        self._observation, info = env.reset(seed=start.seed, options=dict(start.options) or None)
        self._record = _Record(start, info)
        self._rounds: list[Round] = []

    @property
    def over(self) -> bool:
        return self._record.over(self._settings.max_turns)

    def prompt(self) -> Prompt:
        return turn_prompt(
            self._adapter,
            self._observation,
            self._rounds,
            self._settings,
            key=self.start.key,
            seed=self.start.seed,
        )

    def act(self, response: Response) -> None:
        self._record.count(response)
        if response.error is not None or response.finish_reason == "error":
            self._record.failed = " ".join((response.error or "no reason given").split())
            return
        read = self._adapter.read(response.text)
        said: dict[str, Any] = {"finish_reason": response.finish_reason}
        if isinstance(read, Unreadable):
            said[NOT_READ] = read.reason
            reading = Reading(self._adapter.idle, f"(unreadable: {read.reason})")
        else:
            reading = read
        shown = self._observation
        reward, terminated, truncated = 0.0, False, False
        info: dict[str, Any] = {}
        if reading.action is not None:  # else the environment can't spend a turn on nothing
            self._observation, reward, terminated, truncated, info = self.env.step(reading.action)
        feedback = "" if isinstance(read, Unreadable) else self._adapter.feedback(info)
        self._rounds.append(Round(self._adapter.picture(shown), self._adapter.state(shown), reading.said, feedback))
        self._record.add(shown, response.text, reading.action, reward, terminated, truncated, {**info, **said})

    def episode(self) -> Episode:
        return self._record.episode(self._settings.max_turns)


class _Record:
    """Turns of one episode and what they sum to."""

    def __init__(self, start: Start, info: Mapping[str, Any]) -> None:
        self.failed: str | None = None
        self._start, self._first, self._last = start, dict(info), dict(info)
        self._turns: list[Turn] = []
        self._tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        self._began_s = time.perf_counter()

    def over(self, max_turns: int) -> bool:
        ended = bool(self._turns) and (self._turns[-1].terminated or self._turns[-1].truncated)
        return self.failed is not None or ended or len(self._turns) >= max_turns

    def count(self, response: Response) -> None:
        self.spent(response.prompt_tokens or 0, response.completion_tokens or 0)

    def spent(self, prompt_tokens: int, completion_tokens: int) -> None:
        self._tokens["prompt_tokens"] += prompt_tokens
        self._tokens["completion_tokens"] += completion_tokens

    def add(
        self,
        observation: Any,
        text: str | None,
        action: Any,
        reward: Any,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
    ) -> None:
        self._last |= info
        turn = Turn(
            observation=observation,
            text=text,
            action=action,
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            info=dict(info),
        )
        self._turns.append(turn)

    def episode(self, max_turns: int) -> Episode:
        turns = self._turns
        if turns and not (turns[-1].terminated or turns[-1].truncated) and len(turns) >= max_turns:
            turns[-1] = replace(turns[-1], truncated=True, info={**turns[-1].info, "cut_off": max_turns})
        return Episode(steps=tuple(turns), seed=self._start.seed, outcome=self._outcome())

    def _outcome(self) -> dict[str, Any]:
        level = self._first.get("level")
        outcome: dict[str, Any] = {
            "success": bool(self._last.get("success", False)),
            "completed": bool(self._turns) and self._turns[-1].terminated,
            "steps": len(self._turns),
            "reward": float(sum(turn.reward for turn in self._turns)),
            "level": None if level in (None, -1) else level,
            "scene_id": str(self._first.get("scene_id", self._first.get("stream", ""))),
            "unreadable": sum(NOT_READ in turn.info or bool(turn.info.get("unreadable")) for turn in self._turns),
            "invalid": sum(not turn.info.get("valid", True) for turn in self._turns if NOT_READ not in turn.info),
            **self._tokens,
            "seconds": time.perf_counter() - self._began_s,
        }
        outcome |= {key: _number(self._last[key]) for key in _METRICS if key in self._last}
        if "mean_score" in self._last:  # several questions; `score` is that of the last one
            outcome["score"] = _number(self._last["mean_score"])
        if self.failed is not None:
            outcome["failed"] = self.failed
        return outcome


def _number(value: Any) -> float | bool:
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)
