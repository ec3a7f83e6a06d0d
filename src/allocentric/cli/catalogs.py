"""What there is, and whether our numbers agree with published ones: list, show, check, env, version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from allocentric import __version__, terminal
from allocentric.cli.options import EXIT_USER_ERROR, Json
from allocentric.core.errors import UserError


def list_entries(
    kind: Annotated[str | None, typer.Argument(help="One kind: sources, models, benchmarks, methods ...")] = None,
    json: Json = False,
) -> None:
    """List what there is: scene sources, renderers, question types, environments, models, benchmarks, attention."""
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
        facts = _facts(module)
        if json:
            keys = ("setting", "type", "default", "meaning")
            record = {"kind": entries.kind, "name": wanted, "text": module.__doc__}
            terminal.print_json(
                record | {"facts": facts} | {"settings": [dict(zip(keys, row, strict=True)) for row in rows]}
            )
            continue
        print(f"{entries.kind}: {wanted}\n\n{(module.__doc__ or '').strip()}\n")
        if rows:
            terminal.print_table(["setting", "type", "default", "meaning"], rows, notes=facts)


def _facts(module: Any) -> list[str]:
    """Profiles, licence and published scores of a published benchmark; nothing for other entries."""
    definition = getattr(module, "DEFINITION", None)
    if definition is None:
        return []
    from allocentric.eval.benchmarks._published import facts

    return facts(definition)


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


def env(json: Json = False) -> None:
    """Print versions and hardware, for bug reports."""
    from allocentric.core.environment import environment

    facts = environment()
    if json:
        terminal.print_json(facts)
    else:
        terminal.print_table(["what", "value"], [(key, str(value)) for key, value in facts.items()])


def version() -> None:
    """Print the version."""
    print(__version__)
