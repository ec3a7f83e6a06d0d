"""Train the encoder `convolutional`: which categories a patch, and a picture, shows.

Pictures are drawn from procedural houses, from their walks, after things of random categories were set down on free
floor so that rare and out-of-place things are seen too; the labels come from the renderer's id pass.

    python -m allocentric.train.light_encoder OUT.safetensors [--houses 340] [--epochs 25] [--seed 0]
        [--pictures FILE.npz] [--device cuda]

Drawing takes some minutes on one core. More epochs do not help: 45 reach no more, 120 on fewer things less.
`--pictures` keeps what was drawn, so that it can be trained on elsewhere: drawn where there is a renderer, learnt from
where there is a GPU. Houses held out give the figures that are printed and written beside the weights: mean average
precision over the categories that 10 or more of those pictures show.
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
from allocentric.datasets.supersensing._places import THINGS
from allocentric.scenes import trajectory
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.render import raster
from allocentric.scenes.sources.procedural import build_house
from allocentric.scenes.walkable import walkable_map

_FIRST_HOUSE = 500_000
"""Seeds of houses to train on start here, far from those of tests and benchmarks."""
_HELD_OUT = 20
_EXTRA_THINGS, _ASKED_FOR = 18, 12
"""Things set down in a house, and how many of them are of the kinds that quizzes ask for: small, and few of each."""
_VIEWS_PER_HOUSE = 24
_JPEG_QUALITY = 90
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


def draw(houses: Sequence[int], labels: Sequence[str], views_per_house: int = _VIEWS_PER_HOUSE) -> Pictures:
    """Views of houses given by seed."""
    parts = [_draw_house(house, labels, views_per_house) for house in houses]
    return Pictures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def save_pictures(path: Path, **sets: Pictures) -> None:
    """Write sets of pictures by name: JPEG of quality 90, and the shares of the patches that show something."""
    import cv2

    arrays: dict[str, NDArray[Any]] = {}
    for name, pictures in sets.items():
        files = [cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].ravel()
                 for image in pictures.images_NHWC]  # fmt: skip
        arrays[f"{name}_files"] = np.concatenate(files)
        arrays[f"{name}_sizes"] = np.array([len(file) for file in files])
        arrays[f"{name}_where"] = np.argwhere(pictures.shares_NPL).astype(np.uint16)
        arrays[f"{name}_shares"] = pictures.shares_NPL[pictures.shares_NPL != 0]
        arrays[f"{name}_shape"] = np.array(pictures.shares_NPL.shape)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load_pictures(path: Path, name: str) -> Pictures:
    """One set of `save_pictures`. UserError for a file of something else."""
    import cv2

    with np.load(path, allow_pickle=False) as arrays:
        if f"{name}_files" not in arrays:
            raise UserError(f"{path} holds no {name!r} pictures; remove it to draw them again")
        ends = np.cumsum(arrays[f"{name}_sizes"])[:-1]
        files = np.split(arrays[f"{name}_files"], ends)
        decoded: list[Any] = [cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files]
        images = np.stack([image[..., ::-1] for image in decoded])
        shares = np.zeros(arrays[f"{name}_shape"], dtype=np.float16)
        shares[tuple(arrays[f"{name}_where"].T)] = arrays[f"{name}_shares"]
    return Pictures(images, shares)


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
    things = list(scene.objects)
    for count in range(min(_EXTRA_THINGS, len(free))):
        kinds = THINGS if count < _ASKED_FOR else tuple(categories())
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


def fit(pictures: Pictures, labels: int, *, epochs: int, seed: int, device: str = "cpu") -> Any:
    """A trained `_light.Light`. The same pictures and seed give the same weights on one machine and thread count."""
    import torch

    from allocentric.agents.encoders._light import PATCH_PX, Light

    torch.manual_seed(seed)
    model = Light(labels).to(device)
    images_NHWC = torch.from_numpy(pictures.images_NHWC).to(device)
    patch_NPL = torch.from_numpy(pictures.shares_NPL >= _LEAST_PATCH_SHARE).to(device)
    whole_NL = torch.from_numpy(_in_picture(pictures.shares_NPL, PATCH_PX)).to(device)
    count = len(images_NHWC)
    steps = epochs * (count // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_LEARNING_RATE, total_steps=max(steps, 1))
    for _ in range(epochs):
        order = torch.randperm(count).to(device)
        for start in range(0, count - _BATCH + 1, _BATCH):
            which = order[start : start + _BATCH]
            image_BCHW, patch_BPL = _altered(images_NHWC[which], patch_NPL[which])
            loss = _loss(model, image_BCHW, patch_BPL, whole_NL[which])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.cpu().eval()


def _loss(model: Any, image_BCHW: Any, patch_BPL: Any, whole_BL: Any) -> Any:
    """Binary cross-entropy summed over labels, of patches and of pictures."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    patches_BPD, pooled_BD = model(image_BCHW)
    patch = binary_cross_entropy_with_logits(model.logits(patches_BPD, 0), patch_BPL, reduction="sum")
    whole = binary_cross_entropy_with_logits(model.logits(pooled_BD, 1), whole_BL, reduction="sum")
    return patch / patch_BPL.shape[:2].numel() + 0.2 * whole / len(whole_BL)


def _altered(image_BHWC: Any, patch_BPL: Any) -> tuple[Any, Any]:
    """Pictures (B, C, H, W) in [0, 1], mirrored at random and in changed light, and what their patches show."""
    import torch

    from allocentric.agents.encoders._light import COLUMNS, ROWS

    batch, labels = len(image_BHWC), patch_BPL.shape[-1]
    mirrored_B111 = (torch.rand(batch, 1, 1, 1) < 0.5).to(image_BHWC.device)
    light_B11C = torch.empty(batch, 1, 1, 3).uniform_(0.75, 1.25) * torch.empty(batch, 1, 1, 1).uniform_(0.8, 1.2)
    grid_BRCL = patch_BPL.reshape(batch, ROWS, COLUMNS, labels)
    grid_BRCL = torch.where(mirrored_B111, grid_BRCL.flip(2), grid_BRCL)
    image_BHWC = torch.where(mirrored_B111, image_BHWC.flip(2), image_BHWC)
    lit_BHWC = (image_BHWC / 255 * light_B11C.to(image_BHWC.device)).clamp(0, 1)
    return lit_BHWC.permute(0, 3, 1, 2).contiguous(), grid_BRCL.reshape(patch_BPL.shape).float()


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


def _pictures(path: Path | None, houses: int, labels: Sequence[str]) -> tuple[Pictures, Pictures]:
    """Held out, and to train on; drawn where the file isn't there."""
    if path is not None and path.is_file():
        return load_pictures(path, "held_out"), load_pictures(path, "trained_on")
    held_out = draw(range(_FIRST_HOUSE - _HELD_OUT, _FIRST_HOUSE), labels)
    drawn = draw(range(_FIRST_HOUSE, _FIRST_HOUSE + houses), labels)
    if path is not None:
        save_pictures(path, held_out=held_out, trained_on=drawn)
    return held_out, drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, measure on houses held out, write."""
    parser = argparse.ArgumentParser(
        prog="python -m allocentric.train.light_encoder", description="Train the light encoder."
    )
    parser.add_argument("out", type=Path, help="file of weights to write (.safetensors)")
    parser.add_argument("--houses", type=int, default=340, help=f"houses to draw, {_VIEWS_PER_HOUSE} views of each")
    parser.add_argument("--epochs", type=int, default=25, help="times every view is seen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="what is drawn is kept in this .npz, and read from there again")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    labels = tuple(categories())
    try:
        if not options.out.parent.is_dir():
            raise UserError(f"no such folder: {options.out.parent}")
        held_out, drawn = _pictures(options.pictures, options.houses, labels)
        model = fit(drawn, len(labels), epochs=options.epochs, seed=options.seed, device=options.device)
        precision, chance, count = average_precision(model, held_out)
        facts = {
            "made_by": "python -m allocentric.train.light_encoder",
            "pictures": f"{len(drawn.images_NHWC)} of {options.houses} houses",
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
