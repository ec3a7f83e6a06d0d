"""Numbered actions, one page at a time, and finished episodes that nothing takes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from allocentric.agents.rollout import play
from allocentric.core.errors import UserError
from allocentric.core.records import episode_from_record, episode_to_record
from allocentric.core.runlog import RunLog
from allocentric.core.types import Episode, Turn
from allocentric.eval.play.game import Game
from allocentric.eval.play.ledger import table_of
from allocentric.eval.play.messages import Act, Begin, Deed
from allocentric.eval.play.pages import SILENCE_S
from allocentric.eval.play.refusal import Refusal
from allocentric.eval.play.session import Session

LEFT = Deed(kind="rotate", yaw_rad=-0.5)
RIGHT = Deed(kind="rotate", yaw_rad=0.5)
SUBMIT = Deed(kind="submit")


class Person:
    """Talks to a session as a page does."""

    def __init__(self, session: Session, *, take: bool = False) -> None:
        self.session, self.page = session, session.join(take)
        self.state = session.state(self.page)

    def begin(self, number: int | None = None) -> None:
        self.state = self.session.begin(Begin(page=self.page, number=self.state["next"] if number is None else number))

    def message(self, deed: Deed, **other: Any) -> Act:
        values = {key: self.state[key] for key in ("number", "attempt", "sequence")}
        return Act(page=self.page, deed=deed, **(values | other))

    def act(self, deed: Deed, **other: Any) -> None:
        self.state = self.session.act(self.message(deed, **other))


def refused(reason: str, call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments, **more)
    assert caught.value.reason == reason
    return caught.value.message


def test_an_episode_from_begin_to_record(session: Session, log: RunLog, clock: Any) -> None:
    ada = Person(session)
    assert (ada.state["phase"], ada.state["next"], ada.state["count"]) == ("ready", 0, 6)
    ada.begin()
    heading = ada.state["shown"]["heading_rad"]
    clock.now_s += 2.0
    ada.act(RIGHT)
    turned = (ada.state["shown"]["heading_rad"][0] - heading[0]) % (2 * np.pi)
    assert turned == pytest.approx(0.5)
    clock.now_s += 3.0
    ada.act(SUBMIT)
    assert ada.state["phase"] == "ended"
    assert ada.state["outcome"]["steps"] == 2
    (record,) = log.read().values()
    assert (record["policy"], record["number"], record["seconds"], record["baseline"]) == ("Ada", 0, 5.0, False)
    episode = episode_from_record(record["episode"])
    assert [turn.info["seconds"] for turn in episode.steps] == [2.0, 3.0]
    np.testing.assert_allclose(episode.steps[0].action["angles_rad"], [0.5, 0.0])
    assert episode.steps[1].terminated
    assert episode.outcome["completed"] is True


def test_records_name_the_pictures_by_digest(session: Session, log: RunLog) -> None:
    ada = Person(session)
    ada.begin()
    seen = [session.picture(0, ada.state["attempt"], 0, 0)]
    ada.act(RIGHT)
    seen.append(session.picture(0, ada.state["attempt"], 1, 0))
    ada.act(SUBMIT)
    (record,) = log.read().values()
    kept = [step["observation"]["view"]["$array"]["sha256"] for step in record["episode"]["steps"]]
    straight = Episode(
        steps=tuple(
            Turn(observation=p, text=None, action=None, reward=0.0, terminated=False, truncated=False) for p in seen
        ),
        seed=0,
        outcome={},
    )
    assert kept == [step["observation"]["$array"]["sha256"] for step in episode_to_record(straight)["steps"]]
    assert kept[0] != kept[1]


def test_a_person_who_acts_like_the_oracle_has_its_outcome(session: Session, game: Game, log: RunLog) -> None:
    ada = Person(session)
    for number in range(6):
        ada.begin(number)
        yaw, pitch = game.env.unwrapped.target()
        seen = ada.state["shown"]["heading_rad"]
        ada.act(Deed(kind="rotate", yaw_rad=float(np.remainder(yaw - seen[0], 2 * np.pi)), pitch_rad=pitch - seen[1]))
        ada.act(SUBMIT)
        oracle = play(game.baselines["oracle"], game.env, game.starts[number], max_turns=10)
        mine = episode_from_record(list(log.read().values())[number]["episode"])
        assert [turn.reward for turn in mine.steps] == [turn.reward for turn in oracle.steps]
        for key in ("success", "completed", "steps", "reward", "scene_id"):
            assert mine.outcome[key] == oracle.outcome[key]
    assert session.finished
    (row,) = table_of(log)["policies"]
    assert (row["policy"], row["overall"]["score"], row["overall"]["n"]) == ("Ada", 100.0, 6)
    assert 0 < row["overall"]["low"] < 100.0
    assert 0 < table_of(log)["chance"]["overall"] < 50.0


def test_a_submission_claims_where_the_head_looks_whatever_the_page_says(session: Session, log: RunLog) -> None:
    ada = Person(session)
    ada.begin()
    heading = ada.state["shown"]["heading_rad"]
    ada.act(Deed(kind="submit", yaw_rad=1.0, pitch_rad=1.0))
    (record,) = log.read().values()
    np.testing.assert_allclose(
        episode_from_record(record["episode"]).steps[0].action["angles_rad"], heading, atol=1e-12
    )


def test_a_repeated_action_counts_once_and_others_out_of_order_are_refused(session: Session) -> None:
    ada = Person(session)
    ada.begin()
    first = ada.message(RIGHT)
    once = session.act(first)
    assert session.act(first) == once
    assert "due" in refused("stale", session.act, ada.message(LEFT, sequence=0))
    assert "due" in refused("stale", session.act, ada.message(RIGHT, sequence=5))
    assert refused("stale", session.act, ada.message(RIGHT, sequence=1, number=1))
    assert refused("stale", session.act, ada.message(RIGHT, sequence=1, attempt="another"))
    assert session.state(ada.page) == once


def test_an_action_after_the_end_is_refused_and_changes_nothing(session: Session, log: RunLog) -> None:
    ada = Person(session)
    ada.begin()
    ada.act(SUBMIT)
    before = log.read()
    assert "over" in refused("over", ada.act, LEFT)
    assert "over" in refused("over", ada.act, SUBMIT)
    ada.act(SUBMIT, sequence=0)  # the answer to the submission got lost: asking again is fine
    assert ada.state["phase"] == "ended"
    assert log.read() == before


def test_beginning_twice_or_out_of_turn(session: Session) -> None:
    ada = Person(session)
    refused("stale", ada.begin, 1)
    ada.begin(0)
    attempt = ada.state["attempt"]
    ada.act(LEFT)
    ada.begin(0)
    assert (ada.state["attempt"], ada.state["sequence"]) == (attempt, 1)
    assert "being played" in refused("stale", ada.begin, 1)


def test_what_the_environment_does_not_know_is_refused(session: Session) -> None:
    ada = Person(session)
    ada.begin()
    refused("wrong", ada.act, Deed(kind="move", move="forward"))
    refused("wrong", ada.act, Deed(kind="answer", text="A"))
    assert session.state(ada.page)["sequence"] == 0


def test_too_few_turns_end_an_episode_without_completing_it(session: Session, log: RunLog) -> None:
    ada = Person(session)
    ada.begin()
    while ada.state["phase"] == "playing":
        ada.act(LEFT if ada.state["sequence"] % 2 else RIGHT)
    assert ada.state["outcome"] | {"seconds": 0} == {"success": False, "completed": False, "steps": 10, "seconds": 0}
    assert len(log.read()) == 1


def test_a_page_that_reloads_goes_on_where_it_was(session: Session) -> None:
    ada = Person(session)
    ada.begin()
    ada.act(LEFT)
    session.leave(ada.page)
    again = Person(session)
    assert again.state == ada.state
    again.act(RIGHT)
    assert again.state["sequence"] == 2


def test_a_second_page_is_told_and_may_take_over_without_loss(session: Session, clock: Any) -> None:
    first = Person(session)
    first.begin()
    first.act(LEFT)
    assert "another page" in refused("held", session.join, False)
    first.act(LEFT)  # the attempt changed nothing
    second = Person(session, take=True)
    assert second.state == first.state
    assert "taken" in refused("taken", first.act, RIGHT)
    refused("taken", session.state, first.page)
    second.act(RIGHT)
    assert second.state["sequence"] == 3
    clock.now_s += SILENCE_S + 1
    third = Person(session)  # the second has gone without a word
    assert third.state == second.state


def test_started_again_the_episode_begins_anew_and_finished_ones_stay(
    new_session: Callable[[], Session], log: RunLog
) -> None:
    ada = Person(new_session())
    ada.begin()
    ada.act(SUBMIT)
    ada.begin(1)
    ada.act(LEFT)
    old = ada.message(LEFT)
    session = new_session()
    refused("taken", session.act, old)
    again = Person(session)
    assert (again.state["phase"], again.state["next"], again.state["done"]) == ("ready", 1, 1)
    refused("stale", session.act, old.model_copy(update={"page": again.page}))
    again.begin()
    assert again.state["sequence"] == 0
    again.act(SUBMIT)
    assert [record["number"] for record in log.read().values()] == [0, 1]


def test_a_full_disk_loses_no_episode(session: Session, log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = Person(session)
    ada.begin()

    def full(_: Any) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", full)
        last = ada.message(SUBMIT)
        assert "disk is full" in refused("unsaved", session.act, last)
        refused("unsaved", session.act, last)
        refused("unsaved", ada.begin, 1)
        assert not session.finished
    assert session.act(last)["phase"] == "ended"
    assert len(log.read()) == 1
    ada.begin(1)
    assert len(log.read()) == 1
