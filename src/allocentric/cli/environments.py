"""Commands that play environments: rollout, play."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric import terminal
from allocentric.cli.options import EXIT_INTERRUPTED, Json, Overrides, RunsFolder


def rollout(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/panorama_eval.yaml), or a run's config.yaml.")],
    runs: RunsFolder = Path("runs"),
    overrides: Overrides = None,
    json: Json = False,
) -> int:
    """Play an environment with models and its baselines: success per level. Repeating the command continues it."""
    from allocentric.eval.episodes import rows_for_people
    from allocentric.eval.rollouts import load_rollout_recipe, run_rollouts

    result = run_rollouts(load_rollout_recipe(recipe, overrides or ()), runs, terminal.TerminalProgress())
    if json:
        terminal.print_json({"folder": str(result.folder), **result.results})
    else:
        columns, rows = rows_for_people(result.results)
        facts = f"{result.results['episodes']} episodes of {result.results['env']['id']}, percent"
        terminal.print_table(columns, rows, notes=[facts, f"run: {result.folder}"])
    return result.exit_code


def play(
    env: Annotated[str, typer.Argument(help="An environment: ObjectSearch, PathSearch, Explore, StreamQA.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Setting of the environment (folder=..., task=...)."),
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", min=1, max=10_000, help="How many to play.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the episodes.")] = 0,
    name: Annotated[str, typer.Option("--name", help="The person's row on the leaderboard.")] = "person",
    runs: RunsFolder = Path("runs"),
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others than this machine's are for trusted networks.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    json: Json = False,
) -> int:
    """Play an environment yourself in a browser page; you become a row beside its baselines."""
    from allocentric.core.config import apply_override
    from allocentric.eval.episodes import rows_for_people
    from allocentric.eval.play.launch import play as play_in_browser

    values: dict[str, Any] = {}
    for override in settings or ():
        apply_override(values, override)
    played = play_in_browser(
        env,
        settings=values,
        player=name,
        episodes=episodes,
        seed=seed,
        runs=runs,
        host=host,
        port=port,
        announce=lambda address: terminal.say(f"open in a browser: {address}"),
        warn=terminal.say,
    )
    if json:
        terminal.print_json({"folder": str(played.folder), **played.table})
    else:
        columns, rows = rows_for_people(played.table)
        terminal.print_table(columns, rows, notes=[f"run: {played.folder}"])
    return 0 if played.finished else EXIT_INTERRUPTED
