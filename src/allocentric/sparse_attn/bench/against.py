"""The same measurements on another commit: its package, but this bench, in a process and a checkout of its own.

Base and this tree take turns (base, this, this, base), so that a machine that gets slower or faster meanwhile does the
same to both; of the rounds the faster time counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import allocentric
from allocentric.core.errors import UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.sparse_attn.bench.job import Job

_WORKER = Path(__file__).with_name("_worker.py")
_TIMES = ("select_ms", "build_ms", "forward_ms", "total_ms", "both_ms", "step_p50_ms", "step_p95_ms")
_IDENTITY = ("kind", "name", "length", "dtype", "causal")


def compare(job: Job, ref: str, progress: Progress | None = None) -> dict[str, Any]:
    """This tree's rows with `ratio` and `both_ratio`: the base's time over this one's.

    Raises:
        UserError: there is no repository, no such commit, or the job fails in one of the trees.
    """
    progress = progress or SilentProgress()
    job.check()
    here = Path(allocentric.__file__).resolve().parent.parent
    commit = _git(here, "rev-parse", "--verify", f"{ref}^{{commit}}")
    root = Path(_git(here, "rev-parse", "--show-toplevel"))
    found: dict[str, list[dict[str, Any]]] = {"base": [], "this": []}
    with tempfile.TemporaryDirectory(prefix="allocentric-base-") as folder:
        tree = Path(folder) / "tree"
        _git(root, "worktree", "add", "--detach", str(tree), commit)
        try:
            sources = {"base": tree / here.relative_to(root), "this": here}
            progress.start(4, f"base {commit[:10]}")
            for side in ("base", "this", "this", "base"):
                found[side].append(_measured(job, sources[side], Path(folder)))
                progress.advance(status=side)
        finally:
            progress.stop()
            _git(root, "worktree", "remove", "--force", str(tree))
    result = merged(found["this"])
    attach_ratios(result["rows"], merged(found["base"])["rows"])
    return {**result, "base": f"{commit[:10]} ({ref})"}


def merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The first result with the lowest of every time, and what follows from it as that round had it."""
    first = results[0]
    rows = []
    for versions in zip(*(result["rows"] for result in results), strict=True):
        best = min(versions, key=lambda row: row.get("total_ms", float("inf")))
        rows.append(best | {key: min(row[key] for row in versions) for key in _TIMES if key in best})
    return {**first, "rows": rows}


def attach_ratios(rows: list[dict[str, Any]], base_rows: list[dict[str, Any]]) -> None:
    """Put the base's time over this tree's into rows that both have."""
    base = {tuple(row[key] for key in _IDENTITY): row for row in base_rows}
    for row in rows:
        other = base.get(tuple(row[key] for key in _IDENTITY), {})
        for name, key in (("ratio", "total_ms"), ("both_ratio", "both_ms")):
            if key in row and key in other:
                row[name] = other[key] / row[key]


def _measured(job: Job, source: Path, folder: Path) -> dict[str, Any]:
    out = folder / "result.json"
    out.unlink(missing_ok=True)
    done = subprocess.run(  # noqa: S603 - our own worker
        [sys.executable, str(_WORKER), str(out)],
        input=job.model_dump_json(),
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not out.exists():
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the job fails in {source}: {reason}; measure fewer methods, or another base")
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git from PATH
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError("--base compares with another commit and needs git, which is not installed") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"git {arguments[0]} failed in {folder}: {reason}")
    return done.stdout.strip()
