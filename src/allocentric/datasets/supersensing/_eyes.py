"""What an observer without flaws recognises in a frame: everything that is large enough in it."""

from __future__ import annotations

from dataclasses import replace

from allocentric.core.types import Object, Visibility
from allocentric.scenes.stream import FrameKey, Stream, Visit

RECOGNISED_SHARE = 0.004
"""An object is recognised when its visible pixels are at least this share of the picture's, at full resolution: 7 x 7
pixels of 128 x 96."""
_VISITS_KEPT = 4096


class Eyes:
    """Recognised objects of a stream's frames."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        walk = stream.settings.walk
        self._least_px = RECOGNISED_SHARE * walk.width_px * walk.height_px
        self._pixels: dict[Visit, tuple[dict[str, int], ...]] = {}
        self._things: dict[Visit, dict[str, Object]] = {}

    def pixels(self, visit: Visit) -> tuple[dict[str, int], ...]:
        """Visible pixels by object id, of every frame of a visit; objects too small to be recognised are left out."""
        if visit not in self._pixels:
            if len(self._pixels) >= _VISITS_KEPT:
                self._pixels.pop(next(iter(self._pixels)))
            frames = range(self.stream.settings.stretch_frames)
            self._pixels[visit] = tuple(self._large(self.stream.look(FrameKey(visit, frame))) for frame in frames)
        return self._pixels[visit]

    def recognised(self, index: int, resolution: float = 1.0) -> dict[str, Object]:
        """Objects recognised in frame `index` of the stream when its edges are kept at a share `resolution`."""
        stretch, frame = divmod(index, self.stream.settings.stretch_frames)
        visit = self.stream.visit(stretch)
        large = {name for name, count in self.pixels(visit)[frame].items() if count * resolution**2 >= self._least_px}
        return {name: thing for name, thing in self.things(visit).items() if name in large}

    def things(self, visit: Visit) -> dict[str, Object]:
        """Objects of a visit's house by id, in its own frame, without their meshes."""
        if visit not in self._things:
            if len(self._things) >= _VISITS_KEPT:
                self._things.pop(next(iter(self._things)))
            objects = self.stream.scene(visit.house, visit.edit).objects
            self._things[visit] = {thing.id: replace(thing, mesh=None) for thing in objects}
        return self._things[visit]

    def seen_in(self, visit: Visit) -> set[str]:
        """Ids of everything recognised in any frame of a visit."""
        return {name for frame in self.pixels(visit) for name in frame}

    def _large(self, visible: dict[str, Visibility]) -> dict[str, int]:
        return {name: seen.pixels for name, seen in visible.items() if seen.pixels >= self._least_px}
