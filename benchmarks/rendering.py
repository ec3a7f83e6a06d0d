"""How fast the renderers are on one furnished room, beside Open3D's bare ray-caster in the same run.

    python benchmarks/rendering.py [--json] [--rounds N] [--seconds S]

The room has about 20,000 triangles: a procedural one-room house, with the furniture of further one-room houses put in
until the number is reached. Cameras stand at eye height around the middle of the room. Backends take turns picture by
picture, so that a busy machine slows them alike; figures are medians, intervals the quartiles, ratios those of medians.
"bare" is `cast_rays` on rays that are ready; every other row includes all work from the camera to NumPy arrays of
colour, depth, id and normal (raycast: depth, id and normal).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from allocentric.core.geometry import camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, Object, Scene
from allocentric.scenes.render import raster, raycast
from allocentric.scenes.sources import procedural

TRIANGLES = 20_000
FIRST_SEED = 7
EYE_M = 1.5
GEOMETRY = ("depth", "id", "normal")


def triangles_of(things: tuple[Object, ...]) -> int:
    return sum(12 if thing.mesh is None else len(thing.mesh.triangles) for thing in things)


def furnished_room() -> Scene:
    """A one-room house, furnished until it has about TRIANGLES triangles."""
    source = procedural.build(procedural.Settings(first_seed=FIRST_SEED, count=40, rooms=(1, 1)))
    names = source.scene_ids()
    scene = source.load(names[0])
    middle = scene.rooms[0].floor_polygon_m.mean(axis=0)
    extent = np.ptp(scene.rooms[0].floor_polygon_m, axis=0) / 2 - 0.6
    things, number = list(scene.objects), 1
    missing = TRIANGLES - triangles_of((*scene.objects, *scene.structure))
    while missing > 0:
        other = source.load(names[number])
        shift = middle - other.rooms[0].floor_polygon_m.mean(axis=0)
        for thing in other.objects:
            place = thing.world_from_object.copy()
            place[:2, 3] = np.clip(place[:2, 3] + shift, middle - extent, middle + extent)
            size = triangles_of((thing,))
            if size <= missing + 100 and np.linalg.norm(place[:2, 3] - middle) > 1.2:
                things.append(replace(thing, id=f"{names[number]}-{thing.id}", world_from_object=place))
                missing -= size
        number += 1
    return replace(scene, id=f"{scene.id}-furnished", objects=tuple(things))


def cameras(scene: Scene, count: int, model: str) -> list[Camera]:
    """`count` poses at eye height on a circle around the middle, looking outwards and a little down."""
    middle = scene.rooms[0].floor_polygon_m.mean(axis=0)
    out = []
    for angle in np.arange(count) / count * 2 * np.pi:
        at = (*(middle + 0.5 * np.array([np.cos(angle), np.sin(angle)])), EYE_M)
        if model == "panorama":
            pose = camera_at(at, angle)
            out.append(Camera(model="equirectangular", world_from_camera=pose, width_px=1024, height_px=512))
        else:
            pose, lens = camera_at(at, angle, -0.2), pinhole_intrinsics(640, 480, 1.4)
            out.append(Camera(world_from_camera=pose, width_px=640, height_px=480, intrinsics_px=lens))
    return out


def measure(scene: Scene, views: Mapping[str, list[Camera]], rounds: int) -> dict[str, list[float]]:
    """Seconds per picture of every backend and camera model."""
    import open3d

    plain = raster.build(scene, raster.Settings(shadows=False))
    shadowed = raster.build(scene, raster.Settings(shadows=True))
    exact = raycast.build(scene)
    seconds: dict[str, list[float]] = {}
    for repeat in range(rounds + 1):  # the first round warms up
        for model, models in views.items():
            for camera in models:
                rays = exact.rays(camera).reshape(camera.height_px, camera.width_px, 6)
                tensor = open3d.core.Tensor.from_numpy(rays)
                jobs: dict[str, Callable[[], object]] = {
                    f"raster_{model}": lambda c=camera: plain.render(c),
                    f"bare_raycast_{model}": lambda t=tensor: exact.tree.cast_rays(t),
                    f"raster_{model}_shadow": lambda c=camera: shadowed.render(c),
                    f"raycast_{model}": lambda c=camera: exact.render(c, GEOMETRY),
                }
                for name, job in jobs.items():
                    start = time.perf_counter()
                    job()
                    if repeat:
                        seconds.setdefault(name, []).append(time.perf_counter() - start)
    return seconds


def agreement(scene: Scene, views: Mapping[str, list[Camera]]) -> dict[str, float]:
    """How far the two backends agree on ids and depth, the worst camera model counts."""
    ids, depths = [], []
    with raster.build(scene) as fast, raycast.build(scene) as exact:
        for models in views.values():
            same, close = [], []
            for camera in models[::6]:
                a, b = fast.render(camera, GEOMETRY), exact.render(camera, GEOMETRY)
                same.append(np.mean(a.id == b.id))
                hit = np.isfinite(a.depth_m) & np.isfinite(b.depth_m)
                close.append(np.mean(np.abs(a.depth_m[hit] - b.depth_m[hit]) < 1e-3))
            ids.append(float(np.mean(same)))
            depths.append(float(np.mean(close)))
    return {"id_agreement": min(ids), "depth_agreement": min(depths)}


def habitat_fps(scene: Scene) -> float | None:
    """Pictures a second of habitat-sim (colour, depth, semantics) on the same mesh; None where it is not installed."""
    if importlib.util.find_spec("habitat_sim") is None:
        return None
    raise SystemExit(f"habitat-sim is installed, but {scene.id} can't be handed to it: no mesh writer is installed")


def report(scene: Scene, seconds: Mapping[str, list[float]], figures: Mapping[str, float]) -> dict[str, object]:
    """One object of figures."""
    out: dict[str, object] = {}
    for name, values in seconds.items():
        fps = 1 / np.array(values)
        out[f"{name}_fps"] = round(float(np.median(fps)), 2)
        out[f"{name}_fps_interval"] = [round(float(np.quantile(fps, q)), 2) for q in (0.25, 0.75)]
        out[f"{name}_fps_best"] = round(float(fps.max()), 2)
        out[f"{name}_n"] = len(values)
    for model in ("640x480", "panorama"):
        bare = float(np.median(seconds[f"bare_raycast_{model}"]))
        for name in (f"raster_{model}", f"raster_{model}_shadow", f"raycast_{model}"):
            out[f"{name}_over_bare"] = round(bare / float(np.median(seconds[name])), 3)
    out |= figures
    out |= {"scene": scene.id, "triangles": triangles_of((*scene.objects, *scene.structure))}
    out |= {"objects": len(scene.objects), "hardware": hardware(), "habitat_sim": "absent"}
    out["versions"] = {"python": platform.python_version()} | {
        name: version(name) for name in ("allocentric", "moderngl", "open3d-cpu", "numpy")
    }
    return out


def hardware() -> str:
    import os

    from allocentric.scenes.render._gl import open_context

    context = open_context()
    renderer = context.info["GL_RENDERER"]
    context.release()
    return f"{os.cpu_count()} CPUs, {renderer}"


def print_table(figures: Mapping[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{figures['scene']}: {figures['triangles']} triangles, {figures['hardware']}")
    for heading in ("", "pictures/s", "quartiles", "best", "over bare rays", "n"):
        table.add_column(heading, justify="left" if not heading else "right")
    for key in figures:
        if not key.endswith("_fps"):
            continue
        name = key.removesuffix("_fps")
        low, high = figures[f"{key}_interval"]  # type: ignore[misc]
        table.add_row(
            name, f"{figures[key]:.1f}", f"{low:.1f} to {high:.1f}", f"{figures[f'{key}_best']:.1f}",
            str(figures.get(f"{name}_over_bare", "")), str(figures[f"{name}_n"]),
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"ids agree on {figures['id_agreement']:.4%} of pixels, depth within 1 mm on "
                  f"{figures['depth_agreement']:.4%}; habitat-sim: {figures['habitat_sim']}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=3, help="how often each camera is drawn")
    parser.add_argument("--poses", type=int, default=18, help="cameras of each model")
    options = parser.parse_args()
    scene = furnished_room()
    views = {model: cameras(scene, options.poses, model) for model in ("640x480", "panorama")}
    figures = report(scene, measure(scene, views, options.rounds), agreement(scene, views))
    if options.json:
        print(json.dumps(figures))
    else:
        print_table(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
