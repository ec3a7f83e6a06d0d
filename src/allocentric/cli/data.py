"""Commands that generate data: make, make-search, make-stream, make-quiz, make-sparkle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from allocentric import terminal
from allocentric.cli.options import Json, Overrides


def make(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/demo.yaml).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the set; default data/<recipe name>.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; default one per core.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Generate a dataset: scenes, walks, frames, questions, audit, data card. Repeating the command continues it."""
    import os

    from allocentric.core.config import load_recipe
    from allocentric.datasets.make import make as make_set
    from allocentric.datasets.recipe import MakeRecipe

    settings = load_recipe(recipe, MakeRecipe, overrides or ())
    folder = out or Path("data") / settings.name
    count = workers or len(os.sched_getaffinity(0))
    made = make_set(settings, folder, workers=count, progress=terminal.TerminalProgress())
    if json:
        terminal.print_json(made.as_json())
        return
    rows = [(kind, str(row["items"]), str(row["scenes"]), str(row["labels"])) for kind, row in made.types.items()]
    terminal.print_table(["question type", "items", "scenes", "labels"], rows, notes=[f"set: {folder}"])


def make_search(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/search.yaml).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the set; default data/<recipe file>.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; default one per core.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Generate search tasks in panoramas of houses or streets, as H*Bench folders. Repeating the command continues."""
    import os

    from allocentric.core.config import load_recipe
    from allocentric.envs.panorama.generate import Settings, generate

    folder = out or Path("data") / recipe.stem
    count = workers or len(os.sched_getaffinity(0))
    settings = load_recipe(recipe, Settings, overrides or ())
    counts = generate(settings, folder, workers=count, progress=terminal.TerminalProgress())
    if json:
        terminal.print_json({"folder": str(folder), "counts": counts})
    else:
        terminal.print_table(["what", "number"], [(k, str(n)) for k, n in counts.items()], notes=[f"set: {folder}"])


def make_stream(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/stream.yaml).")],
    out: Annotated[Path, typer.Option("--out", help="The MP4 file.")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Film an endless walk through houses as an H.264 video; one frame at a time is in memory."""
    from allocentric.core.config import load_recipe
    from allocentric.scenes.stream_video import Recipe, film

    settings = load_recipe(recipe, Recipe, overrides or ())
    count = film(settings, out, progress=terminal.TerminalProgress())
    fps = settings.stream.walk.fps
    if json:
        terminal.print_json({"video": str(out), "frames": count, "fps": fps})
    else:
        terminal.print_table(["video", "frames", "frames a second"], [(str(out), str(count), f"{fps:g}")])


def make_quiz(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/quiz.yaml).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the set; default data/<recipe file>.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Ask about hours of video: streams and questions on recall, count, where and change, as VSI-SUPER records."""
    from allocentric.core.config import load_recipe
    from allocentric.datasets.supersensing.records import Recipe, quizzes_of, write_set

    folder = out or Path("data") / recipe.stem
    settings = load_recipe(recipe, Recipe, overrides or ())
    progress = terminal.TerminalProgress()
    progress.start(len(settings.perturbations) * len(settings.minutes) * settings.streams, "quizzes")
    try:
        made = write_set(quizzes_of(settings), folder, videos=settings.videos, crf=settings.crf, progress=progress)
    finally:
        progress.stop()
    if json:
        terminal.print_json({"folder": str(folder), "counts": made})
    else:
        terminal.print_table(["question", "number"], [(k, str(n)) for k, n in made.items()], notes=[f"set: {folder}"])


def make_sparkle(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/sparkle.yaml).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the set; default data/<recipe file>.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Ask about points on drawn boards: direction, distance, localisation, shortest path, travelling salesman."""
    from allocentric.core.config import load_recipe
    from allocentric.datasets.sparkle.records import Recipe, write_set

    folder = out or Path("data") / recipe.stem
    settings = load_recipe(recipe, Recipe, overrides or ())
    made = write_set(settings, folder, progress=terminal.TerminalProgress())
    if json:
        terminal.print_json({"folder": str(folder), "counts": made})
        return
    rows = [(split, kind, str(count)) for split, kinds in made.items() for kind, count in kinds.items()]
    terminal.print_table(["split", "question", "number"], rows, notes=[f"set: {folder}"])
