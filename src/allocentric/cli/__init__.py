"""The command line; `allocentric --help` lists the commands.

Commands only read arguments, call one function of the package and print what it returns; everything heavy is imported
inside the command that needs it, so that `--help` and `list` answer at once. Exit codes: 0 done, 1 user error, 2
finished with failed items, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from allocentric import terminal
from allocentric.cli import attention, catalogs, data, environments, evaluation, training
from allocentric.cli.options import EXIT_INTERRUPTED, EXIT_USER_ERROR
from allocentric.core.errors import UserError

app = typer.Typer(
    help="Generate spatial instruction data, train vision-language agents on it, score any model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command("list")(catalogs.list_entries)
app.command()(catalogs.show)
# A check has options of its own, so its arguments go to it unread.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
    catalogs.check
)
app.command()(data.make)
app.command("make-search")(data.make_search)
app.command("make-stream")(data.make_stream)
app.command("make-quiz")(data.make_quiz)
app.command("make-sparkle")(data.make_sparkle)
app.command("eval")(evaluation.evaluate_recipe)
app.command()(training.train)
app.command()(environments.rollout)
app.command()(evaluation.score)
app.command()(evaluation.compare)
app.command()(evaluation.power)
app.command()(evaluation.report)
app.command()(evaluation.leaderboard)
app.command()(evaluation.suite)
app.add_typer(attention.bench, name="bench")
app.command()(environments.play)
app.command()(attention.convert)
app.command()(catalogs.env)
app.command()(catalogs.version)


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
