"""Picture and text towers of a transformers checkpoint: SigLIP, SigLIP 2, CLIP, or a vision tower alone.

A model with `get_text_features` knows any word. Its patches are the last states of its vision tower, projected as the
whole picture is where the projection is linear (CLIP); SigLIP pools by attention, so its patches live in the tower's
own space and are compared with words as published maps do, unprojected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from allocentric.agents.encoders.contract import Encoder, EncoderError, Features, pixels, unit
from allocentric.core import config
from allocentric.core.errors import MissingPackageError
from allocentric.core.types import FloatArray, View


class Settings(config.Settings):
    """A checkpoint."""

    path: str
    """Folder or hub id ("google/siglip2-so400m-patch14-384")."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; None is main."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, mps."""
    prompt: str = "a photo of a {}."
    """What stands around a word."""
    threshold: float = 0.1
    """Similarity of patch and word at which a thing is as likely there as not; differs between checkpoints."""


def build(settings: Settings) -> Encoder:
    """The encoder; EncoderError where the checkpoint has no vision tower, MissingPackageError without transformers."""
    return _Tower(settings)


class _Tower(Encoder):
    name = "tower"

    def __init__(self, settings: Settings) -> None:
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
        except ModuleNotFoundError as error:
            raise MissingPackageError(error.name or "torch", needed_for="the encoder tower", extra="hf") from None
        self._torch = torch
        self._settings = settings
        self.threshold = settings.threshold
        try:
            model: Any = AutoModel.from_pretrained(settings.path, revision=settings.revision)
            self._processor: Any = AutoImageProcessor.from_pretrained(settings.path, revision=settings.revision)
            self.has_words = hasattr(model, "get_text_features")
            if self.has_words:
                self._tokenizer: Any = AutoTokenizer.from_pretrained(settings.path, revision=settings.revision)
        except (OSError, ValueError) as error:
            raise EncoderError(f"cannot load {settings.path}: {str(error).splitlines()[0]}") from None
        self._model = model.to(settings.device).eval()
        self._vision: Any = getattr(model, "vision_model", model)
        self._project: Any = getattr(model, "visual_projection", None)
        vision = getattr(model.config, "vision_config", model.config)
        if not hasattr(vision, "hidden_size") or not hasattr(vision, "patch_size"):
            raise EncoderError(f"{settings.path} has no vision tower with patches: {type(model).__name__}")
        self.width = (
            int(getattr(model.config, "projection_dim", None) or vision.hidden_size)
            if self._project
            else (int(vision.hidden_size))
        )
        self._words: dict[str, FloatArray] = {}

    def encode(self, view: View) -> Features:
        """Patches in reading order, and the pooled picture."""
        picture = PillowImage.fromarray(pixels(view))
        inputs = self._processor(images=picture, return_tensors="pt").to(self._settings.device)
        with self._torch.inference_mode():
            out = self._vision(pixel_values=inputs["pixel_values"])
            states_ND, pooled_D = out.last_hidden_state[0], out.pooler_output[0]
            if self._project is not None:
                states_ND, pooled_D = self._project(states_ND), self._project(pooled_D)
        rows, columns = self._grid(inputs["pixel_values"].shape[-2:])
        patches_PD = states_ND[len(states_ND) - rows * columns :]  # after the class and register tokens
        return Features(
            patches_PD=patches_PD.float().cpu().numpy(), pooled_D=pooled_D.float().cpu().numpy(), grid=(rows, columns)
        )

    def words(self, words: Sequence[str]) -> FloatArray:
        """(W, D) of any words, each in the prompt; computed once per word."""
        if not self.has_words:
            raise EncoderError(f"{self._settings.path} has no text tower; use a SigLIP or CLIP checkpoint")
        for word in words:
            if word not in self._words:
                self._words[word] = self._word(word)
        return np.stack([self._words[word] for word in words])

    def _word(self, word: str) -> FloatArray:
        text = self._settings.prompt.format(word)
        padding = "max_length" if "siglip" in self._model.config.model_type else True  # as SigLIP was trained
        tokens = self._tokenizer([text], padding=padding, truncation=True, return_tensors="pt").to(
            self._settings.device
        )
        with self._torch.inference_mode():
            vector = self._model.get_text_features(**tokens)
        vector = getattr(vector, "pooler_output", vector)
        return np.asarray(unit(vector.float().cpu().numpy())[0])

    def _grid(self, size_px: tuple[int, int]) -> tuple[int, int]:
        vision = getattr(self._model.config, "vision_config", self._model.config)
        return size_px[0] // vision.patch_size, size_px[1] // vision.patch_size
