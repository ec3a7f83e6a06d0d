"""Train the encoder `convolutional`: which categories a patch, and a picture, shows.

Pictures are drawn from procedural houses, from their walks, after things of random categories were set down on free
floor so that rare and out-of-place things are seen too; the labels come from the renderer's id pass.

    python -m allocentric.train.light_encoder OUT.safetensors [--houses 220] [--epochs 14] [--seed 0]

About a quarter of an hour on one core. Houses held out give the figures that are printed and written beside the
weights: mean average precision over the categories that 10 or more of those pictures show.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import UserError
from allocentric.core.geometry import pose
from allocentric.core.types import Object, Scene
from allocentric.scenes import trajectory
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.render import raster
from allocentric.scenes.sources.procedural import build_house
from allocentric.scenes.walkable import walkable_map

_FIRST_HOUSE = 500_000
"""Seeds of houses to train on start here, far from those of tests and benchmarks."""
_HELD_OUT = 20
_EXTRA_THINGS = 12
_FREE_RADIUS_M = 0.35
_LEAST_PATCH_SHARE = 0.04
"""A patch shows a category when at least this share of its pixels does: 10 of 256."""
_LEAST_PICTURE_PX = 12
_BATCH = 64
_PEAK_LEARNING_RATE = 3e-3


@dataclass(frozen=True, slots=True)
class Pictures:
    """Drawn views with what they show."""

    images_NHWC: NDArray[np.uint8]
    """(N, 96, 128, 3)."""
    shares_NPL: NDArray[np.float16]
    """Share of each patch's pixels that show each category."""

    def __getitem__(self, which: NDArray[np.int64]) -> Pictures:
        return Pictures(self.images_NHWC[which], self.shares_NPL[which])


def draw(houses: Sequence[int], labels: Sequence[str], views_per_house: int = 48) -> Pictures:
    """Views of houses given by seed."""
    parts = [_draw_house(house, labels, views_per_house) for house in houses]
    return Pictures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _draw_house(seed: int, labels: Sequence[str], count: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    from allocentric.agents.encoders import _light

    rng = np.random.default_rng([seed, 1])
    house = build_house(seed, (1, 4))
    walk = trajectory.Settings(
        width_px=_light.COLUMNS * _light.PATCH_PX, height_px=_light.ROWS * _light.PATCH_PX, fps=2.0
    )
    cameras = trajectory.walk(house, rng, walk).cameras
    scene = _with_things_on_the_floor(house, rng)
    number = {label: place for place, label in enumerate(labels)}
    label_of = np.array([number[thing.label] for thing in scene.objects])
    images, shares = [], []
    with raster.build(scene, raster.Settings(shadows=bool(rng.integers(2)))) as renderer:
        for place in np.sort(rng.choice(len(cameras), min(count, len(cameras)), replace=False)):
            frame = renderer.render(cameras[place], ("rgb", "id"))
            assert frame.rgb is not None
            assert frame.id is not None
            images.append(frame.rgb)
            shares.append(_patch_shares(frame.id, label_of, len(labels)))
    return np.stack(images), np.stack(shares)


def _with_things_on_the_floor(scene: Scene, rng: np.random.Generator) -> Scene:
    """The house and things of random categories where nobody would trip over another one."""
    grid = walkable_map(scene, _FREE_RADIUS_M)
    free = grid.world_from_cell(np.argwhere(grid.free))
    kinds, things = list(categories()), list(scene.objects)
    for count in range(min(_EXTRA_THINGS, len(free))):
        label = kinds[int(rng.integers(len(kinds)))]
        piece = categories()[label].make(rng)
        x, y = free[int(rng.integers(len(free)))]
        place = pose([x, y, float(piece.size_m[2]) / 2], float(rng.uniform(-np.pi, np.pi)))
        things.append(
            Object(id=f"extra{count}", label=label, world_from_object=place, size_m=piece.size_m, mesh=piece.mesh)
        )
    return replace(scene, objects=tuple(things))


def _patch_shares(ids_HW: NDArray[np.int32], label_of: NDArray[np.int64], labels: int) -> NDArray[np.float16]:
    """(P, L)."""
    from allocentric.agents.encoders._light import COLUMNS, PATCH_PX, ROWS

    known_HW = (ids_HW >= 0) & (ids_HW < len(label_of))
    label_HW = np.where(known_HW, label_of[np.where(known_HW, ids_HW, 0)], labels)
    row_H, column_W = np.arange(ids_HW.shape[0]) // PATCH_PX, np.arange(ids_HW.shape[1]) // PATCH_PX
    cell_HW = (row_H[:, None] * COLUMNS + column_W) * (labels + 1) + label_HW
    counts = np.bincount(cell_HW.ravel(), minlength=ROWS * COLUMNS * (labels + 1))
    return (counts.reshape(ROWS * COLUMNS, labels + 1)[:, :labels] / PATCH_PX**2).astype(np.float16)


# --------------------------------------------------------------------------------------------------------- training


def fit(pictures: Pictures, labels: int, *, epochs: int, seed: int) -> Any:
    """A trained `_light.Light`. The same pictures and seed give the same weights on one machine and thread count."""
    import torch

    from allocentric.agents.encoders._light import Light

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Light(labels)
    count = len(pictures.images_NHWC)
    steps = epochs * (count // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_LEARNING_RATE, total_steps=max(steps, 1))
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - _BATCH + 1, _BATCH):
            image_BCHW, patch_BPL, whole_BL = _batch(pictures[np.sort(order[start : start + _BATCH])], rng)
            loss = _loss(model, image_BCHW, patch_BPL, whole_BL)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _loss(model: Any, image_BCHW: Any, patch_BPL: Any, whole_BL: Any) -> Any:
    """Binary cross-entropy summed over labels, of patches and of pictures."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    patches_BPD, pooled_BD = model(image_BCHW)
    patch = binary_cross_entropy_with_logits(model.logits(patches_BPD, 0), patch_BPL, reduction="sum")
    whole = binary_cross_entropy_with_logits(model.logits(pooled_BD, 1), whole_BL, reduction="sum")
    return patch / patch_BPL.shape[:2].numel() + 0.2 * whole / len(whole_BL)


def _batch(pictures: Pictures, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Pictures, mirrored at random and in changed light, with what they show."""
    import torch

    from allocentric.agents.encoders._light import COLUMNS, PATCH_PX, ROWS

    images, shares = pictures.images_NHWC, pictures.shares_NPL.astype(np.float32)
    batch, labels = len(images), shares.shape[-1]
    mirrored = rng.random(batch) < 0.5
    grid = shares.reshape(batch, ROWS, COLUMNS, labels)
    grid = np.where(mirrored[:, None, None, None], grid[:, :, ::-1], grid)
    images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    light = rng.uniform(0.75, 1.25, (batch, 1, 1, 3)) * rng.uniform(0.8, 1.2, (batch, 1, 1, 1))
    image_BCHW = torch.from_numpy(np.clip(images / 255.0 * light, 0, 1).astype(np.float32)).permute(0, 3, 1, 2)
    patch = (grid >= _LEAST_PATCH_SHARE).reshape(batch, ROWS * COLUMNS, labels).astype(np.float32)
    return image_BCHW.contiguous(), torch.from_numpy(patch), torch.from_numpy(_in_picture(shares, PATCH_PX))


def _in_picture(shares_NPL: NDArray[Any], patch_px: int) -> NDArray[np.float32]:
    """(N, L) whether a picture shows enough of a category."""
    pixels = shares_NPL.astype(np.float32).sum(axis=1) * patch_px**2
    return np.asarray(pixels >= _LEAST_PICTURE_PX - 0.5, dtype=np.float32)


def average_precision(model: Any, pictures: Pictures) -> tuple[float, float, int]:
    """Mean average precision over labels with 10 or more pictures, that of chance, and how many labels those are."""
    import torch
    from sklearn.metrics import average_precision_score

    from allocentric.agents.encoders._light import PATCH_PX

    truth_NL = _in_picture(pictures.shares_NPL, PATCH_PX)
    scores = []
    with torch.inference_mode():
        for start in range(0, len(truth_NL), 256):
            images = torch.from_numpy(pictures.images_NHWC[start : start + 256]).permute(0, 3, 1, 2).float() / 255
            scores.append(model.logits(model(images)[1], 1).numpy())
    score_NL = np.concatenate(scores)
    frequent = np.flatnonzero((truth_NL.sum(axis=0) >= 10) & (truth_NL.mean(axis=0) < 1))
    each = [float(average_precision_score(truth_NL[:, label], score_NL[:, label])) for label in frequent]
    return float(np.mean(each)), float(truth_NL[:, frequent].mean()), len(frequent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, measure on houses held out, write."""
    parser = argparse.ArgumentParser(
        prog="python -m allocentric.train.light_encoder", description="Train the light encoder."
    )
    parser.add_argument("out", type=Path, help="file of weights to write (.safetensors)")
    parser.add_argument("--houses", type=int, default=220, help="houses to draw, 48 views of each")
    parser.add_argument("--epochs", type=int, default=14, help="times every view is seen")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    labels = tuple(categories())
    try:
        if not options.out.parent.is_dir():
            raise UserError(f"no such folder: {options.out.parent}")
        held_out = draw(range(_FIRST_HOUSE - _HELD_OUT, _FIRST_HOUSE), labels)
        drawn = draw(range(_FIRST_HOUSE, _FIRST_HOUSE + options.houses), labels)
        model = fit(drawn, len(labels), epochs=options.epochs, seed=options.seed)
        precision, chance, count = average_precision(model, held_out)
        facts = {
            "made_by": "python -m allocentric.train.light_encoder",
            "houses": str(options.houses),
            "epochs": str(options.epochs),
            "seed": str(options.seed),
            "mean_average_precision": f"{precision:.3f}",
            "of_chance": f"{chance:.3f}",
        }
        from allocentric.agents.encoders import _light

        _light.save(model, labels, options.out, facts)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{options.out}: mean average precision {precision:.3f} over {count} categories (chance {chance:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
