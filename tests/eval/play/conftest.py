"""A game in a panorama, its run folder, a clock that is set by hand, and the page's requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from allocentric.core.runlog import RunLog
from allocentric.eval.play.game import Game, make_game
from allocentric.eval.play.ledger import Ledger
from allocentric.eval.play.results import Results
from allocentric.eval.play.server import Play
from allocentric.eval.play.session import Session

TOKEN = "right-token"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def game(panorama_folder: Path) -> Game:
    settings = {"folder": str(panorama_folder), "width_px": 64, "height_px": 48}
    return make_game("ObjectSearch", settings, episodes=6, seed=0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    with RunLog(tmp_path / "run", {"env": "ObjectSearch"}) as opened:
        yield opened


@pytest.fixture
def new_session(game: Game, log: RunLog, clock: Clock) -> Callable[[], Session]:
    """Makes a session over the same run folder: what starting the program again does."""
    return lambda: Session(game, Ledger(log, env=game.id, player="Ada"), clock=clock)


@pytest.fixture
def session(new_session: Callable[[], Session]) -> Session:
    return new_session()


@pytest.fixture
def stopped() -> list[bool]:
    return []


@pytest.fixture
def client(session: Session, game: Game, log: RunLog, stopped: list[bool]) -> Iterator[TestClient]:
    with ThreadPoolExecutor(1) as executor:
        play = Play(session, Results(log, game), executor, stop=lambda: stopped.append(True))
        yield TestClient(play.application(TOKEN, loopback=True), base_url="http://127.0.0.1:8000")


@pytest.fixture
def post(client: TestClient) -> Callable[..., Any]:
    """Sends one of the page's requests."""
    return lambda name, **message: client.post(f"/{TOKEN}/{name}", json=message)
