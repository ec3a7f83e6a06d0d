"""Thumbnails for pages: each picture once, as a JPEG data URI, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from allocentric.core.errors import DataError
from allocentric.core.pictures import picture
from allocentric.core.types import Item, View
from allocentric.eval.frames import evenly_spaced, load_views

BUDGET_BYTES = 20_000_000
"""All thumbnails of a page together, as data URIs."""
_LADDER = ((320, 64), (320, 32), (240, 32), (240, 16), (192, 12), (160, 8), (128, 4))
"""(width in px, frames per item): the first that fits the budget is used."""
_BYTES_PER_PIXEL = 0.16
"""Of a JPEG of quality 72 as a data URI, for pictures of rooms, on the safe side."""
_ASPECT = 0.75


@dataclass
class Thumbnails:
    """The pictures of a page."""

    width_px: int
    """Of each thumbnail."""
    per_item: int
    """At most this many for one item."""
    uris: list[str] = field(default_factory=list)
    """Data URIs; items refer to them by position."""
    problems: list[str] = field(default_factory=list)
    """Pictures that could not be read, one line each."""
    _known: dict[tuple[str, int], int] = field(default_factory=dict)

    def of_item(self, item: Item, indices: Sequence[int]) -> list[tuple[int, int]]:
        """(frame index, position in `uris`) of the frames to show of `item`, evidence first chosen, in order."""
        shown = shown_frames(item, indices, self.per_item)
        new = [index for index in shown if (self._owner(item, index), index) not in self._known]
        if new:
            self._add(item, tuple(new))
        return [(i, self._known[self._owner(item, i), i]) for i in shown if (self._owner(item, i), i) in self._known]

    def _add(self, item: Item, indices: tuple[int, ...]) -> None:
        try:
            for index, view in zip(indices, load_views(item, indices), strict=True):
                if view.image is not None:
                    self.uris.append(_data_uri(view, self.width_px))
                    self._known[self._owner(item, index), index] = len(self.uris) - 1
        except DataError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))

    def _owner(self, item: Item, index: int) -> str:
        """What makes a frame number mean one picture: the video, or the picture's file, or the item."""
        if item.video is not None and not item.views:
            return str(item.video)
        image = item.views[index].image
        return str(image) if isinstance(image, Path) else item.id


def shown_frames(item: Item, indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of `indices`, those of the evidence first, the rest evenly spaced, in order."""
    evidence = [index for index in item.evidence.frames if index in set(indices)][:count]
    rest = [index for index in indices if index not in set(evidence)]
    return sorted(evidence + [rest[k] for k in evenly_spaced(len(rest), count - len(evidence))])


def thumbnails_for(items: Sequence[Item], indices: Mapping[str, Sequence[int]]) -> Thumbnails:
    """An empty collection, sized so that all frames of all items will fit the budget."""
    for width, per_item in _LADDER:
        frames = {(item.scene_id, index) for item in items for index in shown_frames(item, indices[item.id], per_item)}
        if len(frames) * width * width * _ASPECT * _BYTES_PER_PIXEL <= BUDGET_BYTES:
            break
    return Thumbnails(width_px=width, per_item=per_item)


def _data_uri(view: View, width_px: int) -> str:
    image = picture(view)
    image.thumbnail((width_px, 4 * width_px))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
