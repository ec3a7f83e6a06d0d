"""Surprise: how far the next frame is from what was predicted of it.

s = 1 - mean over patches of cos(predicted, seen); the first frame of a stream has 1 (Cambrian-S, arXiv 2511.04670).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from allocentric.agents.encoders.contract import Encoder, Features, unit
from allocentric.agents.memory.errors import StreamMemoryError
from allocentric.core.errors import MissingPackageError
from allocentric.core.types import FloatArray

Prediction = Literal["trained", "previous"]
"""trained: the latent-frame predictor. previous: the frame before, the ablation of the paper."""

SHIPPED = Path(__file__).parent / "latent_frames.safetensors"
"""Trained on features of the encoder `convolutional`."""


class Surprise:
    """Predicts each frame from the two before it. Keeps those two frames' patches."""

    def __init__(self, prediction: Prediction, encoder: Encoder, weights: Path | None = None) -> None:
        """StreamMemoryError where the predictor was trained on features of another encoder."""
        self._predictor = None if prediction == "previous" else predictor_for(encoder, weights or SHIPPED)
        self._last: list[FloatArray] = []

    @property
    def nbytes(self) -> int:
        """Of the frames it predicts from."""
        return sum(int(patches_PD.nbytes) for patches_PD in self._last)

    def of(self, features: Features) -> float:
        """The surprise of the next frame."""
        seen_PD = features.patches_PD
        surprise = 1.0 if not self._last else 1.0 - mean_cosine(self._predicted(features.grid), seen_PD)
        self._last = [*self._last[-1:], np.array(seen_PD, dtype=np.float32)]
        return surprise

    def _predicted(self, grid: tuple[int, int]) -> FloatArray:
        if self._predictor is None:
            return self._last[-1]
        return np.asarray(self._predictor(self._last, grid))


def mean_cosine(a_PD: FloatArray, b_PD: FloatArray) -> float:
    """Mean over patches of the cosine of the two."""
    return float(np.einsum("pd,pd->p", unit(a_PD), unit(b_PD)).mean())


class Predictor:
    """The trained predictor as a function of the last one or two frames."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, last: Sequence[FloatArray], grid: tuple[int, int]) -> FloatArray:
        """(P, D) patches expected next; with one frame only, that one stands for both."""
        import torch

        before_PD, now_PD = (last[0], last[-1]) if len(last) > 1 else (last[-1], last[-1])
        with torch.inference_mode():
            pair_12PD = torch.from_numpy(np.stack([before_PD, now_PD])[None])
            return np.asarray(self._model(pair_12PD, grid)[0])


_CACHE: dict[tuple[Path, int], Predictor] = {}


def predictor_for(encoder: Encoder, weights: Path) -> Predictor:
    """The predictor of a file of weights, loaded once."""
    if not weights.is_file():
        raise StreamMemoryError(
            f"no weights of a latent-frame predictor at {weights}; train some with "
            "python -m allocentric.train.latent_frames, or set prediction: previous"
        )
    _check_encoder(weights, encoder)
    key = (weights, weights.stat().st_mtime_ns)
    if key not in _CACHE:
        from allocentric.agents.memory._latent_frames import load

        _CACHE[key] = Predictor(load(weights))
    return _CACHE[key]


def _check_encoder(weights: Path, encoder: Encoder) -> None:
    """Before anything heavy is imported."""
    try:
        from safetensors import safe_open
    except ModuleNotFoundError:
        raise MissingPackageError("safetensors", needed_for="the latent-frame predictor", extra="hf") from None
    with safe_open(weights, framework="np") as file:
        metadata = file.metadata()
    if (metadata["encoder"], int(metadata["width"])) != (encoder.name, encoder.width):
        raise StreamMemoryError(
            f"the latent-frame predictor of {weights.name} was trained on features of {metadata['encoder']} "
            f"({metadata['width']} wide), not of {encoder.name} ({encoder.width}); train one with "
            "python -m allocentric.train.latent_frames, or set prediction: previous"
        )
