"""`allocentric play`: from the command's arguments to a page that a person plays, and the table at the end."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.core.errors import MissingPackageError, UserError
from allocentric.core.runlog import RunLog, run_folder
from allocentric.eval.play.game import environment_id, make_game
from allocentric.eval.play.ledger import Ledger, table_of
from allocentric.eval.play.results import Results
from allocentric.eval.play.session import Session

_PLAYER = re.compile(r"[\w][\w .-]{0,39}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What a game left behind."""

    folder: Path
    """Run folder."""
    table: Mapping[str, Any]
    """Leaderboard, as `eval.episodes.table_from_records` gives it."""
    finished: bool
    """All episodes were played."""


def play(
    env: str,
    *,
    settings: Mapping[str, Any],
    player: str,
    episodes: int,
    seed: int,
    runs: Path,
    host: str,
    port: int,
    announce: Callable[[str], None],
    warn: Callable[[str], None],
) -> Played:
    """Serve a game until the person closes it or Ctrl-C.

    Args:
        env: Name of the environment.
        settings: Of the environment; see `make_game`.
        player: Row of the leaderboard.
        episodes: Number of episodes; those of the player that the run folder holds are not played again.
        seed: Episode k is seeded `seed` + k.
        runs: Folder of run folders.
        host: Address to listen at.
        port: 0 takes a free one.
        announce: Is given the page's address.
        warn: Is given a line where the page can be reached from other machines.

    Raises:
        UserError: A wrong argument, or the port is taken.
        MissingPackageError: The web server's packages are absent.
    """
    _require_packages()
    if not _PLAYER.fullmatch(player):
        raise UserError(f"a player's name is 1 to 40 letters, digits, spaces, dots or dashes, got {player!r}")
    short = environment_id(env).rpartition("/")[2]
    # One thread makes and plays the environment: what draws its pictures must stay in the thread that made it.
    with ThreadPoolExecutor(max_workers=1) as executor:
        game = executor.submit(make_game, env, settings, episodes=episodes, seed=seed).result()
        if player in game.baselines:
            raise UserError(f"{player!r} is the name of a baseline; choose another --name")
        facts = {"env": dict(game.settings), "episodes": len(game.starts), "seed": seed}
        folder = run_folder(runs, f"play-{short}", facts)
        with RunLog(folder, facts) as log:
            ledger = Ledger(log, env=game.id, player=player)
            session, results = Session(game, ledger), Results(log, game)
            try:
                _serve(session, results, executor, host=host, port=port, announce=announce, warn=warn)
            except KeyboardInterrupt:
                log.say("interrupted")
            finally:
                executor.submit(game.env.close).result()
            played = Played(folder=folder, table=table_of(log), finished=session.finished)
            state = "finished" if played.finished else "unfinished"
            log.write("results.json", json.dumps({"state": state, **facts, **played.table}, indent=2) + "\n")
            return played


def _require_packages() -> None:
    for package in ("starlette", "uvicorn"):
        try:
            __import__(package)
        except ImportError:
            raise MissingPackageError(package, needed_for="`allocentric play`", extra="play") from None


def _serve(
    session: Session,
    results: Results,
    executor: ThreadPoolExecutor,
    *,
    host: str,
    port: int,
    announce: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    import uvicorn

    from allocentric.eval.play.server import LARGEST_HEAD_BYTES, Play, is_loopback

    token = secrets.token_urlsafe(24)
    listening = _listen(host, port)
    loopback = is_loopback(host)
    if not loopback:
        warn(f"warning: the page can be reached from other machines ({host}); whoever has the address can play")

    def stop() -> None:
        server.should_exit = True

    application = Play(session, results, executor, stop=stop).application(token, loopback=loopback)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,  # it would print the token
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=64,
            h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
            http="h11",
            timeout_graceful_shutdown=2,
        )
    )
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{listening.getsockname()[1]}/{token}/")
    with listening:
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(64)  # now, so that the address is good as soon as it is told
    except OSError as error:
        listening.close()
        raise UserError(f"can't listen at {host} port {port}: {error.strerror or error}; try another --port") from None
    return listening
