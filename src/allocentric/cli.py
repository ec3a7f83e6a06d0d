"""The command line: `allocentric list | show | make | check | eval | score | compare | report | env`.

Commands only read arguments, call one function of the package and print what it returns; everything heavy is imported
inside the command that needs it, so that `--help` and `list` answer at once. Exit codes: 0 done, 1 user error, 2
finished with failed items, 130 interrupted.
"""

from __future__ import annotations

import sys
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
        str | None, typer.Argument(help="sources, renderers, questions, models, benchmarks, checks.")
    ] = None,
    json: Json = False,
) -> None:
    """List what there is: scene sources, renderers, question types, models, benchmarks, checks."""
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
        kind = getattr(field.annotation, "__name__", str(field.annotation))
        if "[" in str(field.annotation) or "|" in str(field.annotation):
            kind = str(field.annotation).replace("typing.", "").replace("pathlib.", "")
        default = "(required)" if field.is_required() else repr(field.get_default(call_default_factory=True))
        rows.append((key, kind, default, " ".join((field.description or "").split())))
    return rows


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
