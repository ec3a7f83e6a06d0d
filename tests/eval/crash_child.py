"""Runs one evaluation and is killed by itself with SIGKILL at a chosen line: argv = runs folder, kill point, bytes.

Kill point k: the k-th line of samples.jsonl, counted over the process, gets only that many bytes, those after it none,
and the process dies at once; -1 never dies.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import fake_benchmark

from allocentric.core.config import settings_from_mapping
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.run import evaluate

RECIPE = {
    "name": "crash",
    "benchmark": {"name": "fake"},
    "models": [{"name": "scripted", "policy": "oracle"}],
    "batch_size": 4,
    "replicates": 200,
}


def main() -> None:
    runs, point, length = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    fake_benchmark.install()
    real, state = os.pwrite, {"lines": 0}

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if bytes(data[:1]) == b"{":  # records, not the lock's text
            lines = bytes(data).splitlines(keepends=True)
            if state["lines"] <= point < state["lines"] + len(lines):
                whole = b"".join(lines[: point - state["lines"]])
                real(fd, whole + lines[point - state["lines"]][:length], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            state["lines"] += len(lines)
        return real(fd, data, offset)

    os.pwrite = pwrite
    evaluate(settings_from_mapping(EvalRecipe, RECIPE, where="child"), runs)


if __name__ == "__main__":
    main()
