"""What an encoder is: pictures and words to vectors of one space.

Shapes: P patches of a picture in reading order, W words, D width of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import UserError, suggestion
from allocentric.core.pictures import picture
from allocentric.core.types import FloatArray, Image, View


class EncoderError(UserError):
    """An encoder can't do what was asked; says which one can."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """One encoded picture."""

    patches_PD: FloatArray
    """(P, D) float32; patch (row, column) is number row * columns + column."""
    pooled_D: FloatArray
    """(D,) float32, the picture as a whole."""
    grid: tuple[int, int]
    """Rows and columns of patches; their product is P."""

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return int(self.patches_PD.nbytes + self.pooled_D.nbytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """One thing seen in one picture."""

    label: str
    """Category."""
    confidence: float
    """In [0, 1]."""
    place: tuple[float, float]
    """Where in the picture: right and down, as shares of its width and height."""
    position_m: tuple[float, float, float] | None = None
    """Where in the world; None where it can't be told."""


class Encoder(ABC):
    """Turns pictures into vectors. Keeps nothing of what it has seen."""

    name: str
    """File name."""
    width: int
    """D."""
    vocabulary: tuple[str, ...] = ()
    """Words it was trained with; empty where it knows none, or any."""
    has_words: bool = False
    """Whether `words` works, so that pictures can be compared with text."""
    threshold: float = 0.0
    """Similarity of patch and word at which a thing is as likely there as not."""
    sharpness: float = 10.0
    """How quickly certainty grows with similarity: confidence is the logistic function of sharpness x (similarity -
    threshold)."""

    @abstractmethod
    def encode(self, view: View) -> Features:
        """The vectors of one picture. DataError where the view has none."""

    def words(self, words: Sequence[str]) -> FloatArray:  # noqa: ARG002 - of encoders that know some
        """(W, D) float32 unit vectors. EncoderError where a word, or any word, is unknown."""
        raise EncoderError(f"the encoder {self.name!r} knows no words; the encoders convolutional and tower do")

    def confidence(self, similarity: FloatArray) -> FloatArray:
        """In [0, 1], 0.5 at the threshold."""
        odds = np.exp(-self.sharpness * (np.asarray(similarity, dtype=np.float64) - self.threshold))
        return np.asarray(1.0 / (1.0 + odds))

    def detect(
        self,
        view: View,  # noqa: ARG002 - of detectors that look at more than the features
        features: Features,
        labels: Sequence[str],
        at_least: float = 0.5,
    ) -> tuple[Detection, ...]:
        """Which of the things called `labels` the picture shows: at most one of each, at its most similar patch.

        Positions are unknown to an encoder; a detector that knows them overrides this.

        Args:
            view: The picture.
            features: Its features.
            labels: Words.
            at_least: Least confidence of what is returned.
        """
        if not labels:
            return ()
        confidence_PW = self.confidence(similarity(features.patches_PD, self.words(labels)))
        rows, columns = features.grid
        found = []
        for label, confidence_P in zip(labels, confidence_PW.T, strict=True):
            best = int(confidence_P.argmax())
            if confidence_P[best] >= at_least:
                place = ((best % columns + 0.5) / columns, (best // columns + 0.5) / rows)
                found.append(Detection(label=label, confidence=float(confidence_P[best]), place=place))
        return tuple(found)

    def unknown_word(self, word: str) -> EncoderError:
        """The error for a word that the encoder was not trained with."""
        return EncoderError(
            f"the encoder {self.name!r} does not know the word {word!r}" + suggestion(word, self.vocabulary)
        )


class EncoderModule(Protocol):
    """What a file in `agents/encoders/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[BaseSettings]
    """Every setting with its default."""

    def build(self, settings: Any) -> Encoder:
        """The encoder; MissingPackageError where a package is absent."""
        ...


def similarity(a_ND: FloatArray, b_MD: FloatArray) -> FloatArray:
    """(N, M) cosines; 0 where one of the vectors is 0."""
    return np.asarray(unit(a_ND) @ unit(b_MD).T)


def unit(x_ND: FloatArray) -> FloatArray:
    """Each row divided by its length; rows of zeros stay."""
    x_ND = np.asarray(x_ND, dtype=np.float32)
    length_N1 = np.sqrt(np.einsum("...d,...d->...", x_ND, x_ND))[..., None]
    return np.asarray(x_ND / np.where(length_N1 > 0, length_N1, 1.0))


def pixels(view: View) -> Image:
    """(H, W, 3) uint8 of the view, rendered or read now where they have to be. DataError where it has none."""
    image = view.image() if callable(view.image) else view.image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.asarray(picture(replace(view, image=image)))


class _Once:
    """Calls a function on the first call and gives the same picture from then on."""

    def __init__(self, draw: Callable[[], Image]) -> None:
        self._draw: Callable[[], Image] | None = draw
        self._image: Image | None = None

    def __call__(self) -> Image:
        if self._draw is not None:
            self._image, self._draw = self._draw(), None
        assert self._image is not None
        return self._image


def drawn_once(view: View) -> View:
    """The view, whose picture is rendered at most once however often it is asked for.

    A stream that several readers watch hands out such views, so that they share one rendering. The picture is held
    as long as the view is.
    """
    if not callable(view.image) or isinstance(view.image, _Once):
        return view
    return replace(view, image=_Once(view.image))


class Shared(Encoder):
    """Encodes each view once for several memories that are fed the same view one after the other.

    Holds on to one view and its features.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._last: tuple[View, Features] | None = None
        self.name, self.width, self.vocabulary = encoder.name, encoder.width, encoder.vocabulary
        self.has_words = encoder.has_words
        self.threshold, self.sharpness = encoder.threshold, encoder.sharpness

    def encode(self, view: View) -> Features:
        """The same features for the same view object."""
        if self._last is None or self._last[0] is not view:
            self._last = (view, self._encoder.encode(view))
        return self._last[1]

    def words(self, words: Sequence[str]) -> FloatArray:
        """As the encoder says."""
        return self._encoder.words(words)

    def detect(
        self, view: View, features: Features, labels: Sequence[str], at_least: float = 0.5
    ) -> tuple[Detection, ...]:
        """As the encoder says."""
        return self._encoder.detect(view, features, labels, at_least)
