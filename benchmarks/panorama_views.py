"""How long one view out of a panorama takes, beside py360convert and beside a map that is rebuilt per call.

    python benchmarks/panorama_views.py [--panorama FILE] [--json]

Every timed call has a yaw that was not seen before, at a pitch that was. The three ways are called in turn, so that a
busy moment hits all of them; figures are medians in milliseconds, intervals bootstrap 95 % intervals of the median.
`mean_abs_diff` is the largest mean absolute difference (of 255) of any compared picture, seam and poles included, from
a bilinear reference in double precision. Without a photograph the panorama is band-limited noise.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import py360convert

from allocentric.core.types import Image
from allocentric.envs.panorama.views import (
    Panorama,
    ViewEngine,
    ViewGeometry,
    panorama_from_image,
    read_image,
    source_px,
)

CASES = {2048: (640, 480), 7680: (1280, 720)}
"""Panorama width -> size of the view."""
FOV_RAD = float(np.radians(100.0))
PITCH_RAD = float(np.radians(20.0))
COMPARED = [(0.0, 0.0), (180.0, 0.0), (180.0, 35.0), (77.3, -20.0), (20.0, 90.0), (250.0, -90.0), (301.7, 71.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panorama", type=Path, help="equirectangular photograph; it is resized")
    parser.add_argument("--calls", type=int, default=101, help="calls of ours and of the rebuilt map")
    parser.add_argument("--peer-calls", type=int, default=25, help="calls of py360convert")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    figures = measure(arguments.panorama, arguments.calls, arguments.peer_calls)
    if arguments.json:
        print(json.dumps(figures))
        return
    width = max(map(len, figures))
    for key, value in figures.items():
        print(f"{key:<{width}}  {value:.3f}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def measure(photograph: Path | None, calls: int, peer_calls: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    differences, peer_differences = [], []
    for width, (view_width, view_height) in CASES.items():
        image = picture(photograph, width)
        view = ViewGeometry(width_px=view_width, height_px=view_height, horizontal_fov_rad=FOV_RAD)
        panorama = panorama_from_image(image, "half_pixel")
        engine = ViewEngine(view)
        times = interleaved(
            ways(engine, panorama, image), {"ours": calls, "rebuilt": calls, "py360convert": peer_calls}
        )
        median = {name: float(np.median(values)) for name, values in times.items()}
        figures |= {
            f"ms_{width}": median["ours"],
            f"ms_{width}_interval": interval(times["ours"]),
            f"ms_{width}_rebuilt_map": median["rebuilt"],
            f"ms_{width}_rebuilt_map_interval": interval(times["rebuilt"]),
            f"ms_{width}_py360convert": median["py360convert"],
            f"ms_{width}_py360convert_interval": interval(times["py360convert"]),
            f"ratio_py360convert_{width}": median["py360convert"] / median["ours"],
            f"ratio_rebuilt_map_{width}": median["rebuilt"] / median["ours"],
        }
        for yaw, pitch in COMPARED:
            exact = reference(view, panorama, np.radians(yaw), np.radians(pitch))
            differences.append(np.abs(engine.view(panorama, np.radians(yaw), np.radians(pitch)) - exact).mean())
        exact = reference(view, panorama, 1.35, PITCH_RAD)
        peer_differences.append(np.abs(peer(image, view, 1.35, PITCH_RAD) - exact).mean())
    versions = {name: importlib.metadata.version(name) for name in ("allocentric", "py360convert", "numpy")}
    return figures | {
        "mean_abs_diff": float(max(differences)),
        "mean_abs_diff_py360convert": float(max(peer_differences)),
        "threads": cv2.getNumThreads(),
        "opencv": cv2.__version__,
        **versions,
    }


def picture(photograph: Path | None, width: int) -> Image:
    if photograph is not None:
        return cv2.resize(read_image(photograph), (width, width // 2), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).integers(0, 256, (width // 2, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def ways(engine: ViewEngine, panorama: Panorama, image: Image) -> dict[str, Callable[[float], object]]:
    view = engine.geometry

    def rebuilt(yaw_rad: float) -> object:
        columns, rows = source_px(view, panorama.width_px, yaw_rad, PITCH_RAD)
        maps = columns.astype(np.float32), (rows + 1).astype(np.float32)
        return cv2.remap(panorama.unrolled, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    return {
        "ours": lambda yaw_rad: engine.view(panorama, yaw_rad, PITCH_RAD),
        "rebuilt": rebuilt,
        "py360convert": lambda yaw_rad: peer(image, view, yaw_rad, PITCH_RAD),
    }


def peer(image: Image, view: ViewGeometry, yaw_rad: float, pitch_rad: float) -> Image:
    vertical_rad = 2 * np.arctan(np.tan(view.horizontal_fov_rad / 2) * view.height_px / view.width_px)
    fov = (float(np.degrees(view.horizontal_fov_rad)), float(np.degrees(vertical_rad)))
    yaw = (float(np.degrees(yaw_rad)) + 180) % 360 - 180
    size = (view.height_px, view.width_px)
    return py360convert.e2p(image, fov, yaw, float(np.degrees(pitch_rad)), size, mode="bilinear")


def interleaved(calls: dict[str, Callable[[float], object]], counts: dict[str, int]) -> dict[str, list[float]]:
    """Milliseconds of every call; the ways take turns, in an order drawn anew each round."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # caches that survive a yaw are filled before
        call(0.123)
    for done in range(max(counts.values())):
        for name in rng.permutation([name for name in calls if done < counts[name]]):
            yaw_rad = float(rng.uniform(0, 2 * np.pi))
            start = time.perf_counter()
            calls[name](yaw_rad)
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def interval(values: list[float]) -> list[float]:
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    return [round(float(edge), 3) for edge in np.quantile(medians, [0.025, 0.975])]


def reference(view: ViewGeometry, panorama: Panorama, yaw_rad: float, pitch_rad: float) -> np.ndarray:
    """(H, W, 3) float64, bilinear at exact positions."""
    columns, rows = source_px(view, panorama.width_px, yaw_rad, pitch_rad)
    rows = rows + 1  # the row that continues over the pole
    column, row = np.floor(columns).astype(int), np.floor(rows).astype(int)
    across, down = (columns - column)[..., None], (rows - row)[..., None]
    source = panorama.unrolled
    upper = source[row, column] * (1 - across) + source[row, column + 1] * across
    lower = source[row + 1, column] * (1 - across) + source[row + 1, column + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


if __name__ == "__main__":
    main()
