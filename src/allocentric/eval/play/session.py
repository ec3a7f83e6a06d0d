"""One person's game: episodes one after another, each action numbered, every finished episode saved before it shows.

Nothing here knows of HTTP. A request is either carried out or answered by a `Refusal` that leaves the game as it was.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from allocentric.agents.rollout import Start
from allocentric.core.errors import UserError
from allocentric.core.records import episode_from_record, episode_to_record
from allocentric.core.types import Episode, Image, Turn
from allocentric.eval.play.game import Game
from allocentric.eval.play.ledger import Ledger, outcome_of
from allocentric.eval.play.messages import Act, Begin, Deed
from allocentric.eval.play.pages import Pages
from allocentric.eval.play.refusal import Refusal

State: TypeAlias = dict[str, Any]
"""JSON values that a page draws itself from; `phase` is ready (waiting for the person), playing or ended."""


@dataclass
class _Running:
    """An episode that has begun."""

    number: int
    start: Start
    observation: Any
    info: Mapping[str, Any]
    began_s: float
    asked_s: float
    attempt: str = field(default_factory=lambda: secrets.token_hex(6))
    turns: list[Turn] = field(default_factory=list)
    last: Deed | None = None
    over: bool = False
    seconds: float = 0.0
    outcome: dict[str, Any] = field(default_factory=dict)


class Session:
    """The episodes of a game that a player has not played yet, in order."""

    def __init__(self, game: Game, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._game, self._ledger, self._clock = game, ledger, clock
        self._controls, self._count = game.controls, len(game.starts)
        self._pages = Pages(clock)
        self._done = {number for number in ledger.numbers() if number < self._count}
        self._running: _Running | None = None
        self._saved = True

    @property
    def finished(self) -> bool:
        """Every episode is played and saved."""
        return self._saved and len(self._done) == self._count

    def join(self, take: bool) -> str:
        """A name for a page that opens. Refusal while another page plays, unless this one takes the game over."""
        return self._pages.join(take=take)

    def leave(self, page: str) -> None:
        """A page closes; the game waits for the next one."""
        self._pages.leave(page)

    def state(self, page: str) -> State:
        """How things stand. Refusal where another page holds the game."""
        self._pages.check(page)
        return self._state()

    def begin(self, message: Begin) -> State:
        """Start the next episode; asking again for the one that runs changes nothing."""
        self._pages.check(message.page)
        self._save()
        running = self._running
        if running is not None and running.number == message.number:
            return self._state()
        if running is not None and not running.over:
            raise Refusal("stale", f"episode {running.number + 1} is being played; finish it first")
        if message.number != self._next():
            raise Refusal("stale", f"episode {message.number + 1} is not the next one")
        start = self._game.starts[message.number]
        try:
            observation, info = self._game.env.reset(seed=start.seed, options=dict(start.options) or None)
        except UserError as error:
            raise Refusal("wrong", str(error)) from None
        now = self._clock()
        self._running = _Running(message.number, start, observation, info, began_s=now, asked_s=now)
        return self._state()

    def act(self, message: Act) -> State:
        """Carry out one action, once.

        The action that was carried out last may be repeated (its answer got lost on the way) and changes nothing.

        Raises:
            Refusal: The action belongs to another episode or beginning, is out of order, comes after the end, or the
                environment has no such action.
        """
        self._pages.check(message.page)
        running = self._running
        if running is None or running.number != message.number or running.attempt != message.attempt:
            raise Refusal("stale", "this action belongs to an episode that is not being played any more")
        if message.sequence == len(running.turns) - 1 and message.deed == running.last:
            self._save()
            return self._state()
        if running.over:
            raise Refusal("over", "the episode is over: nothing more is counted")
        if message.sequence != len(running.turns):
            raise Refusal("stale", f"action {message.sequence + 1} came when action {len(running.turns) + 1} was due")
        self._step(running, message.deed)
        return self._state()

    def picture(self, number: int, attempt: str, sequence: int, index: int) -> Image:
        """(H, W, 3) picture number `index` of what the person sees now. Refusal where it is another moment's."""
        running = self._running
        moment = (number, attempt, sequence)
        if running is None or moment != (running.number, running.attempt, len(running.turns)):
            raise Refusal("stale", "this picture is not the current one")
        pictures = self._controls.pictures(running.observation)
        if not 0 <= index < len(pictures):
            raise Refusal("stale", f"there are {len(pictures)} pictures at this moment, numbered from 0")
        return pictures[index]

    def _step(self, running: _Running, deed: Deed) -> None:
        action = self._controls.action(deed, running.observation)
        try:
            observation, reward, terminated, truncated, info = self._game.env.step(action)
        except UserError as error:
            raise Refusal("wrong", str(error)) from None
        now = self._clock()
        turn = Turn(
            observation=running.observation,
            text=deed.text if deed.kind == "answer" else None,
            action=action,
            reward=float(reward),
            terminated=terminated,
            truncated=truncated,
            info={**info, "seconds": round(now - running.asked_s, 3)},
        )
        running.turns.append(_without_pictures(turn))
        running.observation, running.info, running.last, running.asked_s = observation, info, deed, now
        if terminated or truncated:
            running.over, running.seconds = True, now - running.began_s
            running.outcome = outcome_of(running.turns, self._game, running.start)
            self._saved = False
            self._save()

    def _save(self) -> None:
        """Write a finished episode that is not on the disk yet. Refusal where the disk won't; tried again later."""
        running = self._running
        if self._saved or running is None:
            return
        episode = Episode(steps=tuple(running.turns), seed=running.start.seed, outcome=running.outcome)
        try:
            self._ledger.save(running.number, episode, running.seconds)
        except UserError as error:
            raise Refusal("unsaved", f"{error}. The episode is kept here: repeat when that is done.") from None
        self._saved = True
        self._done.add(running.number)

    def _next(self) -> int | None:
        return next((number for number in range(self._count) if number not in self._done), None)

    def _state(self) -> State:
        running = self._running
        state: State = {
            "phase": "ready" if running is None else "ended" if running.over else "playing",
            "count": self._count,
            "done": len(self._done),
            "next": self._next(),
            "controls": self._controls.facts(),
            "finished": self.finished,
        }
        if running is not None:
            state |= {
                "number": running.number,
                "attempt": running.attempt,
                "sequence": len(running.turns),
                "pictures": len(self._controls.pictures(running.observation)),
                "shown": self._controls.shown(running.observation, running.info),
                "problem": str(running.info.get("problem", "")),
                "blocked": bool(running.info.get("collided", False)),
            }
        if running is not None and running.over:
            told = {key: running.outcome[key] for key in ("success", "completed", "steps")}
            state["outcome"] = {**told, "seconds": round(running.seconds, 1)}
        return state


def _without_pictures(turn: Turn) -> Turn:
    """The turn as its record tells it, so that a long episode does not fill the memory with pictures."""
    record = episode_to_record(Episode(steps=(turn,), seed=0, outcome={}))
    return episode_from_record(record).steps[0]
