"""Streams that remember what they drew, on disk, so that equal visits are rendered and encoded once.

A visit is one file: its pictures and what they show. Streams with the same settings share a folder, whatever their
order of visits: a repeated stretch, and the same house in another stream, are the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from allocentric.agents.encoders.contract import Detection, Encoder, Features
from allocentric.core.records import digest
from allocentric.core.types import FloatArray, Image, View, Visibility
from allocentric.scenes import stream as streams
from allocentric.scenes.stream import FrameKey, Stream, Visit, frame_key

_VISITS_KEPT = 6


class StoredStream(Stream):
    """A stream whose pictures and `visible` come from a folder, drawn on the first call."""

    def __init__(self, settings: streams.Settings, visits: Sequence[Visit] | None, folder: Path) -> None:
        super().__init__(settings, visits)
        self.folder = folder / digest(settings.model_dump(mode="json"), length=12)
        self._shown: OrderedDict[Visit, tuple[FloatArray, list[dict[str, Visibility]]]] = OrderedDict()

    def render(self, key: FrameKey) -> Image:
        """The stored picture."""
        return np.array(self._stretch(key.visit)[0][key.frame])

    def look(self, key: FrameKey) -> dict[str, Visibility]:
        """The stored count."""
        return self._stretch(key.visit)[1][key.frame]

    def _stretch(self, visit: Visit) -> tuple[FloatArray, list[dict[str, Visibility]]]:
        if visit in self._shown:
            self._shown.move_to_end(visit)
            return self._shown[visit]
        path = visit_file(self.folder, visit)
        if not path.exists():
            self._draw(visit, path)
        with np.load(path) as file:
            seen = json.loads(bytes(file["seen"]))
            looks = [{name: Visibility(*one) for name, one in frame.items()} for frame in seen]
            self._shown[visit] = (file["pictures"], looks)
        while len(self._shown) > _VISITS_KEPT:
            self._shown.popitem(last=False)
        return self._shown[visit]

    def _draw(self, visit: Visit, path: Path) -> None:
        keys = [FrameKey(visit, frame) for frame in range(self.settings.stretch_frames)]
        pictures = np.stack([super(StoredStream, self).render(key) for key in keys])
        looks = [super(StoredStream, self).look(key) for key in keys]
        seen = json.dumps([{name: [one.pixels, one.fraction] for name, one in frame.items()} for frame in looks])
        _save(path, pictures=pictures, seen=np.frombuffer(seen.encode(), dtype=np.uint8))


class StoredEncoder(Encoder):
    """An encoder whose features of stored streams are kept beside the pictures."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self._encoder, self._folder = encoder, folder
        self.name, self.width, self.vocabulary = encoder.name, encoder.width, encoder.vocabulary
        self.has_words = encoder.has_words
        self.threshold, self.sharpness = encoder.threshold, encoder.sharpness
        self._known: OrderedDict[Visit, list[Features]] = OrderedDict()

    def encode(self, view: View) -> Features:
        """Stored features of a frame of a stored stream; else as the encoder says."""
        key = frame_key(view)
        if key is None:
            return self._encoder.encode(view)
        if key.visit not in self._known:
            self._known[key.visit] = self._stretch(view, key)
            while len(self._known) > _VISITS_KEPT:
                self._known.popitem(last=False)
        return self._known[key.visit][key.frame]

    def words(self, words: Sequence[str]) -> FloatArray:
        """As the encoder says."""
        return self._encoder.words(words)

    def detect(
        self, view: View, features: Features, labels: Sequence[str], at_least: float = 0.5
    ) -> tuple[Detection, ...]:
        """As the encoder says."""
        return self._encoder.detect(view, features, labels, at_least)

    def _stretch(self, view: View, key: FrameKey) -> list[Features]:
        stream = getattr(view.visible, "stream", None)
        assert isinstance(stream, StoredStream)
        path = visit_file(stream.folder / self.name, key.visit)
        if not path.exists():
            keys = [FrameKey(key.visit, frame) for frame in range(stream.settings.stretch_frames)]
            encoded = [self._encoder.encode(View(image=stream.render(one), time_s=0.0)) for one in keys]
            _save(
                path,
                patches=np.stack([one.patches_PD for one in encoded]),
                pooled=np.stack([one.pooled_D for one in encoded]),
                grid=np.array(encoded[0].grid),
            )
        with np.load(path) as file:
            rows, columns = (int(edge) for edge in file["grid"])
            return [
                Features(patches_PD=patches, pooled_D=pooled, grid=(rows, columns))
                for patches, pooled in zip(file["patches"], file["pooled"], strict=True)
            ]


def visit_file(folder: Path, visit: Visit) -> Path:
    """The file of a visit."""
    edit = digest([[*map(str, asdict(put).values())] for put in visit.edit.put] + [list(visit.edit.take)], length=12)
    return folder / f"house{visit.house:05d}-route{visit.route}-{edit}.npz"


def _save(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    part.replace(path)
