"""A small convolutional network trained on procedural houses: patches, pictures and words in one space, on a CPU.

It knows the categories of the procedural houses. `python -m allocentric.train.light_encoder` makes its weights; those
shipped say in their metadata how they were made and what they reach on houses held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from allocentric.agents.encoders.contract import Encoder, EncoderError, Features, pixels, unit
from allocentric.core import config
from allocentric.core.errors import MissingPackageError
from allocentric.core.types import FloatArray, View

_SHIPPED = Path(__file__).parent / "convolutional.safetensors"


class Settings(config.Settings):
    """The weights."""

    weights: Path | None = None
    """Safetensors written by the training command; None takes the shipped ones."""


def build(settings: Settings) -> Encoder:
    """The encoder; EncoderError where there is no such file, MissingPackageError without torch."""
    return _Convolutional(settings)


class _Convolutional(Encoder):
    name = "convolutional"
    has_words = True

    def __init__(self, settings: Settings) -> None:
        path = settings.weights or _SHIPPED
        if not path.is_file():
            raise EncoderError(
                f"no weights at {path}; make some with python -m allocentric.train.light_encoder {path}"
            )
        try:
            from allocentric.agents.encoders import _light
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                error.name or "torch", needed_for="the encoder convolutional", extra="hf"
            ) from None
        self._model, self.vocabulary = _light.load(path)
        self.width = _light.WIDTH
        self._grid = (_light.ROWS, _light.COLUMNS)
        self._size_px = (_light.COLUMNS * _light.PATCH_PX, _light.ROWS * _light.PATCH_PX)
        self.sharpness = float(self._model.scale[0])
        self.threshold = -float(self._model.offset[0]) / self.sharpness
        self._words_LD = unit(self._model.label_LD.numpy())

    def encode(self, view: View) -> Features:
        """6 x 8 patches and the picture as a whole."""
        import cv2
        import torch

        image = pixels(view)
        if image.shape[1::-1] != self._size_px:
            image = np.asarray(cv2.resize(image, self._size_px, interpolation=cv2.INTER_AREA))
        with torch.inference_mode():
            image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None]).float() / 255
            patches_1PD, pooled_1D = self._model(image_1CHW)
        return Features(patches_PD=patches_1PD[0].numpy(), pooled_D=pooled_1D[0].numpy(), grid=self._grid)

    def words(self, words: Sequence[str]) -> FloatArray:
        """(W, D). EncoderError for a word that is no category of the houses."""
        number = {word: place for place, word in enumerate(self.vocabulary)}
        for word in words:
            if word not in number:
                raise self.unknown_word(word)
        return np.asarray(self._words_LD[[number[word] for word in words]])
