"""Runs one rollout and is killed by itself with SIGKILL at a chosen write: argv = folder, runs, kill point, bytes.

Kill point k: the k-th append writes only that many bytes and the process dies at once; -1 never dies.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from allocentric.core.config import settings_from_mapping
from allocentric.eval.rollouts import RolloutRecipe, run_rollouts


def main() -> None:
    folder, runs, point, length = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    real, state = os.pwrite, {"appends": 0}

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if bytes(data[:1]) == b"{":  # records, not the lock's text
            state["appends"] += 1
            if state["appends"] - 1 == point:
                real(fd, bytes(data)[:length], offset)
                os.kill(os.getpid(), signal.SIGKILL)
        return real(fd, data, offset)

    os.pwrite = pwrite
    env = {"id": "ObjectSearch-v0", "folder": folder, "width_px": 64, "height_px": 36}
    run_rollouts(settings_from_mapping(RolloutRecipe, {"name": "crash", "env": env}, where="child"), runs)


if __name__ == "__main__":
    main()
