"""Steps a second of allocentric/Explore-v0 with and without pictures, and how well the baselines walk.

python benchmarks/explore_env.py [--episodes 500] [--json]

Speed: random walking through `gymnasium.make` in a generated house, resets left out, the median of five rounds.
Limits: 100 steps a second with 320x240 RGB, 2,000 without. Walking: ObjectNav episodes of seeds 0, 1 ...; the oracle's
SPL stays below 1 by what steps of 0.25 m and turns of 15 degrees cost, which the column "best" bounds from below.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Table

from allocentric.agents.navigators import FullSweep, GeodesicFollower, RandomNavigator, StopAtOnce
from allocentric.envs import register_all
from allocentric.envs.explore import Explore

CASES: dict[str, dict[str, Any]] = {
    "none": {"sensors": ()},
    "position, heading": {"sensors": ("position", "heading")},
    "rgb 320x240": {"sensors": ("rgb",)},
    "rgb, depth, id 320x240": {"sensors": ("rgb", "depth", "id")},
    "rgb 640x480": {"sensors": ("rgb",), "width_px": 640, "height_px": 480},
}
LIMITS = {"none": 2000.0, "rgb 320x240": 100.0}
ROUNDS = 5


def steps_per_second(settings: dict[str, Any], *, seconds: float) -> float:
    """Median over rounds of `seconds` each."""
    env = gymnasium.make("allocentric/Explore-v0", max_steps=10**9, **settings)
    moves = [int(move) for move in np.random.default_rng([0]).choice([1, 1, 2, 3], size=4096)]
    env.reset(seed=3)
    for move in moves[:20]:
        env.step(move)
    rates = []
    for _ in range(ROUNDS):
        env.reset(seed=3)  # a long trail is no part of a step
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            for move in moves[count % 4096 : count % 4096 + 8]:
                env.step(move)
            count += 8
        rates.append(count / spent)
    env.close()
    return float(np.median(rates))


def walking(episodes: int) -> dict[str, dict[str, float]]:
    """Success, SPL and SoftSPL of the baselines, and the least SPL that shortest ways in such steps are worth."""
    env = Explore("procedural", sensors=())
    out = {}
    for name, policy in (
        ("oracle", GeodesicFollower(env)), ("full sweep", FullSweep(env)), ("random", RandomNavigator()),
        ("stop at once", StopAtOnce()),
    ):  # fmt: skip
        ends = [_play(env, policy, seed) for seed in range(episodes)]
        out[name] = {
            key: float(np.mean([end[key] for end in ends])) for key in ("success", "spl", "soft_spl", "steps")
        }
        shortest = np.array([end["shortest_m"] for end in ends])
        slack = shortest / np.cos(env.settings.turn_rad / 2) + env.settings.step_m
        out[name]["best"] = float(np.mean(shortest / slack))
    return out


def _play(env: Explore, policy: Any, seed: int) -> dict[str, Any]:
    observation, info = env.reset(seed=seed)
    policy.reset(seed)
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(policy.act(observation))
        over = terminated or truncated
    return info


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100, help="ObjectNav episodes per baseline; 0 walks none")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a timed round")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    arguments = parser.parse_args()
    register_all()
    rates = {name: steps_per_second(settings, seconds=arguments.seconds) for name, settings in CASES.items()}
    walks = walking(arguments.episodes) if arguments.episodes else {}
    if arguments.json:
        print(
            json.dumps({"steps_per_second": rates, "limits": LIMITS, "episodes": arguments.episodes, "walks": walks})
        )
        return
    console = Console()
    table = Table("sensors", "steps/s", "at least")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{LIMITS[name]:,.0f}" if name in LIMITS else "")
    console.print(table)
    if walks:
        table = Table(f"{arguments.episodes} episodes", "success", "SPL", "SoftSPL", "steps", "best")
        for name, row in walks.items():
            table.add_row(
                name, f"{row['success']:.3f}", f"{row['spl']:.3f}", f"{row['soft_spl']:.3f}", f"{row['steps']:.0f}",
                f"{row['best']:.3f}",
            )  # fmt: skip
        console.print(table)


if __name__ == "__main__":
    main()
