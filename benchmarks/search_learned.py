"""Search learned: random, an expert's episodes, then reinforcement, on panoramas held out.

    python benchmarks/search_learned.py --folder data/search_learned [--json] [--device cuda]

Makes squares with a coloured pillar (`configs/pillars.yaml`; other seeds for those held out) and a tiny Qwen2.5-VL
of 0.2 M weights, trains it by `configs/train/pillars_sft.yaml` and `pillars_grpo.yaml`, and writes `table.md`,
`curve.csv` and `curve.svg` into the folder. The curve is of panoramas held out that are played during training; the
table of others, played once, at the end. The model's rows are greedy; a policy's are played from the same starts.
Steps that are finished are not repeated, an interrupted one is continued by the same command; `cpu_s` counts the
process that finished a step. Intervals are Wilson's at 95 %, at the effective number of episodes, as four of them
share a panorama.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.agents.adapters import HeadAdapter
from allocentric.agents.models import _checkpoint
from allocentric.agents.search_baselines import FullSweep, Oracle, SubmitAtStart, UniformDirection, submit
from allocentric.core.runlog import read_samples
from allocentric.core.stats import clustered_wilson_interval
from allocentric.envs.panorama_search import ObjectSearch
from allocentric.train import tiny
from allocentric.train.episodes import episodes
from allocentric.train.playing import Player
from allocentric.train.recipe import EpisodeSettings

TRAINED, HELD_OUT, TESTED = 1000, 125, 500
"""Panoramas, of one task each; it is played from four starts."""
FIRST_HELD_OUT_SEED, FIRST_TEST_SEED = 700_000, 800_000
TURNS = 5
WIDTH_PX, HEIGHT_PX = 84, 56
STEP_RAD = np.pi / 4
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
WORDS = (
    "Instruction: Find the red blue pillar. You look along yaw, pitch. Noted. The episode is over. "
    "There are no turns left. Not understood. Not carried out."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the training")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    steps = Steps(folder)
    pillars = ["make-search", str(CONFIGS / "pillars.yaml")]
    steps.run("train", [*pillars, "--out", str(folder / "train"), *_set(tasks=TRAINED)])
    for name, tasks, first in (("held_out", HELD_OUT, FIRST_HELD_OUT_SEED), ("test", TESTED, FIRST_TEST_SEED)):
        others = _set(**{"tasks": tasks, "source.first_seed": first})
        steps.run(name, [*pillars, "--out", str(folder / name), *others])
    start = tiny.build(folder / "tiny-qwen2_5_vl", "qwen2_5_vl", words=words(), init_std=0.2)
    played = {"held_out.data.episodes.folder": folder / "held_out", "device": arguments.device}
    shown = _set(**played, **{"model.path": start, "data.episodes.folder": folder / "train"})
    sft = steps.train("sft", "pillars_sft.yaml", shown)
    paid = _set(**played, **{"model.path": sft / "model", "stage.folder": folder / "train"})
    grpo = steps.train("grpo", "pillars_grpo.yaml", paid)
    models = {"untrained": start, "after SFT": sft / "model", "after GRPO": grpo / "model"}
    rows = table(folder / "test", {name: steps.play(name, path, folder / "test") for name, path in models.items()})
    figures = {"episodes": 4 * TESTED, "rows": rows, "cpu_s": steps.cpu_s(), "curve": curve(folder, sft, grpo)}
    (folder / "table.md").write_text(markdown(rows), encoding="utf-8")
    print(json.dumps(figures) if arguments.json else markdown(rows))


def words() -> tuple[str, ...]:
    """What the model is told in, a token each."""
    return tuple(sorted(set(re.findall(r"[A-Za-z]{3,}", f"{HeadAdapter().system()} {WORDS}"))))


def _set(**values: Any) -> list[str]:
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


class Steps:
    """Commands that are run once, with the time each took."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "steps.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.done: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run an allocentric command, unless it was."""
        if name in self.done:
            return
        wall, before = time.perf_counter(), _children_s()
        subprocess.run([sys.executable, "-m", "allocentric.cli", *command], check=True, stdout=sys.stderr)
        self.done[name] = {"cpu_s": _children_s() - before, "wall_s": time.perf_counter() - wall}
        self._file.write_text(json.dumps(self.done, indent=2) + "\n")

    def train(self, name: str, recipe: str, settings: Sequence[str]) -> Path:
        """The run folder of a recipe."""
        runs = self._folder / "runs"
        self.run(name, ["train", str(CONFIGS / "train" / recipe), "--runs", str(runs), *settings])
        (run,) = runs.glob(f"{recipe.partition('.')[0].replace('_', '-')}-*")
        return run

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds by step."""
        return {name: step["cpu_s"] for name, step in self.done.items()}

    def play(self, name: str, model: Path, tasks: Path) -> list[float]:
        """Successes of a model that plays greedily, as held-out episodes of a recipe are played."""
        key = f"play {name}"
        if key not in self.done:
            start = time.process_time()
            settings = {"width_px": WIDTH_PX, "height_px": HEIGHT_PX, "protocol": "strict-v1"}
            shown = episodes(EpisodeSettings(folder=tasks, settings=settings, max_turns=TURNS))
            loaded = _checkpoint.load(
                str(model), revision=None, dtype="float32", device="cpu", attn_implementation=None
            )
            player = Player(loaded.model.eval(), loaded.processor, shown, template={}, turn_tokens=20)
            batches = (shown.rows[first : first + 100] for first in range(0, len(shown.rows), 100))
            records = [record for batch in batches for record in player.play(batch)]
            self.done[key] = {
                "cpu_s": time.process_time() - start,
                "successes": [float(record["success"]) for record in records],
            }
            self._file.write_text(json.dumps(self.done, indent=2) + "\n")
        found: list[float] = self.done[key]["successes"]
        return found


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --------------------------------------------------------------------------------------------------------------- rows


class RandomActions:
    """One of the expert's actions in every turn, whatever is seen: a turn by 45 or 90 degrees, or a submission."""

    def reset(self, seed: int) -> None:
        """Draw anew."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """An action of the environment."""
        choice = int(self._rng.integers(4))
        if choice == 3:
            return submit(observation["heading_rad"])
        return {"kind": 0, "angles_rad": np.array([(-STEP_RAD, STEP_RAD, 2 * STEP_RAD)[choice], 0.0])}


def table(folder: Path, models: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Success of every policy, and of models that have played, with intervals."""
    env = ObjectSearch(folder, width_px=WIDTH_PX, height_px=HEIGHT_PX, max_turns=TURNS)
    scenes = [task.scene_id for task in env.tasks]
    policies: dict[str, Callable[[], Any]] = {
        "uniform direction of the sphere": UniformDirection,
        "random actions": RandomActions,
        "submit at once": SubmitAtStart,
        "full sweep (recognises the target)": lambda: FullSweep(env.sighted),
        "oracle (knows the target)": lambda: Oracle(env.target),
    }
    rows = {name: [play(env, make(), index) for index in range(len(env.tasks))] for name, make in policies.items()}
    chances = []
    for index in range(len(env.tasks)):
        env.reset(options={"task": index})
        chances.append(env.chance())
    found = {name: _row(values, scenes) for name, values in rows.items()}
    found |= {name: _row(values, scenes) for name, values in models.items()}
    return {"chance of a uniform direction": {"success": float(np.mean(chances))}, **found}


def play(env: ObjectSearch, policy: Any, index: int) -> float:
    observation, info = env.reset(options={"task": index})
    policy.reset(index)
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(policy.act(observation))
        over = terminated or truncated
    return float(info["success"])


def successes(run: Path, which: int) -> list[float]:
    """Of the episodes at the first (0) or last (-1) evaluation of a run, in the order of the tasks."""
    kept = read_samples(run)
    steps = sorted({key.split("/")[1] for key in kept if key.startswith("held_out/")})
    prefix = f"held_out/{steps[which]}/"
    return [float(row["success"]) for key, row in kept.items() if key.startswith(prefix)]


def _row(values: Sequence[float], scenes: Sequence[str]) -> dict[str, Any]:
    interval = clustered_wilson_interval(np.array(values), scenes)
    return {"success": float(np.mean(values)), "low": interval.low, "high": interval.high, "n": len(values)}


def markdown(rows: Mapping[str, Any]) -> str:
    lines = ["| row | n | success | 95 % interval |", "|---|---|---|---|"]
    for name, row in rows.items():
        interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]" if "low" in row else "exact"
        lines.append(f"| {name} | {row.get('n', '')} | {100 * row['success']:.1f} % | {interval} |")
    return "\n".join(lines) + "\n"


# -------------------------------------------------------------------------------------------------------------- curve


def curve(folder: Path, sft: Path, grpo: Path) -> list[dict[str, Any]]:
    """Held-out success over the updates of both stages, into curve.csv and curve.svg."""
    env = ObjectSearch(folder / "held_out", width_px=WIDTH_PX, height_px=HEIGHT_PX)
    scenes = [task.scene_id for task in env.tasks]
    points = []
    for stage, run in (("sft", sft), ("grpo", grpo)):
        evaluated = sorted(row["step"] for key, row in read_samples(run).items() if re.fullmatch(r"held_out/\d+", key))
        for place, step in enumerate(evaluated):
            points.append({"stage": stage, "step": step, **_row(successes(run, place), scenes)})
    with (folder / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["stage", "step", "success", "low", "high", "n"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(points)
    (folder / "curve.svg").write_text(svg(points), encoding="utf-8")
    return points


def svg(points: Sequence[Mapping[str, Any]]) -> str:
    """Success with intervals, the two stages one after the other."""
    width, height, left, bottom = 560.0, 280.0, 44.0, 36.0
    ends = {stage: max(point["step"] for point in points if point["stage"] == stage) for stage in ("sft", "grpo")}
    total = sum(ends.values())

    def x(point: Mapping[str, Any]) -> float:
        return left + (point["step"] + (ends["sft"] if point["stage"] == "grpo" else 0)) / total * (width - left - 10)

    def y(value: float) -> float:
        return 10 + (1 - value) * (height - bottom - 10)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="held-out success over updates">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for k in range(6):
        parts.append(f'<path d="M{left:g} {y(k / 5):.1f}H{width - 10:g}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6:g}" y="{y(k / 5) + 4:.1f}" text-anchor="end">{20 * k} %</text>')
    for stage, colour in (("sft", "#0072B2"), ("grpo", "#D55E00")):
        mine = [point for point in points if point["stage"] == stage]
        line = " ".join(f"{x(point):.1f},{y(point['success']):.1f}" for point in mine)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in mine:
            at, low, high = x(point), y(point["low"]), y(point["high"])
            parts.append(f'<path d="M{at:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(point["success"]):.1f}" r="3" fill="{colour}"/>')
        middle = (x(mine[0]) + x(mine[-1])) / 2
        said = f"{stage.upper()}: {mine[-1]['step']} updates"
        parts.append(f'<text x="{middle:.1f}" y="{height - 12:g}" text-anchor="middle" fill="{colour}">{said}</text>')
    return "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    main()
