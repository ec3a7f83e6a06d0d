"""A board: coloured points on a square grid, maybe joined by roads, and its picture.

Points lie at the centres of cells. x counts cells to the right, y upwards, both from 0 in the lower left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise, permutations
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw
from pydantic import Field, model_validator

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.records import digest
from allocentric.core.types import Image

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "blue": (31, 90, 220),
    "green": (30, 150, 50),
    "yellow": (245, 205, 20),
    "purple": (130, 40, 170),
    "orange": (255, 127, 14),
    "cyan": (20, 190, 207),
    "black": (0, 0, 0),
}
"""Names of points and their sRGB."""
_LINE, _ROAD, _INK = (225, 225, 225), (150, 150, 150), (90, 90, 90)
_CLEAR_CELLS = 0.75
"""A road keeps this far from every point that it does not join."""


class Settings(BaseSettings):
    """What boards are like."""

    cells: int = Field(default=10, ge=4, le=20)
    """Rows and columns."""
    cell_px: int = Field(default=40, ge=8)
    """Edge of a cell."""
    points: tuple[int, int] = (4, 6)
    """Fewest and most points."""
    roads: bool = True
    """Draw roads between points; the shortest path then keeps to them. Without, every two points are joined."""
    road_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the possible roads that are drawn beyond those that keep the points connected."""
    axes: bool = True
    """Number rows and columns in a margin of one cell."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= self.points[0] <= self.points[1] <= len(COLOURS):
            raise ValueError(f"points: expected 1 to {len(COLOURS)}, the lower bound first, got {list(self.points)}")
        return self


@dataclass(frozen=True, kw_only=True)
class Board:
    """Points and roads."""

    cells: int
    """Rows and columns."""
    points: dict[str, tuple[int, int]]
    """Name -> (x, y)."""
    roads: frozenset[frozenset[str]]
    """Pairs of names that are joined."""
    roads_drawn: bool
    """False where every two points are joined, without a line."""

    @cached_property
    def id(self) -> str:
        """Digest of all of it."""
        return f"sparkle-{digest([self.cells, self.points, sorted(map(sorted, self.roads)), self.roads_drawn])[:16]}"

    @property
    def names(self) -> list[str]:
        """Of the points."""
        return list(self.points)

    @cached_property
    def distances(self) -> dict[tuple[str, str], float]:
        """Straight, in cells, by ordered pair."""
        cells = self.points
        return {(a, b): math.dist(cells[a], cells[b]) for a, b in permutations(cells, 2)}

    @cached_property
    def joined(self) -> frozenset[tuple[str, str]]:
        """Ordered pairs that a road joins."""
        return frozenset(pair for pair in permutations(self.points, 2) if frozenset(pair) in self.roads)

    def length(self, way: tuple[str, ...]) -> float:
        """Of a way from point to point, in cells."""
        return sum(map(self.distances.__getitem__, pairwise(way)))

    def mirrored(self) -> Board:
        """Left and right swapped."""
        return replace(self, points={name: (self.cells - 1 - x, y) for name, (x, y) in self.points.items()})

    def turned(self) -> Board:
        """A quarter turn counter-clockwise."""
        return replace(self, points={name: (self.cells - 1 - y, x) for name, (x, y) in self.points.items()})

    def picture(self, settings: Settings) -> Image:
        """(H, W, 3) pixels; a square of `cells` x `cell_px`, wider by one cell with axes."""
        margin = settings.cell_px if settings.axes else 0
        edge, side = settings.cell_px, self.cells * settings.cell_px
        canvas = PillowImage.new("RGB", (side + margin, side + margin), "white")
        draw = ImageDraw.Draw(canvas)
        for k in range(self.cells + 1):
            at = min(k * edge, side - 1)
            draw.line([(margin + at, 0), (margin + at, side - 1)], fill=_LINE)
            draw.line([(margin, at), (margin + side - 1, at)], fill=_LINE)
        if settings.axes:
            for k in range(self.cells):
                along = (k + 0.5) * edge
                draw.text((margin / 2, side - along), str(k), fill=_INK, anchor="mm", font_size=0.5 * edge)
                draw.text((margin + along, side + margin / 2), str(k), fill=_INK, anchor="mm", font_size=0.5 * edge)
        at_px = {name: (margin + (x + 0.5) * edge, side - (y + 0.5) * edge) for name, (x, y) in self.points.items()}
        if self.roads_drawn:
            for first, second in sorted(map(sorted, self.roads)):
                draw.line([at_px[first], at_px[second]], fill=_ROAD, width=max(1, edge // 12))
        for name, (column, row) in at_px.items():
            radius = 0.4 * edge
            draw.ellipse([column - radius, row - radius, column + radius - 1, row + radius - 1], fill=COLOURS[name])
        pixels: NDArray[np.uint8] = np.asarray(canvas, dtype=np.uint8)
        return pixels


def draw_board(settings: Settings, rng: np.random.Generator) -> Board | None:
    """A random board; None where its roads can't join all points."""
    count = int(rng.integers(settings.points[0], settings.points[1] + 1))
    names = rng.permutation(list(COLOURS))[:count].tolist()
    cells = rng.permutation(settings.cells**2)[:count].tolist()
    points = {name: (cell % settings.cells, cell // settings.cells) for name, cell in zip(names, cells, strict=True)}
    pairs = [frozenset(pair) for pair in combinations(names, 2)]
    if not settings.roads:
        return Board(cells=settings.cells, points=points, roads=frozenset(pairs), roads_drawn=False)
    possible = [pair for pair in pairs if _clear(points, *sorted(pair))]
    roads, component = set(), {name: name for name in names}
    for index in rng.permutation(len(possible)).tolist():
        first, second = (component[name] for name in sorted(possible[index]))
        if first != second or rng.random() < settings.road_share:
            roads.add(possible[index])
            component = {name: first if mark == second else mark for name, mark in component.items()}
    if len(set(component.values())) > 1:
        return None
    return Board(cells=settings.cells, points=points, roads=frozenset(roads), roads_drawn=True)


def _clear(points: dict[str, tuple[int, int]], first: str, second: str) -> bool:
    """Whether the straight line between two points passes no other."""
    start, end = np.array(points[first], float), np.array(points[second], float)
    along = end - start
    for name, point in points.items():
        if name in (first, second):
            continue
        share = np.clip(np.dot(np.array(point) - start, along) / np.dot(along, along), 0, 1)
        if np.linalg.norm(np.array(point) - start - share * along) < _CLEAR_CELLS:
            return False
    return True
