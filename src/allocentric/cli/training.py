"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allocentric import terminal
from allocentric.cli.options import Json, Overrides, RunsFolder


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/train/demo_sft.yaml), or a run's config.yaml.")],
    runs: RunsFolder = Path("runs"),
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train a vision-language model: fine-tuning, preferences, reinforcement. Repeating the command continues it."""
    from allocentric.core.config import load_recipe
    from allocentric.train.recipe import TrainRecipe
    from allocentric.train.run import train as run
    from allocentric.train.work import world

    settings = load_recipe(recipe, TrainRecipe, overrides or ())
    result = run(settings, runs, terminal.TerminalProgress())
    if world()[0] != 0:
        return
    if json:
        terminal.print_json({"folder": str(result.folder), "steps_made": result.steps, **result.results})
        return
    held_out = result.results.get("held_out", [])
    kinds = sorted({kind for row in held_out for kind in row["kinds"]})
    columns = ["step", "held-out score", "unreadable", *kinds]
    rows = [
        [
            str(row["step"]),
            _percent(row["score"]),
            str(row["unreadable"]),
            *(_percent(row["kinds"].get(k)) for k in kinds),
        ]
        for row in held_out
    ]
    notes = [f"model: {result.folder / 'model'}", f"run: {result.folder}"]
    skipped = result.results.get("skipped", [])
    if skipped:
        notes.insert(0, f"{len(skipped)} items were skipped; see log.txt")
    terminal.print_table(columns, rows, notes=notes)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
