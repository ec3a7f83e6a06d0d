"""A run folder: append-only answers that survive any death of the process, and what is needed to repeat them.

`runs/<name>-<hash of resolved settings>/` holds config.yaml, env.json, samples.jsonl, log.txt and, in the end,
results.json and report.html. One line of samples.jsonl is one finished piece of work under a content key. A batch of
lines is written and forced to the disk before `append` returns; a line torn by a crash has no line feed, is cut at the
next opening and done again. One process at a time holds a folder.

Opening looks at the end of samples.jsonl only; whoever reads the records checks every line on the way. `GroupCommit`
lets many answers share one flush of the disk, which is what bounds the speed of a run whose answers come fast.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from pydantic_core import from_json

from allocentric.core.config import settings_hash
from allocentric.core.environment import environment
from allocentric.core.errors import DataError, UserError

_BLOCK_BYTES = 1 << 16


def run_folder(runs_dir: Path, name: str, settings: Mapping[str, Any]) -> Path:
    """The folder of a run: another setting is another folder."""
    return runs_dir / f"{name}-{settings_hash(settings)}"


class RunLog:
    """An open run folder. Use as a context manager; nothing else may write the folder meanwhile."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Create or reopen `folder`, lock it and cut a torn last line.

        Args:
            folder: See `run_folder`.
            settings: Every setting in force, as JSON values; written to config.yaml.

        Raises:
            UserError: Another process holds the folder, or it can't be written.
            DataError: The folder holds other settings.
        """
        self.folder = folder
        """Where everything lies."""
        self.cut_bytes = 0
        """Length of the torn line that was cut at opening."""
        self._samples_fd = -1
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_fd = lock(folder / "lock")
            try:
                self._open(settings)
            except BaseException:
                self.close()
                raise

    def _open(self, settings: Mapping[str, Any]) -> None:
        config = self.folder / "config.yaml"
        if config.exists():
            _check_same(config, settings)
        else:
            write_atomically(config, yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))
        _record_environment(self.folder / "env.json")
        samples = self.folder / "samples.jsonl"
        self._samples_fd = os.open(samples, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        size = os.fstat(self._samples_fd).st_size
        self._end = _intact_end(self._samples_fd, size)
        self.cut_bytes = size - self._end
        if self.cut_bytes:
            os.ftruncate(self._samples_fd, self._end)
            self.say(f"cut {self.cut_bytes} bytes of a torn last line of samples.jsonl")
        _sync_folder(self.folder)

    def append(self, records: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write (key, record) pairs, one line each; they are on the disk when this returns.

        Raises:
            UserError: The disk is full or failing. What was written before is intact, and the same command continues.
        """
        data = b"".join(_line({"key": key, **record}) for key, record in records)
        with disk_errors(self.folder):
            try:
                _write_all(self._samples_fd, data, self._end)
                os.fsync(self._samples_fd)
            except OSError:
                os.ftruncate(self._samples_fd, self._end)
                raise
        self._end += len(data)

    def read(self) -> dict[str, dict[str, Any]]:
        """The last record of every key, in order of first appearance. DataError where a line is damaged."""
        return read_samples(self.folder)

    def say(self, line: str) -> None:
        """One line into log.txt, with the time."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        with disk_errors(self.folder), (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {' '.join(line.split())}\n")

    def write(self, name: str, text: str) -> Path:
        """Replace the file `name` of the folder, whole or not at all."""
        path = self.folder / name
        with disk_errors(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        return path

    def close(self) -> None:
        """Let the folder go."""
        if self._samples_fd >= 0:
            os.close(self._samples_fd)
            self._samples_fd = -1
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GroupCommit:
    """Appends records from a thread of its own; all that came during one flush of the disk share the next.

    A record counts as done when `settled` has counted it, not before. Use as a context manager: leaving it waits until
    everything is on the disk.
    """

    _MOST_WAITING = 20_000
    """Records held at most; `put` waits where the disk is that far behind."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._waiting: list[tuple[str, Mapping[str, Any]]] = []
        self._writing = False
        self._settled = 0
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Hand one record over. UserError where an earlier one could not be written."""
        with self._changed:
            while len(self._waiting) >= self._MOST_WAITING and self._error is None:
                self._changed.wait()
            self._raise()
            self._waiting.append((key, record))
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def settled(self) -> int:
        """How many records have reached the disk since the last call. UserError where one could not be written."""
        with self._changed:
            self._raise()
            count, self._settled = self._settled, 0
            return count

    def flush(self) -> None:
        """Wait until everything is on the disk. UserError where it could not be written."""
        with self._changed:
            while (self._waiting or self._writing) and self._error is None:
                self._changed.wait()
            self._raise()

    def close(self) -> None:
        """Wait until everything is on the disk and end the thread. UserError where it could not be written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._raise()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                group, self._waiting = self._waiting, []
                self._writing = bool(group)
                self._changed.notify_all()
            if not group:
                return
            try:
                self._log.append(group)
            except BaseException as error:  # handed to whoever calls next
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._settled += len(group)
                self._writing = False
                self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except UserError:
            if error is None:
                raise


# ---------------------------------------------------------------------------------------------------------- reading


def scan_samples(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and record of every line of a run folder, one at a time; a torn last line is left out.

    Raises:
        DataError: a line is damaged and is not the last.
    """
    path = folder / "samples.jsonl"
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = _parse_line(line)
            if record is not None:
                yield record.pop("key"), record
            elif file.read(1):
                raise DataError(f"{path} line {number} is damaged and isn't the last; remove that line and repeat")


def read_samples(folder: Path) -> dict[str, dict[str, Any]]:
    """The last record of every key of a run folder, in order of first appearance; a torn last line is left out."""
    return dict(scan_samples(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run folder, or a DataError that says why it is none."""
    path = folder / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{folder} is not a run folder: config.yaml can't be read") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise DataError(f"{path} is not YAML; a run folder is written by `allocentric eval`") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return values


def read_json(folder: Path, name: str) -> dict[str, Any] | None:
    """A JSON object of a run folder, None where it isn't there."""
    path = folder / name
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"{path} is damaged; delete it and repeat the command that made it") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _intact_end(fd: int, size: int) -> int:
    """Where the last intact line ends, looking at no more than the last two lines."""
    end = _line_feed_before(fd, size) + 1
    start = _line_feed_before(fd, end - 1) + 1
    return end if end == 0 or _parse_line(os.pread(fd, end - start, start)) is not None else start


def _line_feed_before(fd: int, end: int) -> int:
    """Position of the last line feed before `end`, -1 where there is none."""
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _line(record: Mapping[str, Any]) -> bytes:
    """ASCII, because what a model says may hold half a character, which UTF-8 can't."""
    return _encode(record).encode("ascii") + b"\n"


def _parse_line(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = from_json(line, allow_inf_nan=False)  # pydantic's parser: twice as fast as json, and always there
    except ValueError:
        record = _parse_slowly(line)
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def _parse_slowly(line: bytes) -> Any:
    """By the standard library, which alone takes half a character (an escaped surrogate without its other half)."""
    try:
        return json.loads(line)
    except ValueError:
        return None


# ---------------------------------------------------------------------------------------------------------- writing


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader or a crash sees the old one or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a disk answers (full, read-only, no such folder) into one line that names `folder`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            what = f"the disk is full ({folder}); everything before is kept"
            raise UserError(f"{what}: free some space and repeat the same command to continue") from None
        raise UserError(f"can't write {folder}: {error.strerror or error}") from None


# -------------------------------------------------------------------------------------------------------- one writer


def lock(path: Path) -> int:
    """A lock the kernel drops when its process dies, so a dead run never blocks the next one."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
        os.close(fd)
        raise UserError(f"{path.parent} is being written by {holder}; wait for it, or stop it") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return fd


def _check_same(config: Path, settings: Mapping[str, Any]) -> None:
    if settings_hash(read_config(config.parent)) != settings_hash(settings):
        raise DataError(f"{config} holds other settings than this run; restore it or remove the folder")


def _record_environment(path: Path) -> None:
    """One entry per environment that worked on the run; a resumed run on the same machine adds none."""
    known = (read_json(path.parent, path.name) or {"environments": []})["environments"]
    now = environment()
    if not known or known[-1] != now:
        write_atomically(path, json.dumps({"environments": [*known, now]}, indent=2, sort_keys=True) + "\n")
