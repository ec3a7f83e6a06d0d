"""The command line as a person meets it: real processes, exit codes, streams, and the time to answer."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "list",
    "show",
    "make",
    "make-search",
    "make-stream",
    "make-quiz",
    "check",
    "eval",
    "rollout",
    "score",
    "compare",
    "power",
    "report",
    "leaderboard",
    "suite",
    "play",
    "env",
]

SEARCH = Path(__file__).resolve().parent.parent / "configs" / "search.yaml"


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "allocentric.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


EMPTY_APP = """
import typer
app = typer.Typer()
@app.command()
def nothing(number: int = 1): pass
app()
"""


def cpu_s(*arguments: str) -> float:
    """Least CPU time of a Python process over three runs: what a busy machine disturbs least."""
    times_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times_s)


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_cost_at_most_twice_an_empty_command_line(arguments: list[str]) -> None:
    assert cpu_s("-m", "allocentric.cli", *arguments) < 2 * cpu_s("-c", EMPTY_APP)


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "models"]])
def test_help_and_list_import_nothing_heavy(arguments: list[str]) -> None:
    heavy = {"numpy", "torch", "transformers", "open3d", "moderngl", "datasets", "matplotlib", "openai"}
    code = (
        "import sys; sys.argv = ['allocentric', *sys.argv[1:]]\n"
        "from allocentric import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(str(sorted({heavy!r} & set(sys.modules))) if {heavy!r} & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lsit"], "Did you mean 'list'"),
        (["list", "modles"], "did you mean 'models'"),
        (["show", "object_countin"], "did you mean 'object_counting'"),
        (["check", "vsi-bnech"], "did you mean 'vsi_bench'"),
        (["make", "nowhere.yaml", "--out", "x"], "cannot read the recipe nowhere.yaml"),
        (["make-search", "nowhere.yaml", "--out", "x"], "cannot read the recipe nowhere.yaml"),
        (["make-search", str(SEARCH), "--out", "x", "-s", "source.name=steets"], "did you mean 'streets'"),
        (["make-search", str(SEARCH), "--out", "x", "-s", "source.rooms=[1, 2]"], "unknown setting 'rooms'"),
        (["eval", "nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
        (["report", "nowhere"], "nowhere"),
        (["eval"], "Missing argument"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_1(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_list_as_json() -> None:
    entries = json.loads(run("list", "--json").stdout)
    assert "scripted" in entries["models"]
    assert "object_counting" in entries["questions"]
    assert all(text for kind in entries.values() for text in kind.values())


def test_show_prints_every_setting() -> None:
    record = json.loads(run("show", "scripted", "--json").stdout)
    assert {row["setting"] for row in record["settings"]} >= {"policy", "seed"}
    assert all(row["meaning"] for row in record["settings"])


def test_env_tells_versions_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    result = run("env", "--json")
    facts = json.loads(result.stdout)
    assert facts["packages"]["numpy"]
    assert "sk-very-secret" not in result.stdout


def test_check_help_shows_the_checks_options() -> None:
    assert "vsi_scorers" in run("check", "--help").stdout
    assert "--responses" in run("check", "vsi-scorers", "--help").stdout
