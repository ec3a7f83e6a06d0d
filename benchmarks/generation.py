"""How fast questions are made from real scenes, and how much faster than with the published grid distance.

    python benchmarks/generation.py --metadata DIR [--json]

Times one full run (load, ask, hash) with 1 worker and with 2, compares their bytes, and times both distances on the
same pairs: `core.geometry.box_distance` against the 5 cm grid of published generators (`datasets.grid_distance`), one
thread each. The grid is timed twice: as published, sampling both boxes for every pair, and with the points and search
tree of every object made beforehand and the smaller set looked up in the larger; `ratio_to_grid` is the ratio to the
first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import scipy
from scipy.spatial import cKDTree

import allocentric
from allocentric.core.geometry import box_distance
from allocentric.core.records import item_to_record, json_bytes
from allocentric.core.types import Object
from allocentric.datasets.generate import METADATA_TYPES, generate
from allocentric.datasets.grid_distance import grid_distance, hollow_grid
from allocentric.scenes.sources import vsi_metadata

PER_SCENE = 600
PAIRS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metadata", type=Path, required=True, help="folder with *_meta_info_*.json files")
    parser.add_argument("--per-scene", type=int, default=PER_SCENE, help="most questions per scene and type")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    figures = measure(arguments.metadata, arguments.per_scene)
    if arguments.json:
        print(json.dumps(figures))
        return
    width = max(map(len, figures))
    for key, value in figures.items():
        print(f"{key:<{width}}  {value:,.1f}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def measure(metadata: Path, per_scene: int) -> dict[str, object]:
    source = vsi_metadata.build(vsi_metadata.Settings(path=metadata))
    runs = {workers: run(source, workers, per_scene) for workers in (1, 2)}
    questions, seconds, digest = runs[2]
    rates = distance_rates(source)
    return {
        "questions": questions,
        "seconds": seconds,
        "questions_per_second": questions / seconds,
        "workers": 2,
        "questions_per_second_1_worker": runs[1][0] / runs[1][1],
        "identical_bytes": runs[1][2] == digest,
        "sha256": digest,
        "exact_pairs_per_second": rates["exact"],
        "grid_pairs_per_second": rates["grid"],
        "ratio_to_grid": rates["exact"] / rates["grid"],
        "ratio_to_grid_with_trees_made_beforehand": rates["exact"] / rates["trees"],
        "scenes": len(source.scene_ids()),
        "allocentric": allocentric.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def run(source: vsi_metadata.VsiMetadata, workers: int, per_scene: int) -> tuple[int, float, str]:
    """Number of questions, wall time including the start of the workers, SHA-256 of the canonical JSON lines."""
    count, lines = 0, hashlib.sha256()
    start = time.perf_counter()
    for items in generate(source, METADATA_TYPES, workers=workers, per_scene=per_scene):
        for item in items:
            lines.update(json_bytes(item_to_record(item)) + b"\n")
        count += len(items)
    return count, time.perf_counter() - start, lines.hexdigest()


def distance_rates(source: vsi_metadata.VsiMetadata) -> dict[str, float]:
    """Pairs per second of each distance on the same random pairs of objects of one scene."""
    pairs = random_pairs(source)
    rates = {}
    start = time.perf_counter()
    first, second = zip(*pairs, strict=True)
    box_distance(*stacked(first), *stacked(second))
    rates["exact"] = len(pairs) / (time.perf_counter() - start)
    start = time.perf_counter()
    for a, b in pairs:
        grid_distance([a], [b])
    rates["grid"] = len(pairs) / (time.perf_counter() - start)
    points = {id(thing): hollow_grid(thing.world_from_object, thing.size_m) for pair in pairs for thing in pair}
    trees = {key: cKDTree(value) for key, value in points.items()}
    start = time.perf_counter()
    for a, b in pairs:
        few, many = sorted((id(a), id(b)), key=lambda key: len(points[key]))
        trees[many].query(points[few])[0].min()
    rates["trees"] = len(pairs) / (time.perf_counter() - start)
    return rates


def random_pairs(source: vsi_metadata.VsiMetadata) -> list[tuple[Object, Object]]:
    rng = np.random.default_rng(0)
    scenes = [scene for scene in map(source.load, source.scene_ids()) if len(scene.objects) > 1]
    pairs = []
    for _ in range(PAIRS):
        objects = scenes[int(rng.integers(len(scenes)))].objects
        a, b = rng.choice(len(objects), 2, replace=False).tolist()
        pairs.append((objects[a], objects[b]))
    return pairs


def stacked(things: tuple[Object, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([thing.world_from_object for thing in things]), np.array([thing.size_m for thing in things])


if __name__ == "__main__":
    main()
