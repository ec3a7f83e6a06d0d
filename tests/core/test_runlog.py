"""A run folder survives torn lines, full disks, dead and living competitors."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from allocentric.core.errors import DataError, UserError
from allocentric.core.runlog import (
    GroupCommit,
    RunLog,
    read_config,
    read_json,
    read_samples,
    run_folder,
    write_atomically,
)

SETTINGS = {"name": "test", "seed": 0}


@pytest.fixture
def folder(tmp_path):
    return run_folder(tmp_path, "test", SETTINGS)


def fill(folder, *keys):
    with RunLog(folder, SETTINGS) as log:
        for key in keys:
            log.append([(key, {"text": f"answer {key}"})])


def test_other_settings_are_another_folder(tmp_path):
    assert run_folder(tmp_path, "test", SETTINGS) != run_folder(tmp_path, "test", {**SETTINGS, "seed": 1})
    assert run_folder(tmp_path, "test", SETTINGS) == run_folder(tmp_path, "test", dict(reversed(SETTINGS.items())))


def test_records_come_back_and_the_last_of_a_key_counts(folder):
    fill(folder, "a", "b")
    with RunLog(folder, SETTINGS) as log:
        log.append([("a", {"text": "again"}), ("c", {"text": "line\nfeed \u2028 ü \ud83d \0"})])
        assert list(log.read()) == ["a", "b", "c"]
    assert read_samples(folder)["a"] == {"text": "again"}
    assert read_samples(folder)["c"]["text"] == "line\nfeed \u2028 ü \ud83d \0"
    assert read_config(folder) == SETTINGS
    assert {"python", "packages", "cpu", "command"} <= read_json(folder, "env.json")["environments"][0].keys()


@pytest.mark.parametrize("cut", [1, 2, 15, 25])
def test_a_torn_last_line_is_cut_and_written_again(folder, cut):
    fill(folder, "a", "b")
    samples = folder / "samples.jsonl"
    whole = samples.read_bytes()
    samples.write_bytes(whole[:-cut])
    assert list(read_samples(folder)) == ["a"]  # reading alone changes nothing
    assert samples.read_bytes() == whole[:-cut]
    with RunLog(folder, SETTINGS) as log:
        assert log.cut_bytes > 0
        assert list(log.read()) == ["a"]
        log.append([("b", {"text": "answer b"})])
    assert samples.read_bytes() == whole


def test_zeros_left_by_a_power_cut_are_cut_too(folder):
    fill(folder, "a")
    with (folder / "samples.jsonl").open("ab") as file:
        file.write(b"\0" * 64)
    with RunLog(folder, SETTINGS) as log:
        assert log.cut_bytes == 64
        assert list(log.read()) == ["a"]


def test_damage_in_the_middle_is_not_guessed_away(folder):
    fill(folder, "a", "b", "c")
    lines = (folder / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "samples.jsonl").write_bytes(lines[0] + b"{broken\n" + lines[2])
    with RunLog(folder, SETTINGS) as log, pytest.raises(DataError, match=r"samples\.jsonl line 2 is damaged"):
        log.read()
    (folder / "samples.jsonl").write_bytes(lines[0])
    with RunLog(folder, SETTINGS) as log:
        assert list(log.read()) == ["a"]


def test_a_full_disk_loses_nothing_and_continues(folder, monkeypatch):
    real = os.pwrite
    with RunLog(folder, SETTINGS) as log:
        log.append([("a", {"text": "kept"})])
        before = (folder / "samples.jsonl").read_bytes()

        state = {"calls": 0}

        def full_after_one(fd, data, offset):
            state["calls"] += 1
            if state["calls"] == 1:
                return real(fd, bytes(data[:10]), offset)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full_after_one)
        with pytest.raises(UserError, match="the disk is full") as caught:
            log.append([("b", {"text": "lost"})])
        assert "repeat the same command" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert (folder / "samples.jsonl").read_bytes() == before
        monkeypatch.setattr(os, "pwrite", real)
        log.append([("b", {"text": "now"})])
    assert read_samples(folder) == {"a": {"text": "kept"}, "b": {"text": "now"}}


def test_two_writers_are_refused_with_the_holder_named(folder):
    with RunLog(folder, SETTINGS), pytest.raises(UserError, match=rf"process {os.getpid()} on "):
        RunLog(folder, SETTINGS)
    with RunLog(folder, SETTINGS):
        pass


HOLD = """
import sys, time
from pathlib import Path
from allocentric.core.runlog import RunLog
log = RunLog(Path(sys.argv[1]), {"name": "test", "seed": 0})
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_taken_over(folder):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "held"
        with pytest.raises(UserError, match=f"process {child.pid} on "):
            RunLog(folder, SETTINGS)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        with RunLog(folder, SETTINGS) as log:
            log.append([("a", {})])
    finally:
        child.kill()
        child.wait(10)


def test_changed_config_is_noticed(folder):
    fill(folder, "a")
    (folder / "config.yaml").write_text("name: test\nseed: 5\n")
    with pytest.raises(DataError, match="holds other settings"):
        RunLog(folder, SETTINGS)


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        RunLog(tmp_path / "file" / "run", SETTINGS)
    assert "\n" not in str(caught.value)


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomically(path, "old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_the_environment_is_stored_once_per_environment(folder, monkeypatch):
    fill(folder, "a")
    fill(folder, "b")
    assert len(read_json(folder, "env.json")["environments"]) == 1
    monkeypatch.setattr(sys, "argv", ["allocentric", "eval", "--api-key", "abc123", "models.0.api_key=xyz"])
    fill(folder, "c")
    environments = read_json(folder, "env.json")["environments"]
    assert environments[1]["command"] == ["allocentric", "eval", "--api-key", "***", "models.0.api_key=***"]
    assert "abc123" not in json.dumps(environments)


def test_many_records_share_a_flush_and_none_counts_before_it(folder, monkeypatch):
    """While the disk is busy with one group everything else waits, and goes with the next."""
    real, busy, go, groups = os.fsync, threading.Event(), threading.Event(), []

    def slow(fd):
        busy.set()
        assert go.wait(10)
        groups.append((folder / "samples.jsonl").read_bytes().count(b"\n"))
        real(fd)

    with RunLog(folder, SETTINGS) as log:
        monkeypatch.setattr(os, "fsync", slow)
        with GroupCommit(log) as commit:
            commit.put("0", {})
            assert busy.wait(10)
            for k in range(1, 500):
                commit.put(str(k), {"text": "x"})
            assert commit.settled() == 0
            go.set()
            commit.flush()
            assert commit.settled() == 500
            assert commit.settled() == 0
        assert groups == [1, 500]
        assert list(log.read()) == [str(k) for k in range(500)]
        monkeypatch.setattr(os, "fsync", real)


def test_a_full_disk_reaches_whoever_hands_over_next(folder, monkeypatch):
    def full(fd, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLog(folder, SETTINGS) as log:
        log.append([("a", {})])
        monkeypatch.setattr(os, "pwrite", full)
        commit = GroupCommit(log)
        commit.put("b", {})
        with pytest.raises(UserError, match="the disk is full"):
            commit.flush()
        with pytest.raises(UserError, match="the disk is full"):
            commit.put("c", {})
        with pytest.raises(UserError, match="the disk is full"):
            commit.close()
    monkeypatch.undo()
    assert list(read_samples(folder)) == ["a"]


def test_opening_looks_at_the_end_only(folder, monkeypatch):
    with RunLog(folder, SETTINGS) as log:
        log.append([(str(k), {"text": "x" * 100}) for k in range(3000)])
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: read.append(count) or real(fd, count, offset))
    with RunLog(folder, SETTINGS) as log:
        assert log.cut_bytes == 0
    assert sum(read) < 3 * 65536
    monkeypatch.undo()
    samples = folder / "samples.jsonl"
    samples.write_bytes(samples.read_bytes() + b"x" * 200_000)  # a torn line longer than what is read at a time
    with RunLog(folder, SETTINGS) as log:
        assert log.cut_bytes == 200_000
        assert len(log.read()) == 3000
