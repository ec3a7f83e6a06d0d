"""A cognitive map: a grid of the things seen, kept in text.

VSI-Bench asks models to lay objects out on a grid before they answer (arXiv 2412.14171); here the grid is kept as the
stream goes. Every thing detected gets a cell; one of the same label within a reach of a known one is that one seen
again, so walking past it twice does not make it two. The thing not seen for the longest is forgotten first.

Positions are the detector's. An encoder knows none, so a thing is placed where the ray through it meets the floor,
which puts things that hang or stand on others too far away. Frames without a camera have no place on the map and are
refused.

Notes: the size of a cell, then a line for each thing whose label the query names (each thing, where it names none), in
the order first seen:

    cells of 0.5 m: (column, row) = (floor(x / 0.5), floor(y / 0.5))
    lamp at (4, -7), seen 12.0-41.0 s
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from allocentric.agents.encoders.contract import Detection, Encoder
from allocentric.agents.memory import contract
from allocentric.agents.memory._floor import on_the_floor
from allocentric.agents.memory.contract import RECORD_BYTES, Frame, Memory, Query, Recalled
from allocentric.agents.memory.errors import StreamMemoryError


class Settings(contract.Settings):
    """The grid."""

    cell_m: float = Field(default=0.5, gt=0.0)
    """Edge of a cell."""
    same_m: float = Field(default=1.0, ge=0.0)
    """Things of one label nearer to each other than this are one."""
    eye_height_m: float = Field(default=1.5, gt=0.0)
    """Height of the camera above the floor, for detectors that know no positions."""
    farthest_m: float = Field(default=6.0, gt=0.0)
    """Things seen in rays that meet the floor farther away, or not at all, are put here."""


@dataclass(slots=True, eq=False)
class _Thing:
    label: str
    x_m: float
    y_m: float
    first_s: float
    last_s: float
    times_seen: int = 1

    @property
    def nbytes(self) -> int:
        return RECORD_BYTES + len(self.label.encode())


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words, since things are kept by their names."""
    return _CognitiveMap(settings, encoder)


class _CognitiveMap(Memory):
    name = "cognitive_map"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        if not encoder.vocabulary:
            raise StreamMemoryError(
                f"the memory 'cognitive_map' names what it sees, and the encoder {encoder.name!r} has no vocabulary; "
                "use the encoder convolutional"
            )
        self._settings, self._eyes = settings, encoder
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        if frame.view.camera is None:
            raise StreamMemoryError(
                f"the memory 'cognitive_map' needs cameras; the frame of {frame.time_s:g} s has none"
            )
        for detection in self._eyes.detect(frame.view, frame.encoded, self._eyes.vocabulary):
            self._see(detection, self._position_m(frame, detection), frame.time_s)

    def evict(self) -> bool:
        if len(self._things) <= 1:
            return False
        oldest = min(self._things, key=lambda thing: thing.last_s)
        self._things.remove(oldest)
        self._bytes -= oldest.nbytes
        return True

    def recall(self, query: Query) -> Recalled:
        size = self._settings.cell_m
        lines = [f"cells of {size:g} m: (column, row) = (floor(x / {size:g}), floor(y / {size:g}))"]
        for thing in self._things:
            if not query.labels or thing.label in query.labels:
                cell = (math.floor(thing.x_m / size), math.floor(thing.y_m / size))
                lines.append(f"{thing.label} at {cell}, seen {thing.first_s:.1f}-{thing.last_s:.1f} s")
        return Recalled(notes=tuple(lines))

    def nbytes(self) -> dict[str, int]:
        return {"things": self._bytes}

    def clear(self) -> None:
        self._things: list[_Thing] = []
        self._bytes = 0

    def _position_m(self, frame: Frame, detection: Detection) -> tuple[float, float]:
        if detection.position_m is not None:
            return detection.position_m[:2]
        camera = frame.view.camera
        assert camera is not None
        height_m, most_m = self._settings.eye_height_m, self._settings.farthest_m
        return on_the_floor(camera, detection.place, eye_height_m=height_m, most_m=most_m)[:2]

    def _see(self, detection: Detection, position_m: tuple[float, float], time_s: float) -> None:
        """Add a thing, or move a known one to the mean of where it was seen."""
        near = [thing for thing in self._things if thing.label == detection.label]
        near = [thing for thing in near if math.dist((thing.x_m, thing.y_m), position_m) < self._settings.same_m]
        if not near:
            thing = _Thing(detection.label, *position_m, first_s=time_s, last_s=time_s)
            self._things.append(thing)
            self._bytes += thing.nbytes
            return
        thing = min(near, key=lambda one: math.dist((one.x_m, one.y_m), position_m))
        thing.times_seen += 1
        thing.x_m += (position_m[0] - thing.x_m) / thing.times_seen
        thing.y_m += (position_m[1] - thing.y_m) / thing.times_seen
        thing.last_s = time_s
