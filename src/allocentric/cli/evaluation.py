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
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that ask, each with a model.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", help='Ray cluster the workers run on: "auto", "local" or an address.')
    ] = None,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="GPUs of each worker.")] = 0.0,
    checks: Annotated[
        bool, typer.Option("--checks", help="Ask the models again under every honesty check (`list honesty`).")
    ] = False,
    overrides: Overrides = None,
    json: Json = False,
) -> int:
    """Ask models, score their answers, write the run folder with its page. Repeating the command continues it."""
    from allocentric.eval.honesty.rows import check_run, read_checks
    from allocentric.eval.report import write_report
    from allocentric.eval.run import evaluate, load_eval_recipe
    from allocentric.eval.tables import honesty
    from allocentric.eval.work.crew import Workers

    progress = terminal.TerminalProgress()
    crew = Workers(count=workers, ray=ray, gpus=gpus)
    asked = load_eval_recipe(recipe, overrides or ())
    result = evaluate(asked, runs, progress, workers=crew)
    checked = check_run(asked, result.folder, progress, workers=crew) if checks else read_checks(result.folder)
    page = write_report(result.folder, progress=progress)
    if json:
        record = {"folder": str(result.folder), "report": str(page), **result.results, "checks": checked}
        terminal.print_json(record)
    else:
        _print_leaderboard(result.results)
        if checked:
            terminal.print_table(*honesty(checked))
        print(f"run: {result.folder}\npage: {page}")
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
    from allocentric.eval.tables import comparison, discordance, points

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
    if result["choices"]:
        print("questions with options (McNemar)")
        terminal.print_table(*discordance(result))


def power(
    benchmark: Annotated[str | None, typer.Argument(help="Benchmark that would be asked.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Setting of that benchmark.")
    ] = None,
    items: Annotated[int | None, typer.Option(min=1, help="Instead of a benchmark: so many items.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="In so many scenes; default one for each item.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="As the recipe's limit: ask only so many items.")] = None,
    difference: Annotated[float | None, typer.Option(help="Give the power for this difference, in points.")] = None,
    target: Annotated[float, typer.Option("--power", help="Power that the detectable difference has.")] = 0.8,
    level: Annotated[float, typer.Option(help="Level of the test.")] = 0.95,
    accuracy: Annotated[float, typer.Option(help="Assumed share of items either model has right.")] = 0.5,
    correlation: Annotated[float, typer.Option(help="Assumed correlation of two models' scores on an item.")] = 0.5,
    icc: Annotated[float, typer.Option(help="Assumed correlation of two items of a scene.")] = 0.1,
    pilot: Annotated[
        Path | None, typer.Option(help="Run folder with two models to measure the assumptions on.")
    ] = None,
    model: Annotated[str | None, typer.Option("--first", help="Model of the pilot.")] = None,
    other: Annotated[str | None, typer.Option("--second", help="Other model of the pilot.")] = None,
    json: Json = False,
) -> None:
    """Say before a run what it can find: items, scenes, and the smallest difference two models need."""
    from allocentric.eval import power as planning
    from allocentric.eval.tables import outlook

    assumed = planning.Assumptions(accuracy=accuracy, correlation=correlation, intracluster=icc)
    pair = None
    if pilot is not None:
        assumed, pair = _measured(pilot, model, other)
    if not 0 < target < 1 or not 0 < level < 1:
        raise UserError(f"--power and --level are between 0 and 1, got {target:g} and {level:g}")
    values: dict[str, Any] = {"difference": difference, "wanted": target, "level": level}
    if benchmark is not None and items is None:
        result = planning.outlook(*_questions(benchmark, settings or (), limit), assumed, **values)
    elif benchmark is None and items is not None:
        result = planning.outlook_of_counts(items, scenes or items, assumed, **values)
    else:
        raise UserError("say either a benchmark or how many --items (in how many --scenes)")
    if json:
        terminal.print_json(result)
        return
    known = result["assumptions"]
    source = f"measured on {pair}" if pair else "assumed"
    note = (
        f"{source}: accuracy {known['accuracy']:.2f}, correlation of two models on an item "
        f"{known['correlation']:.2f}, of two items of a scene {known['intracluster']:.2f}; percent points, paired, "
        f"{100 * level:g} % level"
    )
    terminal.print_table(*outlook(result), notes=[note])


def _measured(folder: Path, first: str | None, second: str | None) -> tuple[Any, str]:
    from allocentric.eval.power import measured
    from allocentric.eval.scored import load_run

    run = load_run(folder)
    labels = run.label(first), run.label(second)
    if labels[0] == labels[1]:
        raise UserError("a pilot needs two models: say --first and --second")
    rows = [run.row(label, run.plan.profile) for label in labels]
    return measured(run.plan.items, *rows), f"{labels[0]} and {labels[1]} in {folder}"


def _questions(benchmark: str, settings: Sequence[str], limit: int | None) -> tuple[Any, Any]:
    from allocentric.core.config import apply_override
    from allocentric.eval.recipe import limited, load_benchmark

    values: dict[str, Any] = {"name": benchmark}
    for override in settings:
        apply_override(values, override)
    loaded, _ = load_benchmark(values)
    items = limited(loaded.items(), limit, seed=0)
    if not items:
        raise UserError(f"the benchmark {benchmark} has no items with these settings")
    return loaded, items


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, finished or not.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page; default report.html in the run.")] = None,
) -> None:
    """Write the page of a run again."""
    from allocentric.eval.report import write_report

    print(write_report(run, page=out, progress=terminal.TerminalProgress()))


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The page; .json, .csv and plots lie beside it.")] = Path(
        "leaderboard.html"
    ),
) -> None:
    """Check finished runs and write one page over all of them, with JSON, CSV and plots beside it."""
    from allocentric.eval.leaderboard.page import write_leaderboard

    print(write_leaderboard(runs, out))


def suite(
    name: Annotated[str | None, typer.Argument(help="easi8, spatial-all or quick; none lists them.")] = None,
    recipe: Annotated[
        Path | None, typer.Argument(help="YAML of what all benchmarks share: models, frames, batch_size ...")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with copies of records, by benchmark name.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the recipes.")] = Path("recipes"),
    run: Annotated[bool, typer.Option("--run", help="Run them too, and end with a leaderboard page.")] = False,
    runs: RunsFolder = Path("runs"),
    overrides: Overrides = None,
) -> int:
    """Make one recipe for every benchmark of a named group, and run them."""
    from allocentric.eval import suites

    if name is None or recipe is None:
        terminal.print_table(["suite", "benchmark", "fixed settings"], _suite_rows(name))
        return 0
    made = suites.recipes(name, recipe, data=data, overrides=overrides or ())
    for path in suites.write_recipes(made, out):
        print(path)
    return _run_suite(name, made, runs) if run else 0


def _suite_rows(name: str | None) -> list[tuple[str, ...]]:
    import json

    from allocentric.eval import suites

    chosen = [name] if name else list(suites.SUITES)
    return [
        (one, member.benchmark, json.dumps(member.recipe) if member.recipe else "")
        for one in chosen
        for member in suites.suite(one).members
    ]


def _run_suite(name: str, recipes: Sequence[Any], runs: Path) -> int:
    """Run every recipe; a benchmark that can't be run is named and does not stop the others."""
    from allocentric.eval.leaderboard.page import write_leaderboard
    from allocentric.eval.report import write_report
    from allocentric.eval.run import evaluate

    finished, code = [], 0
    for recipe in recipes:
        try:
            result = evaluate(recipe, runs, terminal.TerminalProgress())
        except UserError as error:
            terminal.say(f"{recipe.name}: {error}")
            code = error.exit_code
            continue
        write_report(result.folder)
        finished.append(result.folder)
        code = max(code, result.exit_code)
    if finished:
        print(write_leaderboard(finished, runs / f"{name}.html"))
    return code


def _print_leaderboard(results: dict[str, Any], *, notes: Sequence[str] = ()) -> None:
    from allocentric.eval.tables import leaderboard as rows_of

    facts = f"{results['items']['count']} items in {results['scenes']} scenes, profile {results['profile']}, percent"
    terminal.print_table(*rows_of(results), notes=[facts, *notes])
