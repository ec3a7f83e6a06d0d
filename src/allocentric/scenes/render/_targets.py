"""Framebuffers for the channels asked for, and their way back into arrays.

Ids and normals are constant on a triangle, so pixels carry only the place of their triangle in a table, and the table
is looked up afterwards: fewer bytes to draw and to read. Depths are drawn inverted. A cleared target, all zeros, then
means nothing at infinity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.scenes.render.contract import Channel, Frame
from allocentric.scenes.render.flatten import FlatScene

_KINDS: dict[str, tuple[int, str]] = {"RGB": (4, "f1"), "DEPTH": (1, "f4"), "TRIANGLE": (1, "i4")}
_COLUMNS = 256


def outputs_of(channels: frozenset[Channel]) -> tuple[str, ...]:
    """Shader outputs that give the channels; normal and id share one."""
    outputs = []
    if "rgb" in channels:
        outputs.append("RGB")
    if "depth" in channels:
        outputs.append("DEPTH")
    if channels & {"id", "normal"}:
        outputs.append("TRIANGLE")
    return tuple(outputs)


def output_defines(outputs: tuple[str, ...]) -> dict[str, int]:
    """OUT_<name> = location of each output."""
    return {f"OUT_{name}": location for location, name in enumerate(outputs)}


def places(triangles: NDArray[np.int64]) -> NDArray[np.int32]:
    """Place of each triangle in `TriangleValues`: column in the low 16 bits, row in the high ones. 0 is nothing's."""
    number = triangles + 1
    return np.asarray(number % _COLUMNS | number // _COLUMNS << 16, dtype=np.int32)


class TriangleValues(NamedTuple):
    """What is constant on a triangle, as small pictures."""

    ids: NDArray[np.int32]
    """(R, _COLUMNS)."""
    normals: NDArray[np.float32]
    """(R, _COLUMNS, 3)."""

    @staticmethod
    def of(flat: FlatScene) -> TriangleValues:
        """The tables of a scene."""
        count = len(flat.triangle_object)
        rows = count // _COLUMNS + 1
        ids = np.full(rows * _COLUMNS, -1, dtype=np.int32)
        normals = np.zeros((rows * _COLUMNS, 3), dtype=np.float32)
        ids[1 : count + 1], normals[1 : count + 1] = flat.triangle_object, flat.face_normals
        return TriangleValues(ids.reshape(rows, _COLUMNS), normals.reshape(rows, _COLUMNS, 3))


class Target:
    """One framebuffer with the outputs of one variant."""

    def __init__(self, context: Any, width_px: int, height_px: int, outputs: tuple[str, ...], *, depth: bool) -> None:
        size = (width_px, height_px)
        self._outputs = outputs
        self._colors = [context.texture(size, _KINDS[name][0], dtype=_KINDS[name][1]) for name in outputs]
        self._depth = context.depth_renderbuffer(size) if depth else None
        self.framebuffer = context.framebuffer(self._colors, self._depth)
        self._size = (height_px, width_px)
        self._rgba = np.empty((*self._size, 4), np.uint8)
        self._places = np.empty(self._size, np.int32)

    def places(self) -> NDArray[np.int32] | None:
        """(H, W) places of the triangles drawn so far; valid until the next call. None where they are not drawn."""
        if "TRIANGLE" not in self._outputs:
            return None
        return self._read("TRIANGLE", self._places)

    def read(self, channels: frozenset[Channel], values: TriangleValues, drawn: NDArray[np.int32] | None) -> Frame:
        """Bring the pictures back, ids and normals from the places `drawn`; the arrays are the caller's."""
        got: dict[str, Any] = {}
        if "rgb" in channels:
            got["rgb"] = cv2.cvtColor(self._read("RGB", self._rgba), cv2.COLOR_RGBA2RGB)
        if "depth" in channels:
            depth_m = self._read("DEPTH", np.empty(self._size, np.float32))
            with np.errstate(divide="ignore"):
                got["depth_m"] = np.reciprocal(depth_m, out=depth_m)
        if drawn is not None:
            at = drawn.view(np.int16).reshape(*self._size, 2)
            for channel, table in (("id", values.ids), ("normal", values.normals)):
                if channel in channels:
                    got[channel] = cv2.remap(table, at, None, cv2.INTER_NEAREST)
        return Frame(**got)

    def _read(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        count, kind = _KINDS[name]
        location = self._outputs.index(name)
        self.framebuffer.read_into(array, components=count, attachment=location, dtype=kind, alignment=1)
        return array

    def release(self) -> None:
        """Free the buffers."""
        for thing in (self.framebuffer, self._depth, *self._colors):
            if thing is not None:
                thing.release()
