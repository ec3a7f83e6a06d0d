"""Train the latent-frame predictor on streams, without labels: the next frame's features from the last two.

    python -m allocentric.train.latent_frames OUT.safetensors [--encoder convolutional] [--stretches 40] [--epochs 30]

Streams are walks through procedural houses at one frame a second, 90 frames of each house. The loss is the published
one, mean squared error plus cosine distance (Cambrian-S, arXiv 2511.04670). A few minutes on one core, nearly all of
them drawing. Houses held out give the figures printed and written beside the weights: mean surprise within a house, of
the predictor and of the frame before, and mean surprise at the cuts between houses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.agents.encoders.contract import Encoder
from allocentric.core.catalog import ENCODERS
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import UserError

_SEED = 700_001
"""Of the stream to train on; the one held out has the next."""
_HELD_OUT = 6
_BATCH = 64
_LEARNING_RATE = 2e-3


def encoded(encoder: Encoder, stretches: int, seed: int) -> NDArray[np.float32]:
    """(S, T, P, D) patches of every frame of the first stretches of a stream."""
    from allocentric.scenes import trajectory
    from allocentric.scenes.stream import Settings, Stream

    walk = trajectory.Settings(width_px=128, height_px=96, fps=1.0)
    settings = Settings(seed=seed, walk=walk)
    with Stream(settings) as stream:
        frames = [
            encoder.encode(view).patches_PD.astype(np.float32)
            for view in stream.views(0, stretches * settings.stretch_frames)
        ]
    return np.stack(frames).reshape(stretches, settings.stretch_frames, *frames[0].shape)


def fit(patches_STPD: NDArray[np.float32], grid: tuple[int, int], *, epochs: int, seed: int) -> Any:
    """A trained `LatentFrames`. The same patches and seed give the same weights on one machine and thread count."""
    import torch
    from torch.nn.functional import cosine_similarity, mse_loss

    from allocentric.agents.memory._latent_frames import LatentFrames

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = LatentFrames(patches_STPD.shape[-1])
    stretches, length = patches_STPD.shape[:2]
    places = np.stack(np.meshgrid(np.arange(stretches), np.arange(2, length), indexing="ij"), -1).reshape(-1, 2)
    steps = max(1, len(places) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(places), steps):
            frames_B3PD = patches_STPD[batch[:, :1], batch[:, 1:] + np.array([-2, -1, 0])]
            pair_B2PD, next_BPD = torch.from_numpy(frames_B3PD[:, :2]), torch.from_numpy(frames_B3PD[:, 2])
            said_BPD = model(pair_B2PD, grid)
            loss = mse_loss(said_BPD, next_BPD) + 1 - cosine_similarity(said_BPD, next_BPD, dim=-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def surprises(model: Any, patches_STPD: NDArray[np.float32], grid: tuple[int, int]) -> dict[str, float]:
    """Mean surprise within stretches, predicted and by the frame before, and predicted at the cuts between them."""
    from allocentric.agents.memory._prediction import Predictor, mean_cosine

    predictor = Predictor(model)
    within, previous, cuts = [], [], []
    for stretch, frames_TPD in enumerate(patches_STPD):
        for time in range(2, len(frames_TPD)):
            last = [frames_TPD[time - 2], frames_TPD[time - 1]]
            within.append(1 - mean_cosine(predictor(last, grid), frames_TPD[time]))
            previous.append(1 - mean_cosine(last[1], frames_TPD[time]))
        if stretch + 1 < len(patches_STPD):
            last = [frames_TPD[-2], frames_TPD[-1]]
            cuts.append(1 - mean_cosine(predictor(last, grid), patches_STPD[stretch + 1, 0]))
    means = {"within": within, "within_by_previous": previous, "at_cuts": cuts}
    return {name: float(np.mean(values)) for name, values in means.items() if values}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, encode, train, measure on houses held out, write."""
    parser = argparse.ArgumentParser(
        prog="python -m allocentric.train.latent_frames", description="Train the latent-frame predictor."
    )
    parser.add_argument("out", type=Path, help="file of weights to write (.safetensors)")
    parser.add_argument("--encoder", default="convolutional", help="entry of `allocentric list encoders`")
    parser.add_argument("--stretches", type=int, default=40, help="houses to walk through, 90 frames of each")
    parser.add_argument("--epochs", type=int, default=30, help="times every frame is predicted")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        if not options.out.parent.is_dir():
            raise UserError(f"no such folder: {options.out.parent}")
        from allocentric.agents.memory import _latent_frames

        module = ENCODERS.load(options.encoder)
        encoder = module.build(settings_from_mapping(module.Settings, {}, where=f"encoder {options.encoder}"))
        patches_STPD = encoded(encoder, options.stretches, _SEED)
        held_out_STPD = encoded(encoder, _HELD_OUT, _SEED + 1)
        grid = _grid(encoder)
        model = fit(patches_STPD, grid, epochs=options.epochs, seed=options.seed)
        figures = {name: f"{value:.3f}" for name, value in surprises(model, held_out_STPD, grid).items()}
        facts = {"made_by": "python -m allocentric.train.latent_frames", "stretches": str(options.stretches)}
        facts |= {"epochs": str(options.epochs), "seed": str(options.seed)}
        _latent_frames.save(model, encoder, options.out, facts | figures)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{options.out}: mean surprise " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    return 0


def _grid(encoder: Encoder) -> tuple[int, int]:
    from allocentric.core.types import View

    return encoder.encode(View(image=np.zeros((96, 128, 3), dtype=np.uint8))).grid


if __name__ == "__main__":
    sys.exit(main())
