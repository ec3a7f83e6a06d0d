"""SIGKILL in a real process at any point, then the same command again: the same numbers as undisturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "crash_child.py"


def run(runs: Path, point: int = -1, length: int = 0) -> int:
    command = [sys.executable, str(CHILD), str(runs), str(point), str(length)]
    return subprocess.run(command, timeout=60, check=False).returncode


def only_folder(runs: Path) -> Path:
    (folder,) = [path for path in runs.iterdir() if path.is_dir()]
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    runs = tmp_path_factory.mktemp("undisturbed")
    assert run(runs) == 0
    return only_folder(runs)


@pytest.mark.slow
# 36 items x 4 models = 144 lines: the first, inside a model, between models, the last; nothing, a part, everything.
@pytest.mark.parametrize(("point", "length"), [(0, 0), (0, 50), (21, 100), (35, 10_000_000), (90, 333), (143, 1)])
def test_killed_at_a_write(undisturbed, tmp_path, point, length):
    assert run(tmp_path, point, length) == -signal.SIGKILL
    folder = only_folder(tmp_path)
    assert not (folder / "results.json").exists()
    assert run(tmp_path) == 0
    assert (folder / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()
    assert (folder / "samples.jsonl").read_bytes().count(b"\n") == 4 * 36


def test_killed_again_and_again(undisturbed, tmp_path):
    for point, length in [(9, 10), (0, 0), (13, 99), (4, 20)]:
        assert run(tmp_path, point, length) == -signal.SIGKILL
    assert run(tmp_path) == 0
    assert (only_folder(tmp_path) / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()


@pytest.mark.slow
def test_killed_from_outside_at_any_time(undisturbed, tmp_path):
    """Not only at writes: wherever the process happens to be."""
    for delay_s in (0.2, 0.35, 0.5, 0.6, 0.7, 0.8):
        child = subprocess.Popen([sys.executable, str(CHILD), str(tmp_path), "-1", "0"])
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert run(tmp_path) == 0
    assert (only_folder(tmp_path) / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()
