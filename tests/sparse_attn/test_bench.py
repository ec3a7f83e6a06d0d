"""The attention bench: its figures against their definitions, its pages, and the comparison with another commit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attention_block_plans import plans, tensors
from attention_samples import DIMS, HEADS, call_of, mixed_geometry, modes, video_geometry
from attention_samples import tensors as sample_tensors
from typer.testing import CliRunner

from allocentric.cli import app
from allocentric.core.catalog import METHODS
from allocentric.core.errors import SettingsError, UserError
from allocentric.sparse_attn.bench import against, inputs, report
from allocentric.sparse_attn.bench.job import Job
from allocentric.sparse_attn.bench.quality import judge, mask_of_queries, probe_rows
from allocentric.sparse_attn.bench.run import peak_tflops, run
from allocentric.sparse_attn.bench.timing import Timing, measure, peak_bytes
from allocentric.sparse_attn.executors import dense
from allocentric.sparse_attn.plan import Band, Dense, Gather

CPU = torch.device("cpu")
SMALL = {
    "methods": ("sliding_window", "moba"), "mixers": ("sliding_window",), "lengths": (48, 96), "heads": 2,
    "kv_heads": 1, "head_dim": 16, "repeats": 1, "stream": 3, "probes": 8,
    "settings": {"sliding_window": {"window": 16}, "moba": {"block": 16, "q_block": 8, "top_k": 2}},
    "mixer_settings": {"sliding_window": {"window": 16}},
}  # fmt: skip


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    return run(Job(**SMALL))


@pytest.mark.parametrize("name", plans())
def test_rows_of_the_mask_are_the_rows_of_the_whole(name: str) -> None:
    plan = plans()[name]
    rows = probe_rows(plan.extent.q_len, 7)
    assert torch.equal(mask_of_queries(plan, rows), plan.dense_mask()[:, :, rows])


@pytest.mark.parametrize("name", METHODS.names())
def test_rows_of_the_masks_of_methods(name: str) -> None:
    module = METHODS.load(name)
    method = module.build(module.EXAMPLE, DIMS).double()
    for causal in modes(method):
        geometry = mixed_geometry() if causal else video_geometry()
        with torch.no_grad():
            plan = method.plan(*sample_tensors(1, geometry.length), call_of(geometry, causal=causal))
        rows = probe_rows(geometry.length, 9)
        assert torch.equal(mask_of_queries(plan, rows), plan.dense_mask()[:, :, rows])


def test_rows_of_the_mask_of_a_list_of_keys() -> None:
    extent = plans()["window with sinks"].extent
    g = torch.Generator().manual_seed(0)
    index = torch.rand(2, 1, extent.q_len, 83, generator=g).argsort(-1)[..., :9]
    index[:, :, ::5, 4:] = -1
    plan = Gather(extent=extent, index_BHLN=index)
    rows = probe_rows(extent.q_len, 20)
    assert torch.equal(mask_of_queries(plan, rows), plan.dense_mask()[:, :, rows])


def test_probes_are_spread_and_end_with_the_last_query() -> None:
    assert probe_rows(100, 4).tolist() == [24, 49, 74, 99]
    assert probe_rows(3, 64).tolist() == [0, 1, 2]


def test_error_and_recall_are_what_they_say() -> None:
    plan = plans()["window with sinks"]
    q, k, v, _ = tensors(plan)
    rows = torch.arange(plan.extent.q_len)
    right = dense.attend(plan, q, k, v, scale=0.25)
    wrong = right.clone()
    wrong[1, 0, 40, 3] += 0.5
    found = judge(plan, q, k, v, wrong, rows, scale=0.25)
    assert found.max_error == pytest.approx(0.5, abs=1e-6)
    assert found.mean_error == pytest.approx(0.5 / right.numel(), rel=1e-2)
    weights = dense.probabilities(Dense(extent=plan.extent), q, k, scale=0.25)
    wanted = (weights * plan.dense_mask()).sum(-1).mean()
    assert found.recall == pytest.approx(float(wanted), abs=1e-9)
    everything = Band(extent=plan.extent, window=1000)
    assert judge(everything, q, k, v, right, rows, scale=0.25).recall == pytest.approx(1.0)


def test_topics_give_attention_somewhere_to_go() -> None:
    """Score gap between equal and other topics is 4 as said, up to sampling."""
    job = Job(heads=2, kv_heads=2, head_dim=64)
    q, k, _ = inputs.tensors(job, 2048, "fp32")
    scores = (q @ k.transpose(-1, -2) / 8).mean((0, 1))
    topic = inputs.topics(job, 2048, torch.Generator().manual_seed(job.seed))[0]
    same = topic[:, None] == topic
    assert 3.0 < float(scores[same].mean() - scores[~same].mean()) < 5.0


def test_times_are_of_the_calls() -> None:
    calls = []
    timing = measure(lambda: calls.append(1), device=CPU, repeats=4)
    assert len(calls) == 5
    assert len(timing.times_s) == 4
    slow_first = Timing(first_s=3.0, times_s=(1.0, 1.5, 0.5))
    assert slow_first.median_s == 1.0
    assert slow_first.compile_s == 2.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such memory accounting here")
def test_peak_memory_sees_what_a_call_holds_and_lets_go() -> None:
    held = peak_bytes(lambda: torch.ones(8 << 20), device=CPU)  # 32 MiB of float32
    assert held is not None
    assert 30 << 20 < held < 48 << 20


def test_rows_hold_what_their_definitions_give(result: dict[str, object]) -> None:
    rows = {(row["kind"], row["name"], row["length"]): row for row in result["rows"]}
    assert len(rows) == 8
    window = rows["method", "sliding_window", 96]
    kept = 2 * (16 * 17 // 2 + 80 * 16 + 4 * 80 - sum(max(0, 4 - max(0, q - 15)) for q in range(16, 96)))
    assert window["density"] == kept / (2 * 96 * 97 // 2)
    assert window["tflops"] == pytest.approx(4 * kept * 16 / (window["forward_ms"] * 1e9))
    assert window["both_tflops"] == pytest.approx(14 * kept * 16 / (window["both_ms"] * 1e9))
    assert window["state_bytes"] == 2 * 1 * 96 * 16 * 4
    full = rows["dense", "dense", 96]
    assert full["tflops"] == pytest.approx(4 * 2 * 96 * 97 / 2 * 16 / (full["forward_ms"] * 1e9))
    assert window["speedup"] == full["total_ms"] / window["total_ms"]
    assert window["share_of_dense"] == pytest.approx(window["tflops"] / full["tflops"])
    for length in (48, 96):
        for name in ("sliding_window", "moba"):
            row = rows["method", name, length]
            assert row["max_error"] < 1e-5
            assert row["density"] < row["recall"] <= 1
            assert row["step_p50_ms"] <= row["step_p95_ms"]
    mixers = [rows["mixer", "sliding_window", length] for length in (48, 96)]
    assert mixers[0]["state_bytes"] == mixers[1]["state_bytes"] > 0
    assert all(row["tokens_per_s"] > 0 for row in mixers)


def test_pages_hold_every_row(result: dict[str, object], tmp_path: Path) -> None:
    paths = report.write(result, tmp_path / "out", command="allocentric bench attention")
    assert {path.name for path in paths} >= {"attention.md", "attention.csv", "attention.json", "attention_time.svg"}
    page = (tmp_path / "out" / "attention.md").read_text()
    assert "    allocentric bench attention" in page
    assert page.count("\n| ") == 9
    assert "torch " + torch.__version__ in page
    with (tmp_path / "out" / "attention.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["forward_ms"]) for row in rows] == [row["forward_ms"] for row in result["rows"]]


def test_what_cannot_run_says_why_and_the_rest_is_measured() -> None:
    few = {**SMALL, "mixers": (), "mixer_settings": {}, "lengths": (32,), "stream": 0, "backward": False}
    found = run(Job(**few, executor="band"))
    rows = {row["name"]: row for row in found["rows"]}
    assert "it runs windows, not a Blocks plan; '" in rows["moba"]["refused"]
    assert rows["sliding_window"]["executor"] == "band"
    _, cells, notes = report.table(found)
    assert len(cells) == 2
    assert any(note.startswith("moba at 32 in fp32: executor 'band' can't run this") for note in notes)


def test_bad_jobs_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(SettingsError, match="settings of 'radial', which is not measured"):
        Job(settings={"radial": {}}).check()
    with pytest.raises(SettingsError, match="kv_heads must divide heads, got 3 and 8"):
        Job(kv_heads=3).check()
    with pytest.raises(UserError, match="did you mean 'moba'"):
        Job(methods=("mobba",)).check()
    with pytest.raises(SettingsError, match="can't be used"):
        Job(device="xyz").check()


def test_peaks_are_of_the_data_sheet_or_as_given() -> None:
    assert peak_tflops(Job(peak_tflops=12.5), "bf16") == 12.5
    assert peak_tflops(Job(), "fp32") is None


def test_rounds_are_merged_and_ratios_attached() -> None:
    def rows(total: float, both: float) -> list[dict[str, object]]:
        key = {"kind": "method", "name": "moba", "length": 64, "dtype": "fp32", "causal": True}
        return [{**key, "total_ms": total, "both_ms": both, "density": 0.5}]

    this = against.merged([{"rows": rows(2.0, 9.0), "x": 1}, {"rows": rows(3.0, 7.0), "x": 2}])
    assert (this["rows"][0]["total_ms"], this["rows"][0]["both_ms"], this["x"]) == (2.0, 7.0, 1)
    against.attach_ratios(this["rows"], rows(5.0, 3.5))
    assert this["rows"][0]["ratio"] == 2.5
    assert this["rows"][0]["both_ratio"] == 0.5
    against.attach_ratios(fresh := rows(1.0, 1.0), [])
    assert "ratio" not in fresh[0]


@pytest.mark.slow
def test_base_is_measured_by_this_bench_and_leaves_nothing_behind(repository: Path) -> None:
    git = ["git", "-C", str(repository)]
    if subprocess.run([*git, "rev-parse"], capture_output=True).returncode:
        pytest.skip("not a git checkout")
    few = {**SMALL, "mixers": (), "mixer_settings": {}, "lengths": (32,), "stream": 0, "backward": False}
    found = against.compare(Job(**few), "HEAD")
    assert all(row["ratio"] > 0 for row in found["rows"])
    assert found["base"].endswith("(HEAD)")
    assert "allocentric-base" not in subprocess.run([*git, "worktree", "list"], capture_output=True, text=True).stdout
    with pytest.raises(UserError, match="git rev-parse failed"):
        against.compare(Job(**few), "no-such-commit")


@pytest.mark.slow
def test_gpu_script_runs_at_toy_size(repository: Path) -> None:
    """Its code, not its figures: on the CPU, with the executors that run there."""
    script = repository / "benchmarks" / "attention_gpu.py"
    arguments = (
        "--device cpu --dtype fp32 --peak 0.1 --lengths 256 --windows 64 --blocks 1 --chunks 2048 --heads 2 "
        "--head-dim 32 --fast-width 32 --executors auto --repeats 1 --json"
    )
    done = subprocess.run([sys.executable, str(script), *arguments.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["wanted"]) == {"window", "window_both", "dynamic", "fast_weights"}
    window = next(row for row in found["attention"] if row["label"] == "window 64")
    assert window["efficiency"] == window["speedup"] * window["density"]
    assert found["wanted"]["window"]["lowest"] == window["efficiency"]
    assert len(found["errors"]["auto"]) == 16


def test_command_prints_json(tmp_path: Path) -> None:
    arguments = [
        "bench", "attention", "--methods", "moba", "--lengths", "32", "--heads", str(HEADS), "--head-dim", "16",
        "--repeats", "1", "--stream", "0", "--no-backward", "--set", "moba.block=16", "--set", "moba.q_block=8",
        "--json", "--out", str(tmp_path),
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert [row["name"] for row in found["rows"]] == ["dense", "moba"]
    assert found["job"]["settings"] == {"moba": {"block": 16, "q_block": 8}}
    assert (tmp_path / "attention.md").exists()
