"""Options that several commands share, and the exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXIT_USER_ERROR, EXIT_FAILED_ITEMS, EXIT_INTERRUPTED = 1, 2, 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting of the recipe (repeatable)."),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")]
