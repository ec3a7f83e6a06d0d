"""`allocentric play` as a process: where it listens, what it says, and what a kill leaves behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allocentric.core.errors import MissingPackageError, UserError
from allocentric.core.runlog import read_samples
from allocentric.eval.play import launch

Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start(panorama_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the program on six small tasks; gives the process and the page's address."""
    processes = []

    def started(*more: str) -> tuple[subprocess.Popen[str], str]:
        small = ["--set", f"folder={panorama_folder}", "--set", "width_px=64", "--set", "height_px=48"]
        process = subprocess.Popen(
            [sys.executable, "-m", "allocentric.cli", "play", "ObjectSearch", *small, "--name", "Ada",
             "--runs", str(tmp_path / "runs"), "--episodes", "2", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                return process, found[0]
        raise AssertionError("no address was printed")

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def post(address: str, name: str, **message: Any) -> Any:
    request = urllib.request.Request(
        address + name, data=json.dumps(message).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def play_one(address: str, page: str, number: int) -> Any:
    state = post(address, "begin", page=page, number=number)["state"]
    moment = {key: state[key] for key in ("number", "attempt", "sequence")}
    return post(address, "act", page=page, **moment, deed={"kind": "submit"})["state"]


@pytest.mark.slow
def test_a_kill_in_the_middle_keeps_what_is_finished_and_ctrl_c_is_no_error(start: Start, tmp_path: Path) -> None:
    process, address = start()
    assert address.startswith("http://127.0.0.1:")
    page = post(address, "join")["page"]
    assert play_one(address, page, 0)["phase"] == "ended"
    post(address, "begin", page=page, number=1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again, other = start()
    assert other.split("/")[3] != address.split("/")[3]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        post("/".join([*other.split("/")[:3], address.split("/")[3], ""]), "join")
    joined = post(other, "join")
    assert (joined["state"]["done"], joined["state"]["next"], joined["state"]["phase"]) == (1, 1, "ready")
    assert play_one(other, joined["page"], 1)["finished"]
    again.send_signal(signal.SIGINT)
    out, err = again.communicate(timeout=20)
    assert again.returncode == 0, err
    assert "Traceback" not in err
    assert out.splitlines()[1].startswith("Ada\t")
    (folder,) = (tmp_path / "runs").iterdir()
    assert [record["number"] for record in read_samples(folder).values()] == [0, 1]
    assert json.loads((folder / "results.json").read_text())["state"] == "finished"
    for used in (address, other):
        token = used.split("/")[3].encode()
        assert not [file for file in folder.rglob("*") if token in file.read_bytes()]


def arguments(folder: Path, runs: Path, **other: Any) -> dict[str, Any]:
    settings = {"folder": str(folder), "width_px": 64, "height_px": 48}
    values = {"settings": settings, "player": "Ada", "episodes": 1, "seed": 0, "runs": runs, "host": "127.0.0.1"}
    return {**values, "port": 0, "announce": lambda _: None, "warn": lambda _: None, **other}


def test_a_taken_port_is_one_line(panorama_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"can't listen at 127.0.0.1 port {port}.*--port"):
            launch.play("ObjectSearch", **arguments(panorama_folder, tmp_path, port=port))


def test_listening_to_other_machines_is_said(
    panorama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uvicorn

    said: list[str] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    launch.play("ObjectSearch", **arguments(panorama_folder, tmp_path, host="0.0.0.0", warn=said.append))
    assert len(said) == 1
    assert "other machines" in said[0]
    said.clear()
    launch.play("ObjectSearch", **arguments(panorama_folder, tmp_path, warn=said.append))
    assert said == []


@pytest.mark.parametrize("name", ["", "a\nb", "../x", "<b>", "x" * 41, "oracle"])
def test_names_that_are_no_rows(panorama_folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        launch.play("ObjectSearch", **arguments(panorama_folder, tmp_path, player=name))
    assert list(tmp_path.iterdir()) == []


def test_without_the_server_s_packages(panorama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'allocentric\[play\]'"):
        launch.play("ObjectSearch", **arguments(panorama_folder, tmp_path))
