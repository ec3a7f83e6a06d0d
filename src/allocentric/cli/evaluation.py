"""Commands that ask models and score answers: eval, score, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric import terminal
from allocentric.cli.options import Json, Overrides, RunsFolder
from allocentric.core.errors import UserError

_LISTED = 50  # answers whose scores differ, shown by `score`


def evaluate_recipe(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/demo_eval.yaml), or a run's config.yaml.")],
    runs: RunsFolder = Path("runs"),
    overrides: Overrides = None,
    json: Json = False,
) -> int:
    """Ask models, score their answers, write the run folder with its page. Repeating the command continues it."""
    from allocentric.eval.report import write_report
    from allocentric.eval.run import evaluate, load_eval_recipe

    progress = terminal.TerminalProgress()
    result = evaluate(load_eval_recipe(recipe, overrides or ()), runs, progress)
    page = write_report(result.folder, progress=progress)
    if json:
        terminal.print_json({"folder": str(result.folder), "report": str(page), **result.results})
    else:
        _print_leaderboard(result.results, notes=[f"run: {result.folder}", f"page: {page}"])
    if result.exit_code:
        terminal.say(f"some items failed, see {result.folder / 'log.txt'}; the same command asks them again")
    return result.exit_code


def score(
    source: Annotated[Path, typer.Argument(help='Run folder, or JSONL of {"id", "response"[, "model"]}.')],
    benchmark: Annotated[str | None, typer.Option(help="Benchmark a response file answers.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Setting of that benchmark.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Profile that heads the table.")] = None,
    json: Json = False,
) -> None:
    """Score existing answers under every profile, without any model."""
    from allocentric.core.config import apply_override
    from allocentric.eval.scored import score as score_answers

    values: dict[str, Any] | None = {"name": benchmark} if benchmark else None
    for override in settings or ():
        if values is None:
            raise UserError("--set needs --benchmark: it sets a setting of the benchmark that is answered")
        apply_override(values, override)
    results = score_answers(source, profile=profile, benchmark=values)
    if json:
        terminal.print_json(results)
        return
    for name in results["profiles"]:
        print(f"profile {name}")
        _print_leaderboard({**results, "profile": name})
    found = results["disagreements"]
    print(f"{len(found)} answers are scored differently by the profiles")
    for one in found[:_LISTED]:
        scores = ", ".join(f"{name} {'-' if score is None else f'{score:g}'}" for name, score in one["scores"].items())
        print(f"{one['model']}, item {one['item']}: {scores}\n  {one['why']}")
    if len(found) > _LISTED:
        print(f"... and {len(found) - _LISTED} more (--json lists them all)")


def compare(
    first: Annotated[Path, typer.Argument(help="Run folder.")],
    second: Annotated[Path | None, typer.Argument(help="Another run folder; default the same.")] = None,
    model: Annotated[str | None, typer.Option("--first", help="Model of the first run.")] = None,
    other: Annotated[str | None, typer.Option("--second", help="Model of the second run.")] = None,
    profile: Annotated[str | None, typer.Option(help="Scoring profile; default the first run's.")] = None,
    json: Json = False,
) -> None:
    """Compare two models on the same items: paired, clustered by scene, Holm-adjusted per type."""
    from allocentric.eval import compare as paired
    from allocentric.eval.scored import load_run
    from allocentric.eval.tables import comparison, points

    run = load_run(first)
    against = load_run(second) if second else run
    sides = paired.Side(run=run, label=run.label(model)), paired.Side(run=against, label=against.label(other))
    result = paired.compare(*sides, profile=profile)
    if json:
        terminal.print_json(result)
        return
    notes = [
        f"{result['n']} items in {result['scenes']} scenes under {result['profile']}; {len(result['flipped'])} differ",
        f"smallest overall difference detectable with 80 % power: {points(result['detectable'])}",
    ]
    terminal.print_table(*comparison(result), notes=notes)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; default report.html in the (first) run.")
    ] = None,
) -> None:
    """Write the page of a run again, or one leaderboard page over several runs."""
    from allocentric.eval.report import write_leaderboard, write_report

    if len(runs) == 1:
        page = write_report(runs[0], page=out, progress=terminal.TerminalProgress())
    else:
        page = write_leaderboard(runs, out or Path("leaderboard.html"))
    print(page)


def _print_leaderboard(results: dict[str, Any], *, notes: Sequence[str] = ()) -> None:
    from allocentric.eval.tables import leaderboard

    facts = f"{results['items']['count']} items in {results['scenes']} scenes, profile {results['profile']}, percent"
    terminal.print_table(*leaderboard(results), notes=[facts, *notes])
