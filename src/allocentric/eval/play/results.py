"""What a person sees at the end: the leaderboard of the run folder, with baselines on the very same episodes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from allocentric.agents.rollout import play
from allocentric.core.runlog import RunLog
from allocentric.eval.play.game import Game
from allocentric.eval.play.ledger import Ledger, outcome_of, table_of

_MOST_TURNS = 1000
"""Of a baseline, where the environment has no limit."""


class Results:
    """The table, and the baselines' episodes that it still lacks."""

    def __init__(self, log: RunLog, game: Game) -> None:
        self._log, self._game = log, game
        self._ledgers = {name: Ledger(log, env=game.id, player=name, baseline=True) for name in game.baselines}
        done = {name: ledger.numbers() for name, ledger in self._ledgers.items()}
        numbers = range(len(game.starts))
        self._missing = [(number, name) for number in numbers for name in done if number not in done[name]]

    def advance(self) -> dict[str, Any]:
        """Play one more baseline episode; the table so far, and how many episodes it lacks."""
        if self._missing:
            number, name = self._missing[0]
            self._play(number, name)
            self._missing.pop(0)
        return {"missing": len(self._missing), "table": table_of(self._log)}

    def _play(self, number: int, name: str) -> None:
        began_s = time.monotonic()
        game, start = self._game, self._game.starts[number]
        episode = play(game.baselines[name], game.env, start, max_turns=_MOST_TURNS)
        judged = replace(episode, outcome=outcome_of(episode.steps, game, start))  # as a person is judged
        self._ledgers[name].save(number, judged, time.monotonic() - began_s)
