"""Do crops found by attention hold a small target more often than crops of the same size elsewhere?

    python benchmarks/focus.py --out benchmarks/focus.md [--model CHECKPOINT]

Houses are walked through with a small coloured box in sight. Where attention leads every method of `allocentric list
focus` is compared with a crop of the same size in the middle of the picture and with one at random. A target counts as
found where a crop holds all of it. The attention is an oracle's, a noisy glow around the target beside a sink that
every prompt has: it measures what the methods make of good attention, on pictures, on three pictures of which one
shows the target, and on panoramas. `--model` adds rows with the attention of a checkpoint. Intervals are those of
whole houses drawn again; differences are paired.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.agents.focus.contract import Crop, Maps, Probe
from allocentric.core.catalog import FOCUS
from allocentric.core.config import settings_from_mapping
from allocentric.core.stats import clustered_wilson_interval, paired_difference

SIZE_PX = 320
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "cyan": (0, 1, 1), "magenta": (1, 0, 1)}
QUESTION = "What is the colour of the box?"
GENERAL = "Write a general description of the image."
PRINTED = {"vicrop": "crop", "visual_funnel": "alpha1", "carve": "masked"}
"""Which crop of a method is looked at."""
SETTINGS: dict[str, dict[str, Any]] = {
    "vicrop": {"layer": 1, "window_px": 96},
    "visual_funnel": {"layer": 1, "base_px": 80.0},
    "carve": {"layers": [0, 1], "steps": 1, "share": 0.2, "regions": 1},
}
"""The published ones are for models of 28 layers and pictures of a thousand pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """A picture with one target."""

    house: int
    picture: np.ndarray
    box_px: tuple[int, int, int, int]
    """(x0, y0, x1, y1) of the target's visible pixels; x1 may go over a panorama's seam."""
    colour: str


# ------------------------------------------------------------------------------------------------------------ scenes


def sights_of(house: int, *, panorama: bool = False, views: int = 40) -> list[Sight]:
    """Views of a house, each with a target of its own, where 36 pixels of it or more are seen."""
    from allocentric.core import geometry
    from allocentric.core.types import Camera, Material, Object
    from allocentric.scenes import trajectory
    from allocentric.scenes.furniture.parts import Shape
    from allocentric.scenes.render import raster
    from allocentric.scenes.sources.procedural import build_house

    rng = np.random.default_rng([house, 77])
    scene = build_house(house, (2, 3))
    walk = trajectory.Settings(fps=1.0, width_px=SIZE_PX, height_px=SIZE_PX)
    cameras = list(trajectory.walk(scene, rng, walk).cameras)
    picked = [cameras[int(k)] for k in sorted(rng.permutation(len(cameras))[:views])]
    if panorama:
        picked = [
            Camera(model="equirectangular", world_from_camera=one.world_from_camera, width_px=640, height_px=320)
            for one in picked
        ]
    settings = raster.Settings(shadows=False)
    placed, colours, bare = [], [], []
    with raster.build(scene, settings) as renderer:
        for camera in picked:
            empty = renderer.render(camera, ("rgb", "depth"))
            depth = empty.depth_m
            assert depth is not None
            bare.append(empty.rgb)
            height, width = depth.shape
            margin = 0.3 if panorama else 0.1
            x, y = int(rng.uniform(0.08, 0.92) * width), int(rng.uniform(margin, 1 - margin) * height)
            away_m = float(np.clip(0.8 * depth[y, x], 0.7, 3.5))
            centre = camera.world_from_camera[:3, 3] + away_m * geometry.rays(camera).directions[y, x]
            edge_m = (0.12 if panorama else 0.055) * away_m
            name = list(COLOURS)[int(rng.integers(len(COLOURS)))]
            shape = Shape()
            shape.box(Material(color=tuple(0.05 + 0.9 * v for v in COLOURS[name])), (edge_m,) * 3)
            pose = geometry.pose(centre, float(rng.uniform(0, 6.28)))
            placed.append(
                Object(
                    id=f"target {len(placed)}",
                    label="box",
                    world_from_object=pose,
                    size_m=np.full(3, edge_m),
                    mesh=shape.centred()[0],
                )
            )
            colours.append(name)
    first = len(scene.objects)
    found = []
    with raster.build(replace(scene, objects=(*scene.objects, *placed)), settings) as renderer:
        for index, camera in enumerate(picked):
            frame = renderer.render(camera, ("rgb", "id"))
            assert frame.id is not None
            assert frame.rgb is not None
            mask = frame.id == first + index
            box = _extent(mask, wraps=panorama)
            if box is not None:  # the other views' targets are left out; without shadows that changes nothing else
                picture = np.where(mask[..., None], frame.rgb, bare[index])
                found.append(Sight(house=house, picture=picture, box_px=box, colour=colours[index]))
    return found


def _extent(mask: np.ndarray, *, wraps: bool) -> tuple[int, int, int, int] | None:
    """The box of a target of 36 pixels or more."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if mask.sum() < 36:
        return None
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    if wraps and x1 - x0 > mask.shape[1] // 2:
        left, right = columns[columns < mask.shape[1] // 2], columns[columns >= mask.shape[1] // 2]
        x0, x1 = int(right[0]), int(left[-1]) + 1 + mask.shape[1]
    return x0, int(rows[0]), x1, int(rows[-1]) + 1


# ------------------------------------------------------------------------------------------------------------ probes


def probe_of(checkpoint: str) -> Probe:
    """The attention of a vision-language model."""
    from allocentric.agents.focus.probe import AttentionProbe
    from allocentric.agents.models import _checkpoint

    loaded = _checkpoint.load(checkpoint, revision=None, dtype="auto", device="cpu", attn_implementation="sdpa")
    return AttentionProbe(loaded.model, loaded.processor)


@dataclass(frozen=True, slots=True)
class Oracle:
    """A glow around the target, over a ground and a sink that every prompt has, with noise of its own."""

    at: Sequence[tuple[float, float] | None]
    """Per picture, where the target is, as shares of its size."""
    seed: int
    grid: tuple[int, int]
    wraps: bool = False

    @property
    def layers(self) -> int:
        """As the model has."""
        return 2

    def __call__(self, pictures: Sequence[np.ndarray], text: str, *, steps: int = 1) -> tuple[Maps, ...]:
        """Attention of the one step that is looked at."""
        del steps
        rows, columns = self.grid
        x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
        general = "general" in text
        rng = np.random.default_rng([self.seed, int(general)])
        maps = []
        for k in range(len(pictures)):
            sink = np.random.default_rng([self.seed, k]).uniform(0, 1, 2)
            map_ = 1.0 + 8.0 * np.exp(-((x - sink[0]) ** 2 + (y - sink[1]) ** 2) / 0.005)
            place = self.at[k]
            if place is not None and not general:
                across = np.abs(x - place[0])
                across = np.minimum(across, 1 - across) if self.wraps else across
                map_ = map_ + 6.0 * np.exp(-(across**2 + (y - place[1]) ** 2) / 0.008)
            map_ = map_ * rng.lognormal(sigma=0.4, size=map_.shape)
            maps.append(np.stack([map_, map_]))
        return (tuple(maps),)


# ------------------------------------------------------------------------------------------------------------- crops


def holds(box: Sequence[int], target: Sequence[int], wrap_px: int | None) -> bool:
    """Whether a box holds all of a target."""
    x0, y0, x1, y1 = box
    left = (target[0] - x0) % wrap_px if wrap_px else target[0] - x0
    return left >= 0 and left + target[2] - target[0] <= x1 - x0 and y0 <= target[1] and target[3] <= y1


def compared(
    crops: Sequence[Crop], sight: Sight, number: int, pictures: int, *, wraps: bool, seed: int
) -> dict[str, float]:
    """Found by the method, in the middle, and at random (the share of 200 places)."""
    height, width = sight.picture.shape[:2]
    wrap = width if wraps else None
    crop = crops[0]
    x0, y0, x1, y1 = crop.box_px
    w, h = x1 - x0, y1 - y0
    rng = np.random.default_rng([seed, 3])
    middle = ((width - w) // 2, (height - h) // 2)
    places = [
        (int(rng.integers(width if wraps else width - w + 1)), int(rng.integers(height - h + 1))) for _ in range(200)
    ]
    boxed = [holds((x, y, x + w, y + h), sight.box_px, wrap) for x, y in (middle, *places)]
    # a random or middle crop of several pictures is of one of them
    return {
        "found": float(crop.picture == number and holds(crop.box_px, sight.box_px, wrap)),
        "centre": boxed[0] / pictures,
        "random": float(np.mean(boxed[1:])) / pictures,
        "share": w * h / (width * height),
    }


def cases(sights: Sequence[Sight], asked: str, probe: Probe | None) -> Iterator[tuple[Sight, Probe, list[Any], int]]:
    """What is asked: the sight, the probe, the pictures and which of them shows the target."""
    for index, sight in enumerate(sights):
        others = [one for one in sights if one.house != sight.house]
        count = 3 if asked == "three pictures" else 1
        number = index % count
        pictures = [others[(index * 7 + k) % len(others)].picture for k in range(count)]
        pictures[number] = sight.picture
        height, width = sight.picture.shape[:2]
        x0, y0, x1, y1 = sight.box_px
        place = ((x0 + x1) / 2 / width % 1.0, (y0 + y1) / 2 / height)
        at = [place if k == number else None for k in range(count)]
        oracle = Oracle(at, index, (height // 32, width // 32), asked == "panorama")
        yield sight, probe or oracle, pictures, number


def measured(sights: Sequence[Sight], asked: str, probe: Probe | None) -> list[dict[str, Any]]:
    """A row per method."""
    rows = []
    for name in FOCUS.names():
        module = FOCUS.load(name)
        focus = module.build(settings_from_mapping(module.Settings, SETTINGS[name], where=name))
        wraps = asked == "panorama"
        found = []
        for index, (sight, one, pictures, number) in enumerate(cases(sights, asked, probe)):
            crops = focus.look(one, pictures, QUESTION, panorama=wraps).crops
            looked = [crop for crop in crops if crop.name == PRINTED[name]]
            found.append(compared(looked, sight, number, len(pictures), wraps=wraps, seed=index))
        houses = [sight.house for sight in sights]
        columns = {key: np.array([one[key] for one in found]) for key in found[0]}
        interval = clustered_wilson_interval(columns["found"], houses)
        row: dict[str, Any] = {
            "asked": asked,
            "attention": "model" if probe else "oracle",
            "method": name,
            "n": len(found),
            "houses": len(set(houses)),
            "area": float(columns["share"].mean()),
            "found": float(columns["found"].mean()),
            "interval": [interval.low, interval.high],
        }
        for other in ("centre", "random"):
            gap = paired_difference(_mean(columns["found"]), _mean(columns[other]), houses, replicates=4000)["mean"]
            row[other] = float(columns[other].mean())
            row[f"over_{other}"] = [gap.value, gap.interval.low, gap.interval.high]
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def _mean(values: np.ndarray) -> Callable[[np.ndarray], dict[str, Any]]:
    return lambda weights: {"mean": weights @ values / weights.sum(axis=-1)}


def page(rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# Crops by attention beside crops of the same size",
        "",
        f"`python benchmarks/focus.py --out benchmarks/focus.md`. Targets cover {facts['target']:.2%} of a picture in "
        "the median. Percent of targets that lie in the crop as a whole, with 95 % intervals over houses; gains are "
        "paired.",
        "",
        "| shown | attention | method | n (houses) | area | found | centre | random | over centre | over random |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gains = [
            f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            for value, low, high in (row["over_centre"], row["over_random"])
        ]
        low, high = row["interval"]
        lines.append(
            f"| {row['asked']} | {row['attention']} | {row['method']} | {row['n']} ({row['houses']}) | "
            f"{row['area']:.0%} | {row['found']:.1%} [{100 * low:.1f}, {100 * high:.1f}] | {row['centre']:.1%} | "
            f"{row['random']:.1%} | {gains[0]} | {gains[1]} |"
        )
    text = "\n".join(lines).replace("%]", "]") + "\n"
    return text + (
        "\nOf Visual Funnel the second crop counts, of CARVE the strongest region. The oracle's attention is a glow "
        "of the target's strength 6 over a ground of 1 with a sink of 8 and noise; of three pictures one shows "
        "the target, and a crop elsewhere is one of a picture drawn at random.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--houses", type=int, default=16)
    parser.add_argument("--model", help="checkpoint whose attention is looked at too")
    parser.add_argument("--out", type=Path, help="write the table here")
    parser.add_argument("--cache", type=Path, help="folder that keeps rendered pictures between runs")
    parser.add_argument("--json", action="store_true", help="print one object instead of the table")
    options = parser.parse_args()
    tests = range(10_000, 10_000 + options.houses)
    pictures = _rendered(tests, panorama=False, cache=options.cache)
    rows = measured(pictures, "picture", probe_of(options.model)) if options.model else []
    for asked in ("picture", "three pictures"):
        rows += measured(pictures, asked, None)
    rows += measured(_rendered(tests, panorama=True, cache=options.cache), "panorama", None)
    areas = [(x1 - x0) * (y1 - y0) / SIZE_PX**2 for x0, y0, x1, y1 in (sight.box_px for sight in pictures)]
    facts = {"model": options.model, "target": float(np.median(areas))}
    if options.out:
        options.out.write_text(page(rows, facts), encoding="utf-8")
    print(json.dumps({"facts": facts, "rows": rows}) if options.json else page(rows, facts))


def _rendered(houses: Sequence[int], *, panorama: bool, cache: Path | None) -> list[Sight]:
    name = f"{'panoramas' if panorama else 'views'}-{houses[0]}-{houses[-1]}.npz"
    if cache is not None and (cache / name).exists():
        kept = np.load(cache / name)
        columns = (kept[key].tolist() for key in ("house", "box_px", "colour"))
        return [
            Sight(house=house, picture=picture, box_px=tuple(box), colour=colour)
            for picture, house, box, colour in zip(kept["picture"], *columns, strict=True)
        ]
    views = 16 if panorama else 40
    found = [sight for house in houses for sight in sights_of(house, panorama=panorama, views=views)]
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        keys = ("house", "picture", "box_px", "colour")
        np.savez(cache / name, **{key: np.array([getattr(sight, key) for sight in found]) for key in keys})
    return found


if __name__ == "__main__":
    main()
