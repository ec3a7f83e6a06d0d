"""The same run folder whoever asks: this process, processes, actors of a Ray cluster; and whoever dies meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import fake_workers
import pytest
from openai_server import Server, completion, problem

from allocentric.core.errors import SettingsError, UserError
from allocentric.core.runlog import read_samples
from allocentric.eval.recipe import plan
from allocentric.eval.run import evaluate
from allocentric.eval.work.crew import Workers
from allocentric.eval.work.processes import exit_words, shares

SUPPORT = Path(fake_workers.__file__).parent
CHILD = Path(__file__).parent / "driver_child.py"


def processes(count: int) -> Workers:
    return Workers(count=count, prepare=fake_workers.install)


def sorted_lines(folder: Path) -> list[bytes]:
    return sorted((folder / "samples.jsonl").read_bytes().splitlines())


@pytest.fixture
def steady(fake, recipe, tmp_path):
    """Makes recipes with the backend "steady"; its notes lie in tmp_path / "notes"."""
    fake_workers.install_model()
    fake_workers.behave(tmp_path / "notes")
    model = {"name": "steady", "label": "steady", "notes": str(tmp_path / "notes" / "note")}
    return recipe(models=[model], batch_size=4)


def notes(tmp_path: Path, what: str) -> list[tuple[str, int]]:
    """(item, process) of everything the backend noted."""
    parts = [path.name.split("_") for path in (tmp_path / "notes").glob(f"{what}_*")]
    return [(item, int(pid)) for _, item, pid, _ in parts]


def test_processes_leave_the_same_folder(steady, tmp_path):
    alone = evaluate(steady, tmp_path / "alone")
    fake_workers.behave(tmp_path / "notes", together=2)
    shared = evaluate(steady, tmp_path / "shared", workers=processes(2))
    assert sorted_lines(shared.folder) == sorted_lines(alone.folder)
    assert len(sorted_lines(alone.folder)) == 4 * 36
    assert (shared.folder / "results.json").read_bytes() == (alone.folder / "results.json").read_bytes()
    assert sorted(item for item, _ in notes(tmp_path, "answered")) == sorted(item.id for item in plan(steady).items)
    assert len({pid for _, pid in notes(tmp_path, "answered")} - {os.getpid()}) == 2


@pytest.mark.parametrize("lives", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_dead_worker_held_is_given_to_others(steady, tmp_path, lives):
    calm = evaluate(steady, tmp_path / "calm")
    fake_workers.behave(tmp_path / "notes", deadly="2-3", lives=lives)
    hit = evaluate(steady, tmp_path / "hit", workers=processes(2))
    assert sorted_lines(hit.folder) == sorted_lines(calm.folder)
    assert (hit.folder / "results.json").read_bytes() == (calm.folder / "results.json").read_bytes()
    assert "killed by SIGKILL" in (hit.folder / "log.txt").read_text()
    assert len(notes(tmp_path, "killed")) == lives


@pytest.mark.slow
def test_an_item_that_kills_every_worker_is_named_and_the_rest_answered(steady, tmp_path):
    fake_workers.behave(tmp_path / "notes", deadly="2-3")
    result = evaluate(steady, tmp_path / "runs", workers=processes(2))
    assert result.exit_code == 2
    failures = [r for r in read_samples(result.folder).values() if r["response"]["error"]]
    assert [r["item"] for r in failures] == ["2-3"]
    assert failures[0]["response"]["error"] == "3 workers died over it, the last one killed by SIGKILL"
    assert result.results["models"][0]["failed"] == 1
    assert result.results["models"][0]["profiles"]["first-letter@0"]["unanswered"] == 1
    assert len(notes(tmp_path, "killed")) == 3
    fake_workers.behave(tmp_path / "notes")
    assert evaluate(steady, tmp_path / "runs", workers=processes(2)).asked == 1


def test_a_user_error_in_a_worker_is_one_line(steady, tmp_path):
    with pytest.raises(UserError, match="unknown benchmark 'fake'") as caught:
        evaluate(steady, tmp_path / "runs", workers=Workers(count=2, prepare=fake_workers.install_model))
    assert "\n" not in str(caught.value)


def test_wrong_numbers_of_workers():
    for values in ({"count": 0}, {"gpus": -1.0}, {"gpus": 0.5}):
        with pytest.raises(SettingsError):
            Workers(**values)


def test_processes_share_cores_and_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
    assert [s["CUDA_VISIBLE_DEVICES"] for s in shares(Workers(count=2, gpus=2))] == ["3,5", "6,7"]
    with pytest.raises(UserError, match="3 workers with 2 GPUs each need 6, but 4 are visible"):
        shares(Workers(count=3, gpus=2))
    assert "CUDA_VISIBLE_DEVICES" not in shares(Workers(count=2))[0]
    assert (exit_words(-9), exit_words(1)) == ("killed by SIGKILL", "ended with exit code 1")


# ------------------------------------------------------------------------------------- a server that misbehaves


class Till:
    """What was sold: a complete answer that reached the wire, by prompt."""

    def __init__(self, server: Server) -> None:
        self.sold: Counter[str] = Counter()
        self.lock = threading.Lock()
        server.reply = self.reply
        server.delay_s = lambda text: 0.05 if self.mood(text) == 4 else 0.0

    @staticmethod
    def mood(text: str) -> int:
        return hashlib.sha256(text.encode()).digest()[0] % 8

    def reply(self, text, nth):
        mood = self.mood(text)
        if nth <= 2 and mood == 0:
            return problem(429, "slow down", **{"Retry-After": "0.02"})
        if nth <= 2 and mood == 1:
            return problem(500, "oops")
        if nth == 1 and mood == 2:
            return 200, {}, '{"choices": [{"mess'
        if nth <= 2 and mood == 3:
            return None
        if mood == 5:
            return problem(500, "always")
        with self.lock:
            self.sold[text] += 1
        return 200, {}, completion("ABCD"[hashlib.sha256(text.encode()).digest()[1] % 4])


@pytest.fixture
def server():
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def api_recipe(recipe, server):
    model = {
        "name": "openai_api", "model": "m", "base_url": server.url, "api_key_env": None, "first_wait_s": 0.01,
        "max_retries": 3, "concurrency": 6, "label": "api",
    }  # fmt: skip
    return recipe(models=[model], baselines=False, frames={"count": 0}, stop_after_failures=1000)


def check_all_answered_once(result, till):
    records = list(read_samples(result.folder).values())
    assert len(records) == 36
    for record in records:
        failing = till.mood(record["prompt"]) == 5
        assert (record["response"]["error"] is not None) == failing
        if failing:
            assert "answered 500: always; gave up after 4 tries" in record["response"]["error"]
    assert till.sold == Counter(r["prompt"] for r in records if not r["response"]["error"])
    assert {till.mood(record["prompt"]) for record in records} >= {0, 1, 2, 3, 4, 5}
    assert result.exit_code == 2


@pytest.fixture
def api_baseline(recipe, server, tmp_path):
    till = Till(server)
    result = evaluate(api_recipe(recipe, server), tmp_path / "one")
    check_all_answered_once(result, till)
    return result


def test_every_item_is_paid_once_and_none_is_lost_with_one_worker(api_baseline):
    assert api_baseline.results["models"][0]["failed"] > 0


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_item_is_paid_once_and_none_is_lost_with_more(api_baseline, recipe, server, tmp_path, count):
    server.requests.clear()
    till = Till(server)
    result = evaluate(api_recipe(recipe, server), tmp_path / "more", workers=processes(count))
    check_all_answered_once(result, till)
    assert sorted_lines(result.folder) == sorted_lines(api_baseline.folder)
    assert server.most_busy <= 6  # the limit holds for all workers together


# ----------------------------------------------------------------------------------------------------- killing


@pytest.mark.slow
def test_workers_killed_from_outside(steady, tmp_path):
    """SIGKILL of whoever asks, again and again; equal to the undisturbed run, and nothing answered twice."""
    calm = evaluate(steady, tmp_path / "calm")
    fake_workers.behave(tmp_path / "notes", seconds=0.05)
    stop = threading.Event()
    killed: list[int] = []
    hunter = threading.Thread(target=hunt, args=(tmp_path / "notes", stop, killed))
    hunter.start()
    try:
        hit = evaluate(steady, tmp_path / "hit", workers=processes(2))
    finally:
        stop.set()
        hunter.join()
    assert len(killed) == 3
    assert sorted_lines(hit.folder) == sorted_lines(calm.folder)
    assert (hit.folder / "results.json").read_bytes() == (calm.folder / "results.json").read_bytes()


@pytest.mark.slow
def test_the_driver_killed_with_its_workers_at_work(steady, tmp_path):
    """SIGKILL of the driver: its workers end too, and the same run on another number of them continues it."""
    calm = evaluate(steady, tmp_path / "calm")
    fake_workers.behave(tmp_path / "notes", seconds=0.05, together=2)
    recipe_file = tmp_path / "recipe.json"
    recipe_file.write_text(steady.model_dump_json())
    child = subprocess.Popen([sys.executable, str(CHILD), str(recipe_file), str(tmp_path / "hit")])
    try:
        wait_until(lambda: len(notes(tmp_path, "answered")) >= 12)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    finally:
        child.kill()
    workers = {pid for _, pid in notes(tmp_path, "asked")}
    assert len(workers) == 2
    wait_until(lambda: not any(alive(pid) for pid in workers))
    (folder,) = (tmp_path / "hit").iterdir()
    assert not (folder / "results.json").exists()
    before = len(read_samples(folder))
    assert 0 < before < 4 * 36
    fake_workers.behave(tmp_path / "notes")
    again = evaluate(steady, tmp_path / "hit")
    assert again.asked == 4 * 36 - before
    assert sorted_lines(again.folder) == sorted_lines(calm.folder)
    assert (again.folder / "results.json").read_bytes() == (calm.folder / "results.json").read_bytes()


def wait_until(condition, seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def hunt(folder: Path, stop: threading.Event, killed: list[int]) -> None:
    """Kill three workers, each when it was seen at work and others have answered more since the last."""
    answered = 0
    while not stop.is_set() and len(killed) < 3:
        at_work = {int(path.name.split("_")[2]) for path in folder.glob("asked_*")} - {os.getpid(), *killed}
        now = len(list(folder.glob("answered_*")))
        if at_work and now >= answered + 4:
            killed.append(max(at_work))
            os.kill(killed[-1], signal.SIGKILL)
            answered = now
        time.sleep(0.02)


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes_leaves_the_same_folder(
    api_baseline, steady, recipe, server, tmp_path, monkeypatch
):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}:{os.environ.get('PYTHONPATH', '')}")
    alone = evaluate(steady, tmp_path / "alone")
    fake_workers.behave(tmp_path / "notes", together=2)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        workers = Workers(count=2, ray=cluster.address, prepare=fake_workers.install)
        shared = evaluate(steady, tmp_path / "shared", workers=workers)
        actors = {pid for _, pid in notes(tmp_path, "answered")} - {os.getpid()}
        server.requests.clear()
        till = Till(server)
        result = evaluate(api_recipe(recipe, server), tmp_path / "ray", workers=workers)
        fake_workers.behave(tmp_path / "notes", deadly="2-3", lives=1)
        hit = evaluate(steady, tmp_path / "hit", workers=workers)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert sorted_lines(shared.folder) == sorted_lines(alone.folder)
    assert len(actors) == 2
    check_all_answered_once(result, till)
    assert sorted_lines(result.folder) == sorted_lines(api_baseline.folder)
    assert sorted_lines(hit.folder) == sorted_lines(alone.folder)
