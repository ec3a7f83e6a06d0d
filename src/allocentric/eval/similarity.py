"""Frames that look least alike, or fit the question best without looking alike.

Without an encoder a frame is its 16 x 16 thumbnail, and the next frame is always the one whose nearest chosen one is
farthest away (farthest-first traversal, Gonzalez 1985). With a CLIP or SigLIP checkpoint the next frame is the one
with the largest marginal relevance: its similarity to the question less that to the nearest chosen one (Carbonell and
Goldstein 1998, lambda = 1/2).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError, MissingPackageError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, View

_SIDE_PX = 16
_BATCH = 16

Features = NDArray[np.float64]
"""(F, D) of unit length."""


def least_alike(item: Item, views: Iterable[View], count: int, encoder: str | None) -> list[int]:
    """Positions of at most `count` of `views`, in the order they were chosen.

    Raises:
        DataError: a picture can't be read, or the encoder is no CLIP or SigLIP checkpoint.
        MissingPackageError: torch or transformers is absent.
    """
    if encoder is None:
        return spread_out(np.stack([_thumbnail(view) for view in views]), count)
    features, question = _encoded(item, views, encoder)
    return spread_out(features, count, relevance=features @ question)


def spread_out(features: Features, count: int, *, relevance: Features | None = None) -> list[int]:
    """Greedy choice by cosine similarity.

    Args:
        features: (F, D) of unit length.
        count: Most positions to return.
        relevance: (F,) similarity to the question; None starts with the first frame and looks at differences alone.
    """
    worth = np.zeros(len(features)) if relevance is None else np.asarray(relevance)
    nearest = np.full(len(features), -1.0)
    chosen: list[int] = []
    left = np.ones(len(features), dtype=bool)
    while len(chosen) < min(count, len(features)):
        gain = np.where(left, worth - nearest, -np.inf)
        best = int(np.argmax(gain))  # the first of equals
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, features @ features[best])
    return chosen


def _thumbnail(view: View) -> NDArray[np.float64]:
    pixels = np.asarray(picture(view).resize((_SIDE_PX, _SIDE_PX)), dtype=np.float64).ravel()
    centred = pixels - pixels.mean()
    length = float(np.linalg.norm(centred))
    unit: NDArray[np.float64] = centred / length if length > 0 else np.full_like(centred, len(centred) ** -0.5)
    return unit


def _encoded(item: Item, views: Iterable[View], encoder: str) -> tuple[Features, NDArray[np.float64]]:
    """Features of the pictures and of the question."""
    torch, model, processor = _encoder(encoder)
    pictures = [picture(view) for view in views]
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), _BATCH):
            inputs = processor(images=pictures[start : start + _BATCH], return_tensors="pt")
            rows.append(_pooled(model.get_image_features(**inputs)))
        inputs = processor(text=[item.prompt], return_tensors="pt", padding="max_length", truncation=True)
        question = _pooled(model.get_text_features(**inputs))
    return _unit(np.concatenate(rows)), _unit(question)[0]


def _pooled(output: Any) -> NDArray[np.float64]:
    """The features of transformers 4 (a tensor) and 5 (an output that holds it)."""
    tensor = getattr(output, "pooler_output", output)
    values: NDArray[np.float64] = tensor.float().cpu().numpy().astype(np.float64)
    return values


def _unit(rows: NDArray[np.float64]) -> Features:
    features: Features = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return features


@lru_cache(maxsize=1)
def _encoder(path: str) -> tuple[Any, Any, Any]:
    try:
        import torch
        from transformers import AutoModel, AutoProcessor
    except ModuleNotFoundError as error:
        raise MissingPackageError(str(error.name), needed_for="frames.encoder", extra="hf") from None
    try:
        model = AutoModel.from_pretrained(path).eval()
        processor = AutoProcessor.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise DataError(f"can't load the encoder {path}: {' '.join(str(error).split())[:200]}") from None
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise DataError(f"the encoder {path} is no CLIP or SigLIP checkpoint ({type(model).__name__})")
    return torch, model, processor
