"""What training does to a tiny model, on questions and scenes it has not seen: the tables of docs/results.md.

    python benchmarks/training_results.py sparkle --folder DIR [--size 0.2M] [--set steps=500 ...] [--json]
    python benchmarks/training_results.py houses --folder DIR
    python benchmarks/training_results.py sparkle --folder DIR --device cuda --size 5M --loaders 3 --parallel

`sparkle`: supervised training on basic tasks only, then basic and composite tasks. `houses`: supervised training, then
GRPO, on eight spatial question types. Steps: sets are made, a model with random weights is built, every row trains in
its own run folder and is asked the held-out split by `allocentric eval`. The same command continues where it was
stopped. `cpu_seconds` are those of this call and its children, all rows together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from allocentric.core.config import load_recipe, resolved, settings_from_mapping
from allocentric.core.runlog import run_folder
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.run import evaluate
from allocentric.eval.work.crew import Workers
from allocentric.train import tiny
from allocentric.train.recipe import TrainRecipe
from allocentric.train.run import train
from allocentric.train.work import plan

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
WORDS = ("name", "column", "row", "point", "red", "blue", "green", "yellow", "purple", "orange", "cyan", "black")
BASELINES = "baselines"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training run."""

    recipe: str
    """File in configs/train."""
    settings: tuple[str, ...] = ()
    """Overrides; {folder} stands for the study's folder."""
    share: float = 1.0
    """Of the recipe's steps."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: how a model comes about, and how it is asked."""

    stages: tuple[Stage, ...] = ()
    """In order, each from the weights of the one before."""
    pictures: bool = True
    """Whether it is shown any when it is asked."""
    profile: str | None = None
    """Under which it is asked; None is the study's."""


SHORT = ("data.profile=strict@allocentric", "data.answer=short")
"""Settings of answers without the steps before them."""
EASY = Stage(
    recipe="results_sparkle",
    settings=("data.benchmark.dataset={folder}/set/easy.jsonl", "steps=2500", "warmup_steps=100", *SHORT),
)
BASICS = Stage(recipe="results_sparkle")
COMPOSITE = Stage(
    recipe="results_sparkle", settings=("data.benchmark.dataset={folder}/set/composite.jsonl",), share=0.5
)
SFT = Stage(recipe="results_houses_sft")
GRPO = Stage(recipe="results_houses_grpo")
NO_PICTURES = ("data.frames.count=0",)
ROWS: dict[str, dict[str, Row]] = {
    "sparkle": {
        "untrained": Row(),
        "blind": Row(stages=(Stage(recipe="results_sparkle", settings=NO_PICTURES),), pictures=False),
        "sft": Row(stages=(EASY, BASICS)),
        "sft, short answers": Row(stages=(EASY, replace(BASICS, settings=SHORT)), profile="strict@allocentric"),
        "sft, composites too": Row(stages=(EASY, BASICS, COMPOSITE)),
    },
    "houses": {
        "untrained": Row(),
        "blind": Row(stages=(Stage(recipe="results_houses_sft", settings=NO_PICTURES),), pictures=False),
        "sft": Row(stages=(SFT,)),
        "sft, grpo": Row(stages=(SFT, GRPO)),
    },
}
PROFILE = {"sparkle": "reasoned@allocentric"}
"""Under which a study is asked, where it is not the first of its benchmark."""
BENCHMARK: dict[str, dict[str, Any]] = {
    "sparkle": {
        "name": "sparkle",
        "dataset": "{folder}/set/test.jsonl",
        "kinds": (
            *("direction", "distance", "localisation", "direction_open", "distance_open", "localisation_open"),
            *("shortest_path", "travelling_salesman"),
        ),
    },
    "houses": {"name": "vsi_bench", "dataset": "{folder}/set", "split": "test"},
}


def main() -> None:
    options = arguments()
    start = time.perf_counter()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options)
    wanted = options.rows or [*ROWS[options.study], BASELINES]
    if options.parallel:
        side_by_side(options, wanted)
    table = {name: cells for row in wanted for name, cells in measured(options, row).items()}
    spent = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    found = {"seconds": time.perf_counter() - start, "cpu_seconds": spent, "rows": table}
    (options.folder / f"{options.study}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found) if options.json else as_text(found))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(ROWS))
    parser.add_argument("--folder", type=Path, required=True, help="of sets, models and runs")
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--size", choices=list(tiny.SIZES), default="0.2M", help="of the model")
    parser.add_argument("--init-std", type=float, default=0.2, help="of its random weights")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--loaders", type=int, default=0, help="processes that read pictures for a trainer")
    parser.add_argument("--processes", type=int, default=1, help="that share a training batch, and questions")
    parser.add_argument("--parallel", action="store_true", help="rows side by side, a process each")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the steps of every recipe")
    parser.add_argument("--set", nargs="+", default=[], dest="settings", help="overrides of every training recipe")
    parser.add_argument("--make", nargs="+", default=[], help="overrides of the recipe of the set")
    parser.add_argument("--limit", type=int, help="ask this many held-out questions only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> None:
    """The set and the model with random weights; left as they are where they are complete."""
    if options.study == "sparkle":
        from allocentric.datasets.sparkle.records import Recipe, write_set

        if not (options.folder / "set" / "recipe.yaml").is_file():
            write_set(load_recipe(CONFIGS / "sparkle_tiny.yaml", Recipe, options.make), options.folder / "set")
    else:
        from allocentric.datasets.make import make
        from allocentric.datasets.recipe import MakeRecipe

        make(load_recipe(CONFIGS / "results_houses.yaml", MakeRecipe, options.make), options.folder / "set", workers=1)
    words = WORDS if options.study == "sparkle" else ()
    if not (options.folder / "model" / "config.json").is_file():
        tiny.build(options.folder / "model", "qwen3_vl", size=options.size, words=words, init_std=options.init_std)


def side_by_side(options: argparse.Namespace, rows: list[str]) -> None:
    """Every row in a process of its own, after the stages that several rows begin with; all are then finished."""
    known = ROWS[options.study]
    shared = [known[row].stages[0] for row in rows if row in known and len(known[row].stages) > 1]
    for stage in {stage for stage in shared if shared.count(stage) > 1}:
        trained(options, stage, str(options.folder / "model"))
    given = [argument for argument in sys.argv[1:] if argument not in ("--parallel", "--json")]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, __file__, *given, "--rows", row], env=environment, stdout=subprocess.DEVNULL)
        for row in rows
    ]
    failed = [row for row, process in zip(rows, running, strict=True) if process.wait() != 0]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def measured(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Score and interval of every column, for one trained row or for all baselines."""
    row = ROWS[options.study].get(name, Row())
    models: tuple[dict[str, Any], ...] = ()
    if name != BASELINES:
        path = str(options.folder / "model")
        for stage in row.stages:
            path = trained(options, stage, path)
        models = ({"name": "hf", "path": path, "device": options.device, "batch_size": 64, "label": name},)
    else:
        models = ({"name": "scripted", "policy": "oracle"},)
    benchmark = dict(BENCHMARK[options.study])
    benchmark["dataset"] = benchmark["dataset"].format(folder=options.folder)
    asked = {
        "name": f"{options.study}-{name.replace(', ', '-').replace(' ', '-')}",
        "benchmark": benchmark,
        "models": models,
        "profile": row.profile or PROFILE.get(options.study),
        "frames": {"count": 4 if row.pictures else 0},
        "batch_size": 64,
        "baselines": name == BASELINES,
        "limit": options.limit,
    }
    recipe = settings_from_mapping(EvalRecipe, asked, where=name)
    results = evaluate(recipe, options.folder / "runs", workers=Workers(count=options.processes)).results
    return {model["model"]: cells(model["profiles"][results["profile"]]) for model in results["models"]}


def trained(options: argparse.Namespace, stage: Stage, path: str) -> str:
    """The weights that a stage leaves, from those at `path`."""
    dataset = options.folder / ("set/train.jsonl" if options.study == "sparkle" else "set")
    overrides = [
        f"model.path={path}",
        f"data.benchmark.dataset={dataset}",
        f"device={options.device}",
        *(setting.format(folder=options.folder) for setting in stage.settings),
        *options.settings,
    ]
    if options.loaders:
        overrides.append(f"trainer={{dataloader_num_workers: {options.loaders}, dataloader_persistent_workers: true}}")
    recipe = load_recipe(CONFIGS / "train" / f"{stage.recipe}.yaml", TrainRecipe, overrides)
    if recipe.batch_size % options.processes:
        raise SystemExit(f"--processes {options.processes} does not divide the batch of {recipe.batch_size}")
    changed = {"steps": max(1, round(options.scale * stage.share * recipe.steps)), "processes": options.processes}
    recipe = recipe.model_copy(update={**changed, "batch_size": recipe.batch_size // options.processes})
    runs = options.folder / "runs"
    folder = train(recipe, runs).folder if options.processes == 1 else launched(recipe, runs)
    return str(folder / "model")


def launched(recipe: TrainRecipe, runs: Path) -> Path:
    """The run folder of a recipe for several processes, as docs/training.md starts them."""
    folder = run_folder(runs, recipe.name, plan(recipe).settings)
    file = runs / f"{folder.name}.json"
    runs.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(resolved(recipe)))
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "accelerate" / "ddp.yaml")]
    program = ["-m", "allocentric.cli", "train", str(file), "--runs", str(runs)]
    launch = [sys.executable, *launcher, "--num_processes", str(recipe.processes), *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run(launch, env=environment, check=True, stdout=subprocess.DEVNULL)
    return folder


def cells(scored: dict[str, Any]) -> dict[str, Any]:
    """Of one model: percent, interval and number of questions by column."""
    return {
        name: {key: cell[key] for key in ("score", "low", "high", "n", "unreadable")}
        for name, cell in scored["cells"].items()
    }


def as_text(found: dict[str, Any]) -> str:
    columns = list(next(iter(found["rows"].values())))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in found["rows"].items():
        lines.append(f"| {name} | {' | '.join(shown(row[column]) for column in columns)} |")
    return "\n".join([*lines, f"{found['seconds']:.0f} s, {found['cpu_seconds']:.0f} CPU seconds in this call"])


def shown(cell: dict[str, Any]) -> str:
    if cell["score"] is None:
        return "-"
    interval = "" if cell["low"] is None else f" [{cell['low']:.1f}, {cell['high']:.1f}]"
    return f"{cell['score']:.1f}{interval}"


if __name__ == "__main__":
    main()
