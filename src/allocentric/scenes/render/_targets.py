"""Framebuffers for the channels asked for, and their way back into arrays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.scenes.render.contract import Channel, Frame

_KINDS: dict[str, tuple[int, str]] = {"RGB": (4, "f1"), "SURFACE": (4, "f4"), "DEPTH": (1, "f4"), "ID": (1, "i4")}


def outputs_of(channels: frozenset[Channel]) -> tuple[str, ...]:
    """Shader outputs that give the channels; normal and depth share one."""
    outputs = []
    if "rgb" in channels:
        outputs.append("RGB")
    if "normal" in channels:
        outputs.append("SURFACE")
    elif "depth" in channels:
        outputs.append("DEPTH")
    if "id" in channels:
        outputs.append("ID")
    return tuple(outputs)


def output_defines(outputs: tuple[str, ...]) -> dict[str, int]:
    """OUT_<name> = location of each output."""
    return {f"OUT_{name}": location for location, name in enumerate(outputs)}


class Target:
    """One framebuffer with the outputs of one variant."""

    def __init__(self, context: Any, width_px: int, height_px: int, outputs: tuple[str, ...], *, depth: bool) -> None:
        size = (width_px, height_px)
        self._outputs = outputs
        self._colors = [context.texture(size, _KINDS[name][0], dtype=_KINDS[name][1]) for name in outputs]
        self._depth = context.depth_renderbuffer(size) if depth else None
        self.framebuffer = context.framebuffer(self._colors, self._depth)
        self._scratch = {
            name: np.empty((height_px, width_px, 4), np.uint8 if name == "RGB" else np.float32)
            for name in outputs
            if _KINDS[name][0] == 4
        }
        self._size = (height_px, width_px)

    def read(self, channels: frozenset[Channel]) -> Frame:
        """Bring the pictures back; the arrays are the caller's."""
        got: dict[str, Any] = {}
        for location, name in enumerate(self._outputs):
            count, kind = _KINDS[name]
            if count == 1:
                array: NDArray[Any] = np.empty(self._size, np.int32 if kind == "i4" else np.float32)
                got["id" if kind == "i4" else "depth_m"] = array
            else:
                array = self._scratch[name]
            self.framebuffer.read_into(array, components=count, attachment=location, dtype=kind, alignment=1)
            if name == "RGB":
                got["rgb"] = cv2.cvtColor(array, cv2.COLOR_RGBA2RGB)
            elif name == "SURFACE":
                got["normal"] = cv2.cvtColor(array, cv2.COLOR_RGBA2RGB)
                if "depth" in channels:
                    got["depth_m"] = cv2.extractChannel(array, 3)
        return Frame(**got)

    def release(self) -> None:
        """Free the buffers."""
        for thing in (self.framebuffer, self._depth, *self._colors):
            if thing is not None:
                thing.release()
