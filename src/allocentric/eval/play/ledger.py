"""Where a person's episodes are kept: the run folder of an environment, with one row per player and baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allocentric.agents.rollout import Start
from allocentric.core.records import digest
from allocentric.core.runlog import RunLog
from allocentric.core.types import Episode, Turn
from allocentric.eval.episodes import episode_record, table_from_records
from allocentric.eval.play.game import Game

_MEASURES = ("score", "spl", "soft_spl", "oracle_success")


class Ledger:
    """The episodes of one player in an open run folder."""

    def __init__(self, log: RunLog, *, env: str, player: str, baseline: bool = False) -> None:
        self._log, self._env, self._player, self._baseline = log, env, player, baseline

    def numbers(self) -> set[int]:
        """Episodes that are saved."""
        return {record["number"] for record in self._log.read().values() if record["policy"] == self._player}

    def save(self, number: int, episode: Episode, seconds: float) -> None:
        """Write an episode; it is on the disk when this returns. UserError where the disk won't."""
        record = episode_record(
            policy=self._player,
            env=self._env,
            number=number,
            episode=episode,
            seconds=round(seconds, 3),
            baseline=self._baseline,
        )
        self._log.append([(digest([self._player, number]), record)])


def outcome_of(turns: Sequence[Turn], game: Game, start: Start) -> dict[str, Any]:
    """What became of an episode, as its last step tells."""
    last = turns[-1]
    level = last.info.get("level")
    told = {name: last.info[name] for name in _MEASURES if name in last.info}
    if "mean_score" in last.info:  # several questions: all of them right
        told = {"score": last.info["mean_score"]}
    outcome = {
        "success": bool(last.info.get("success", told.get("score") == 1.0)),
        "completed": bool(last.terminated),
        "steps": len(turns),
        "reward": sum(turn.reward for turn in turns),
        "level": game.level(None if level == -1 else level),
        "scene_id": str(last.info.get("scene_id", last.info.get("stream", ""))),
        "turned_away": 0,
        "unreadable": sum(bool(turn.info.get("unreadable", False)) for turn in turns),
        "invalid": sum(not turn.info.get("valid", True) for turn in turns),
        "chance": game.chance(start),
    }
    return outcome | told


def table_of(log: RunLog) -> dict[str, Any]:
    """The leaderboard of a run folder."""
    return table_from_records(log.read().values())
