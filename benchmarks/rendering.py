"""How fast the renderers are on one furnished room, beside Open3D's bare ray-caster in the same run.

    python benchmarks/rendering.py [--json] [--rounds N] [--poses N]

The room has about 20,000 triangles: a procedural one-room house, its free places filled with furniture of further
houses until the number is reached. Cameras stand at eye height around the middle of the room. Backends take turns, a
short block of pictures each, so that a busy machine slows them alike; figures are medians, intervals the quartiles,
ratios those of medians.
"bare" is `cast_rays` on rays that are ready; every other row includes all work from the camera to NumPy arrays of
colour, depth, id and normal (raycast: depth, id and normal). Where habitat-sim is installed it draws the same mesh in
the same run (colour, depth and id, unlit, software EGL).
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
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import boxes_overlap, camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, Object, Scene
from allocentric.scenes.render import raster, raycast
from allocentric.scenes.render.flatten import flatten
from allocentric.scenes.sources import procedural

Array = NDArray[np.float64]
Job = Callable[[], object]

TRIANGLES = 20_000
FIRST_SEED = 7
EYE_M = 1.5
GEOMETRY = ("depth", "id", "normal")


def triangles_of(things: tuple[Object, ...]) -> int:
    return sum(12 if thing.mesh is None else len(thing.mesh.triangles) for thing in things)


def furnished_room() -> Scene:
    """A one-room house with free places filled until it has about TRIANGLES triangles. Nothing overlaps."""
    source = procedural.build(procedural.Settings(first_seed=FIRST_SEED, count=200, rooms=(1, 1)))
    names = source.scene_ids()
    scene = source.load(names[0])
    rng = np.random.default_rng(FIRST_SEED)
    low, high = scene.rooms[0].floor_polygon_m.min(axis=0), scene.rooms[0].floor_polygon_m.max(axis=0)
    things, number = list(scene.objects), 1
    missing = TRIANGLES - triangles_of((*scene.objects, *scene.structure))
    while missing > 100 and number < len(names):
        for thing in source.load(names[number]).objects:
            size = triangles_of((thing,))
            if 150 <= size <= missing + 100:
                placed = put(thing, f"{names[number]}-{thing.id}", things, scene, rng, low, high)
                things += placed
                missing -= size * len(placed)
        number += 1
    return replace(scene, id=f"{scene.id}-filled", objects=tuple(things))


def put(
    thing: Object, name: str, things: list[Object], scene: Scene, rng: np.random.Generator, low: Array, high: Array
) -> list[Object]:
    """The thing at a free place of its own height, or nothing."""
    poses = np.array([other.world_from_object for other in (*things, *scene.structure)])
    sizes = np.array([other.size_m for other in (*things, *scene.structure)])
    middle = (low + high) / 2
    for _ in range(30):
        place = thing.world_from_object.copy()
        place[:2, 3] = rng.uniform(low, high)
        if np.linalg.norm(place[:2, 3] - middle) < 1.0:
            continue
        touching = boxes_overlap(place, np.asarray(thing.size_m) * 0.98 - 0.004, poses, sizes)
        if not touching.any():
            return [replace(thing, id=name, world_from_object=place, supported_by=None)]
    return []


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
    jobs: dict[str, list[Job]] = {}
    for model, models in views.items():
        rays = [exact.rays(camera).reshape(camera.height_px, camera.width_px, 6) for camera in models]
        tensors = [open3d.core.Tensor.from_numpy(part) for part in rays]
        jobs |= {
            f"raster_{model}": [lambda c=camera: plain.render(c) for camera in models],
            f"raster_{model}_shadow": [lambda c=camera: shadowed.render(c) for camera in models],
            f"bare_raycast_{model}": [lambda t=tensor: exact.tree.cast_rays(t) for tensor in tensors],
            f"raycast_{model}": [lambda c=camera: exact.render(c, GEOMETRY) for camera in models],
        }
    seconds: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        jobs |= habitat_jobs(scene, views, Path(folder))
        for repeat in range(rounds + 1):  # the first round warms up
            for name, pictures in jobs.items():
                time.sleep(0.3)  # another library's idle threads spin on for a while
                for k, draw in enumerate(pictures):
                    start = time.perf_counter()
                    draw()
                    if repeat and k:  # the first picture of a block fills the caches
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
        for name in seconds:
            if model in name and not name.startswith("bare"):
                out[f"{name}_over_bare"] = round(bare / float(np.median(seconds[name])), 3)
    out |= figures
    out |= {"scene": scene.id, "triangles": triangles_of((*scene.objects, *scene.structure))}
    out |= {"objects": len(scene.objects), "hardware": hardware(), "habitat_sim": habitat_version()}
    out["versions"] = {"python": platform.python_version()} | {
        name: version(name) for name in ("allocentric", "moderngl", "open3d-cpu", "numpy")
    }
    return out


def habitat_version() -> str:
    """What the third party in the comparison is, or that it is not there."""
    return version("habitat-sim") if importlib.util.find_spec("habitat_sim") else "absent"


def write_stage(scene: Scene, path: Path) -> None:
    """The very triangles the other backends draw, as a stage file."""
    import trimesh

    flat = flatten(scene)
    trimesh.Trimesh(flat.positions_m, flat.triangles, process=False).export(path)


def habitat_jobs(scene: Scene, views: Mapping[str, list[Camera]], folder: Path) -> dict[str, list[Job]]:
    """habitat-sim on the same mesh, drawn without a GPU; nothing where it is not installed."""
    if importlib.util.find_spec("habitat_sim") is None:
        return {}
    from allocentric.scenes.render import habitat as habitat_renderer
    from allocentric.scenes.sources import habitat as habitat_source

    write_stage(scene, folder / "room.glb")
    source = habitat_source.build(habitat_source.Settings(path=folder / "room.glb", gpu_device_id=-1))
    renderer = habitat_renderer.build(source.load("room"), habitat_renderer.Settings(gpu_device_id=-1))
    return {
        f"habitat_{model}": [lambda c=camera: renderer.render(c, ("rgb", "depth", "id")) for camera in models]
        for model, models in views.items()
    }


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
    parser.add_argument("--rounds", type=int, default=5, help="how often each camera is drawn")
    parser.add_argument("--poses", type=int, default=10, help="cameras of each model")
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
