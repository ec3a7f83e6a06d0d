"""The command line; `allocentric --help` lists the commands.

Commands only read arguments, call one function of the package and print what it returns; everything heavy is imported
inside the command that needs it, so that `--help` and `list` answer at once. Exit codes: 0 done, 1 user error, 2
finished with failed items, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric import __version__, terminal
from allocentric.core.errors import UserError

EXIT_USER_ERROR, EXIT_FAILED_ITEMS, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Generate spatial instruction data, train vision-language agents on it, score any model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting of the recipe (repeatable)."),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")]


def main() -> None:
    """Entry point: maps errors to one line and an exit code."""
    try:
        code = app(standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # Typer's own answer to Ctrl-C
            raise KeyboardInterrupt
    except UserError as error:
        terminal.say(f"error: {error}")
        code = error.exit_code
    except typer.TyperException as error:
        terminal.say(f"error: {error.format_message()}")
        code = EXIT_USER_ERROR
    except (KeyboardInterrupt, typer.Abort):
        terminal.say("interrupted; the same command continues where it stopped")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        sys.stderr.close()
        code = 0
    sys.exit(code or 0)


@app.command("list")
def list_entries(
    kind: Annotated[
        str | None, typer.Argument(help="sources, renderers, questions, environments, models, benchmarks or checks.")
    ] = None,
    json: Json = False,
) -> None:
    """List what there is: scene sources, renderers, question types, environments, models, benchmarks, checks."""
    from allocentric.core import catalog
    from allocentric.core.errors import suggestion

    if kind is not None and kind not in catalog.ALL:
        raise UserError(f"unknown kind {kind!r}" + suggestion(kind, catalog.ALL))
    kinds = [kind] if kind else list(catalog.ALL)
    entries = [(k, name, catalog.ALL[k].summary(name)) for k in kinds for name in catalog.ALL[k].names()]
    if json:
        terminal.print_json({k: {name: text for kk, name, text in entries if kk == k} for k in kinds})
    else:
        terminal.print_table(["kind", "name", "what"], entries)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An entry of `allocentric list`.")],
    json: Json = False,
) -> None:
    """Show one entry: what it does and every setting with its type, default and meaning."""
    from allocentric.core import catalog
    from allocentric.core.errors import suggestion

    wanted = name.replace("-", "_")
    owners = [entries for entries in catalog.ALL.values() if wanted in entries.names()]
    if not owners:
        known = [entry for entries in catalog.ALL.values() for entry in entries.names()]
        raise UserError(f"unknown name {name!r}" + suggestion(wanted, known))
    for entries in owners:
        module = entries.load(wanted)
        rows = _setting_rows(getattr(module, "Settings", None))
        if json:
            keys = ("setting", "type", "default", "meaning")
            record = {"kind": entries.kind, "name": wanted, "text": module.__doc__}
            terminal.print_json(record | {"settings": [dict(zip(keys, row, strict=True)) for row in rows]})
            continue
        print(f"{entries.kind}: {wanted}\n\n{(module.__doc__ or '').strip()}\n")
        if rows:
            terminal.print_table(["setting", "type", "default", "meaning"], rows)


def _setting_rows(settings: Any) -> list[tuple[str, str, str, str]]:
    rows = []
    for key, field in getattr(settings, "model_fields", {}).items():
        default = "(required)" if field.is_required() else str(field.get_default(call_default_factory=True))
        rows.append((key, _type_name(field.annotation), default, " ".join((field.description or "").split())))
    return rows


def _type_name(annotation: Any) -> str:
    """A type as a person would write it: "int | None", "list of text"."""
    import types
    from typing import Annotated as AnnotatedType
    from typing import Literal, Union, get_args, get_origin

    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is AnnotatedType:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " | ".join("null" if argument is type(None) else _type_name(argument) for argument in arguments)
    name: str = getattr(origin or annotation, "__name__", str(annotation))
    parts = [_type_name(argument) for argument in arguments if argument is not Ellipsis]
    return f"{name}[{', '.join(parts)}]" if parts else name


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def check(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A check of `allocentric list checks`.")] = "",
) -> int:
    """Compare our numbers with published records: `allocentric check NAME --help` shows a check's options."""
    from allocentric.core import catalog

    if name in ("", "--help"):
        print("Usage: allocentric check NAME [OPTIONS] [--json]\n\nCompare our numbers with published records.\n")
        terminal.print_table(["check", "what"], [(n, catalog.CHECKS.summary(n)) for n in catalog.CHECKS.names()])
        return 0
    as_json = "--json" in context.args
    arguments = [argument for argument in context.args if argument != "--json"]
    single = typer.Typer(add_completion=False)
    single.command(name)(catalog.CHECKS.load(name).check)
    result = typer.main.get_command(single).main(
        arguments, prog_name=f"allocentric check {name}", standalone_mode=False
    )
    if result is None or isinstance(result, int):  # --help was printed
        return 0
    if as_json:
        terminal.print_json(result.as_json)
    else:
        terminal.print_table(result.columns, result.rows, notes=result.notes)
    return 0 if result.ok else EXIT_USER_ERROR


@app.command()
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


@app.command("make-search")
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


@app.command("eval")
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


@app.command()
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


@app.command()
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
    print(f"{len(results['disagreements'])} answers are scored differently by the profiles (--json lists them)")


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def env(json: Json = False) -> None:
    """Print versions and hardware, for bug reports."""
    from allocentric.core.environment import environment

    facts = environment()
    if json:
        terminal.print_json(facts)
    else:
        terminal.print_table(["what", "value"], [(key, str(value)) for key, value in facts.items()])


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


if __name__ == "__main__":
    main()
