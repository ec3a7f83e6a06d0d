"""What policies reach on generated panorama tasks, per level, beside the computed chance.

    python benchmarks/panorama_search.py --folder DIR [--tasks 1000] [--workers 2] [--json]

The folder is generated where it is missing, and continued where it is incomplete; `generation_seconds` is the time
this call spent on that. Every task is played from its four start headings by every policy under both protocols, ten
turns at most. `random` looks into a uniform direction of the sphere and submits it; `chance` is its exact success
rate, from the windows alone; `z_random` is their distance in standard errors, the four starts of a task being one
cluster.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.agents.search_baselines import FullSweep, GreedySaliency, Oracle, SubmitAtStart, UniformDirection
from allocentric.envs.panorama.generate import Settings, generate
from allocentric.envs.panorama.tasks import LEVELS
from allocentric.envs.panorama_search import ObjectSearch, PanoramaSearch, PathSearch

MOST_TURNS = 10
ENVIRONMENTS: dict[str, type[PanoramaSearch]] = {"object": ObjectSearch, "path": PathSearch}
POLICIES = ("random", "submit at start", "full sweep", "greedy saliency", "oracle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the set")
    parser.add_argument("--tasks", type=int, default=1000, help="annotations to generate")
    parser.add_argument("--workers", type=int, default=2, help="processes that generate")
    parser.add_argument("--every", type=int, default=1, help="play every n-th task only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts = generate(Settings(tasks=arguments.tasks), arguments.folder, workers=arguments.workers)
    figures: dict[str, Any] = {"generation_seconds": time.perf_counter() - start, "tasks": counts, "tables": {}}
    for kind in ENVIRONMENTS:
        for protocol in ("strict-v1", "hstar-v1"):
            figures["tables"][f"{kind} {protocol}"] = table(arguments.folder, kind, protocol, arguments.every)
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"generated in {figures['generation_seconds']:.1f} s: {counts}")
    for name, figures_of in figures["tables"].items():
        print(f"\n{name}: success in percent (random is {figures_of['z_random']:+.2f} standard errors off chance)")
        for row, cells in figures_of["success"].items():
            print(f"  {row:<16}" + "".join(f"{level:>9} {100 * value:5.1f}" for level, value in cells.items()))


def table(folder: Path, kind: str, protocol: str, every: int) -> dict[str, Any]:
    env = ENVIRONMENTS[kind](folder, protocol=protocol, width_px=320, height_px=180)
    makers = {
        "random": UniformDirection,
        "submit at start": SubmitAtStart,
        "full sweep": lambda: FullSweep(env.sighted),
        "greedy saliency": GreedySaliency,
        "oracle": lambda: Oracle(env.target),
    }
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    clusters: dict[Any, list[float]] = defaultdict(list)
    order = sorted(range(len(env.tasks)), key=lambda index: (env.tasks[index].scene_id, index))
    for index in order[::every]:
        task = env.tasks[index]
        level = LEVELS[task.annotation.kind][task.level or 0]
        for name in POLICIES:
            success = play(env, makers[name](), index)
            values[name]["all"].append(success)
            values[name][level].append(success)
            if name == "random":
                chance = env.chance()
                values["chance"]["all"].append(chance)
                values["chance"][level].append(chance)
                clusters[task.scene_id, task.annotation.task].append(success - chance)
    levels = ("all", *LEVELS[kind])
    rows = {
        name: {level: float(np.mean(values[name][level])) for level in levels if values[name][level]}
        for name in ("chance", *POLICIES)
    }
    off = [sum(cluster) for cluster in clusters.values()]
    return {"success": rows, "z_random": float(np.sum(off) / np.sqrt(np.sum(np.square(off))))}


def play(env: PanoramaSearch, policy: Any, index: int) -> float:
    observation, _ = env.reset(options={"task": index})
    policy.reset(index)
    for _ in range(MOST_TURNS):
        observation, _, terminated, truncated, info = env.step(policy.act(observation))
        if terminated or truncated:
            return float(info["success"])
    return 0.0


if __name__ == "__main__":
    main()
