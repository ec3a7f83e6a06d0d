"""What asking costs beside the asking: starting, keeping, resuming, scoring, reporting; beside lmms-eval.

    python benchmarks/harness.py [--json] [--items 60000] [--report-items 1000000] [--peer-venv DIR | --no-peer]

Both harnesses ask a model that answers at once (lmms-eval's `dummy`, our `scripted: constant`) questions from a local
JSON file, each in a process of its own. Starting is what a run of eight questions takes from end to end; an item is
what the others of `--items` add, divided by their number. On our side half the items have options and half ask for
numbers; each is asked under VSI-Bench's prompts, forced to the disk before it counts, and scored by three profiles
with intervals and a page; on the other side an item is a choice, scored by exact match, and written when all are done.

Both keep their byte code and are run once before they are measured.

lmms-eval 0.7.3 is installed into a folder that is removed afterwards (a few GB; `--peer-venv` keeps and reuses it),
without torchvision, which breaks with a CPU build of torch, and with the last filelock it works with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allocentric.core.config import settings_from_mapping
from allocentric.core.progress import SilentProgress
from allocentric.core.runlog import RunLog, run_folder
from allocentric.core.types import Response
from allocentric.eval.recipe import EvalRecipe, plan
from allocentric.eval.report import write_report
from allocentric.eval.results import score_row
from allocentric.eval.run import evaluate
from allocentric.eval.work.questions import Answered, Inquiry

PEER = ("lmms-eval==0.7.3", "filelock==3.20.3")
FEW = 8
SCENES = 5_000
RESUMED = 100_000
SCORED = 100_000
LENGTH = 7
"""Every so many answers one reasons first, and says what no other does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=60_000, help="questions of the long run")
    parser.add_argument("--report-items", type=int, default=1_000_000, help="questions of the report")
    parser.add_argument("--peer-venv", type=Path, help="folder of lmms-eval's environment; made where it is missing")
    parser.add_argument("--no-peer", action="store_true", help="leave lmms-eval out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        figures = measure(Path(folder), arguments)
    if arguments.json:
        print(json.dumps(figures))
        return
    width = max(map(len, figures))
    for key, value in figures.items():
        print(f"{key:<{width}}  {value:,.4g}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    say("our runs")
    our_run_s(folder / "ours-warm", FEW)  # byte code and the disk's cache
    ours = {count: our_run_s(folder / f"ours-{count}", count) for count in (FEW, arguments.items)}
    figures: dict[str, Any] = {
        "items": arguments.items,
        "startup_s": ours[FEW],
        "per_item_ms": 1000 * (ours[arguments.items] - ours[FEW]) / (arguments.items - FEW),
    }
    if not arguments.no_peer:
        say("lmms-eval's runs")
        python = peer_python(arguments.peer_venv or folder / "venv")
        peer_run_s(python, folder / "peer-warm", FEW)  # its caches and byte code
        peer = {count: peer_run_s(python, folder / f"peer-{count}", count) for count in (FEW, arguments.items)}
        per_item_ms = 1000 * (peer[arguments.items] - peer[FEW]) / (arguments.items - FEW)
        figures |= {
            "lmms_eval": PEER[0],
            "lmms_eval_startup_s": peer[FEW],
            "lmms_eval_per_item_ms": per_item_ms,
            "startup_ratio_lmms_eval": peer[FEW] / ours[FEW],
            "per_item_ratio_lmms_eval": per_item_ms / figures["per_item_ms"],
        }
    say(f"resuming {RESUMED:,} answers")
    figures |= resume_figures(folder / "resume")
    say("scoring")
    figures["score_items_per_second"] = score_rate(folder / "score")
    say(f"a report of {arguments.report_items:,} items")
    figures |= report_figures(folder / "report", arguments.report_items)
    return figures


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------------------- questions


def records(count: int) -> Iterator[dict[str, Any]]:
    """VSI-Bench records, numbers and options in turn."""
    for k in range(count):
        base = {"id": str(k), "dataset": "scannet", "scene_name": f"scene{k % SCENES:04d}_00"}
        if k % 2:
            question = {"question": f"How many chair(s) are in this room? ({k})", "options": None}
            yield {**base, **question, "question_type": "object_counting", "ground_truth": str(k % 7 + 1)}
        else:
            options = ["A. chair", "B. sofa", "C. lamp", "D. door"]
            question = {"question": f"Which of these is closest to the table? ({k})", "options": options}
            yield {**base, **question, "question_type": "object_rel_distance", "ground_truth": "ABCD"[k // 2 % 4]}


def said(k: int, choice: bool) -> str:
    """Answer k: a letter or a number, now and then in a sentence, one in seven reasoned and like no other."""
    answer = "ABCD"[k // 2 % 4] if choice else f"{k % 50 / 10:g}"
    match k % LENGTH:
        case 0:
            return f"<think>In frame {k} it is left of the table, in frame {k + 1} behind it.</think> It is {answer}."
        case 1:
            return f"{answer}."
        case 2:
            return f"I think it is about {answer} meters."
        case _:
            return answer


def recipe_values(folder: Path, count: int) -> dict[str, Any]:
    """A recipe over `count` questions, which are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = folder / "questions.jsonl"
    with questions.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records(count))
    return {
        "name": "harness",
        "benchmark": {"name": "vsi_bench", "dataset": str(questions), "partial": True},
        "models": [{"name": "scripted", "policy": "constant"}],
        "baselines": False,
        "frames": {"count": 0},
    }


def recipe_of(folder: Path, count: int) -> EvalRecipe:
    return settings_from_mapping(EvalRecipe, recipe_values(folder, count), where="benchmark")


# ------------------------------------------------------------------------------------------------------- two harnesses


def our_run_s(folder: Path, count: int) -> float:
    """Wall time of `allocentric eval` from its start to its end."""
    recipe = folder / "recipe.yaml"
    values = recipe_values(folder, count)
    recipe.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "allocentric.cli", "eval", str(recipe), "--runs", str(folder / "runs")]
    seconds = timed(command, compiled(folder.parent))
    samples = next((folder / "runs").glob("*/samples.jsonl"))
    lines = samples.read_bytes().count(b"\n")
    assert lines == count, f"{lines} of {count} answers in {samples}"
    return seconds


def peer_python(venv: Path) -> Path:
    """The interpreter of an environment with lmms-eval."""
    python = venv / "bin" / "python"
    if python.exists():
        return python
    say("installing lmms-eval (minutes)")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *PEER], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "torchvision"], check=True)
    return python


TASK = """\
task: local_choice
dataset_path: json
dataset_kwargs: {{data_files: {questions}}}
test_split: train
output_type: generate_until
doc_to_visual: !function local_choice_pictures.none
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{max_new_tokens: 16}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""


def peer_run_s(python: Path, folder: Path, count: int) -> float:
    """Wall time of lmms-eval with its `dummy` model on as many choices, samples logged."""
    task = folder / "task"
    task.mkdir(parents=True)
    questions = folder / "questions.json"
    asked = [{"question": record["question"], "answer": "ABCD"[k % 4]} for k, record in enumerate(records(count))]
    questions.write_text(json.dumps(asked), encoding="utf-8")
    (task / "local_choice.yaml").write_text(TASK.format(questions=questions), encoding="utf-8")
    (task / "local_choice_pictures.py").write_text("def none(doc):\n    return []\n", encoding="utf-8")
    command = [str(python), "-m", "lmms_eval", "--model", "dummy", "--tasks", "local_choice"]
    command += ["--include_path", str(task), "--output_path", str(folder / "out"), "--log_samples"]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf"), "CUDA_VISIBLE_DEVICES": ""}
    seconds = timed([*command, "--batch_size", "1", "--verbosity", "ERROR"], {**compiled(folder.parent), **quiet})
    logged = sum(file.read_bytes().count(b"\n") for file in (folder / "out").rglob("*_samples_*.jsonl"))
    assert logged == count, f"lmms-eval logged {logged} of {count} answers"
    return seconds


def compiled(folder: Path) -> dict[str, str]:
    """The environment, with byte code kept as that of installed packages is, in a folder of the run."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def timed(command: list[str], environment: Any) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return seconds


# ---------------------------------------------------------------------------------------- resuming, scoring, reporting


class Clock(SilentProgress):
    """Notes when it is known what is left to ask."""

    def __init__(self) -> None:
        self.known_s: float | None = None

    def advance(self, count: int = 1, status: str = "") -> None:
        """Note the first call."""
        del count, status
        self.known_s = self.known_s or time.perf_counter()


def resume_figures(folder: Path) -> dict[str, float]:
    """Seconds from a folder with 100,000 answers to what is left to ask; reading the benchmark is counted apart."""
    recipe = recipe_of(folder, RESUMED + 1)
    fill(folder / "runs", recipe, RESUMED)
    start = time.perf_counter()
    plan(recipe)
    load_s = time.perf_counter() - start

    clock = Clock()
    start = time.perf_counter()
    result = evaluate(recipe, folder / "runs", clock)
    assert result.asked == 1, f"{result.asked} questions were asked, not the one that was missing"
    assert clock.known_s is not None
    return {"resume_100k_s": clock.known_s - start - load_s, "load_100k_items_s": load_s}


def score_rate(folder: Path) -> float:
    """Items scored in a second under the official profile, the slower of choices and numbers."""
    job = plan(recipe_of(folder, SCORED))
    rates = []
    for choice in (True, False):
        items = [item for item in job.items if bool(item.choices) == choice]
        answers = {item.id: Response(text=said(k, choice)) for k, item in enumerate(items)}
        start = time.perf_counter()
        score_row(job.benchmark, items, answers, job.profile)
        rates.append(len(items) / (time.perf_counter() - start))
    return min(rates)


def report_figures(folder: Path, count: int) -> dict[str, float]:
    """Seconds of `allocentric report`: reading, three profiles, intervals of 5,000 scenes, the page."""
    recipe = recipe_of(folder, count)
    fill(folder / "runs", recipe, count)
    run = next((folder / "runs").iterdir())
    start = time.perf_counter()
    write_report(run)
    return {"report_items": count, "report_1m_s": time.perf_counter() - start}


def fill(runs: Path, recipe: EvalRecipe, count: int) -> None:
    """A run folder with answers to the first `count` questions, as a run leaves them but for the waiting."""
    job = plan(recipe)
    shutil.rmtree(runs, ignore_errors=True)
    with RunLog(run_folder(runs, recipe.name, job.settings), job.settings) as log:
        inquiry = Inquiry(job, log)
        lines = []
        for k, question in enumerate(inquiry.questions(0)):
            if k == count:
                break
            item = job.items[question.item]
            answered = Answered(item_id=item.id, response=Response(text=said(k, bool(item.choices))))
            lines.append((question.key, inquiry.record(question, answered)))
            if len(lines) == 10_000:
                log.append(lines)
                lines = []
        log.append(lines)


if __name__ == "__main__":
    main()
