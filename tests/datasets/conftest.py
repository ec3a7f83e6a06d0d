"""Hand-made rooms in the format of the published metadata, so that sets can be made without any data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LABELS = ("chair", "table", "sofa", "bed", "lamp", "door", "window", "plant", "sink", "clock", "radiator", "mirror")


def scene_record(seed: int) -> dict[str, Any]:
    """Twelve single things and three stools on a jittered grid of 5 x 3 places."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(15)
    boxes: dict[str, list[dict[str, Any]]] = {}
    for label, place in zip([*LABELS, "stool", "stool", "stool"], places, strict=True):
        size = rng.uniform(0.2, 0.9, size=3)
        x, y = 1.6 * (place % 5) + rng.uniform(-0.3, 0.3), 1.6 * (place // 5) + rng.uniform(-0.3, 0.3)
        box = {
            "centroid": [x, y, size[2] / 2],
            "axesLengths": size.tolist(),
            "normalizedAxes": np.eye(3).ravel().tolist(),
        }
        boxes.setdefault(label, []).append(box)
    counts = {label: len(members) for label, members in boxes.items()}
    return {"dataset": "scannet", "room_size": 30.0 + seed, "object_counts": counts, "object_bbox": boxes}


@pytest.fixture(scope="session")
def write_rooms() -> Callable[[Path, int], Path]:
    """Writes a metadata file of so many scenes into a folder and gives its path."""

    def write(folder: Path, count: int) -> Path:
        path = folder / "hand_made_meta_info_val.json"
        path.write_text(json.dumps({f"room{index:03d}": scene_record(index) for index in range(count)}))
        return path

    return write
