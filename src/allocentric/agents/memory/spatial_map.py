"""Mem4Nav: memory by place, an octree of leaves keyed by pose, a graph of landmarks, a short and a long store.

After arXiv 2506.19433, which its authors have asked to withdraw; of its code only fragments were seen.

- *Octree*: space in cubes, by Morton code. A leaf keeps what was seen from it in each direction: the mean vector of
  all frames (the long store's token; the published one is written by a trained reversible transformer), and the first
  and the newest frame, so that a place that changed can be compared with itself.
- *Landmark graph*: a node where the walk comes farther than a distance from every node, and an edge between nodes
  visited one after the other. Where the walk jumps, as at a cut, there is no edge.
- *Short store*: a frame for each of the leaves and directions seen lately; those seen least often go first, of these
  the least recently seen (FLFU). Seeing one again counts, and renews its frame; a query doesn't.

A query is answered from the short store where a frame there fits it well enough, and from the leaves in any case; the
notes say where the best leaf is and the shortest way back to it through the graph:

    best match at (12.4, -3.0, 1.5) m, seen 12.0-41.0 s
    way from here: (1.0, 2.0) > (4.0, 2.5) > (12.0, -3.0), 11.9 m

When the budget is reached the leaf or node not visited for the longest is given up. Frames without a camera are
refused.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass, field

from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, unit
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._pictures import Kept
from allocentric.agents.memory.contract import RECORD_BYTES, Frame, Memory, Query, Recalled
from allocentric.agents.memory.errors import StreamMemoryError
from allocentric.core.types import Camera, FloatArray

Point = tuple[float, float, float]
Key = tuple[int, int]
"""Morton code of the leaf, sector of the heading."""


class Settings(_pictures.Settings):
    """Octree, graph, stores."""

    leaf_m: float = Field(default=1.0, gt=0.0)
    """Edge of a leaf."""
    sectors: int = Field(default=8, ge=1, le=64)
    """Directions told apart in a leaf."""
    node_spacing_m: float = Field(default=3.0, gt=0.0)
    """Least distance between landmark nodes."""
    jump_m: float = Field(default=3.0, gt=0.0)
    """A longer way between two frames is a cut, not a walk."""
    short_frames: int = Field(default=32, ge=1)
    """Frames of the short store."""
    short_similarity: float = Field(default=0.5, ge=-1.0, le=1.0)
    """Cosine with the query from which on the short store's frames are recalled."""
    frames: int = Field(default=16, ge=1)
    """Most frames recalled."""


@dataclass(slots=True, eq=False)
class _Leaf:
    """What was seen from one place in one direction."""

    position_m: Point
    mean_D: FloatArray
    first: Kept
    newest: Kept
    count: int = 1

    @property
    def nbytes(self) -> int:
        frames = {id(kept): kept.nbytes for kept in (self.first, self.newest)}
        return RECORD_BYTES + int(self.mean_D.nbytes) + sum(frames.values())


@dataclass(slots=True, eq=False)
class _Short:
    kept: Kept
    times_seen: int = 1


@dataclass(slots=True, eq=False)
class Landmarks:
    """A graph of places and the ways between them."""

    spacing_m: float
    """Least distance between nodes."""
    nodes: OrderedDict[int, Point] = field(default_factory=OrderedDict)
    """By number; the one visited last comes last."""
    edges: dict[int, dict[int, float]] = field(default_factory=dict)
    """Lengths in metres, both ways."""
    visits: dict[int, int] = field(default_factory=dict)
    """Frame of the last visit."""
    here: int | None = None
    """The node of the last frame."""
    edge_ends: int = 0
    """Of all edges, two each."""
    _cells: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    """Nodes by cube of edge `spacing_m`."""
    _next: int = 0

    @property
    def nbytes(self) -> int:
        """Charged to the budget."""
        return 2 * RECORD_BYTES * len(self.nodes) + RECORD_BYTES * self.edge_ends

    def visit(self, position_m: Point, frame: int, *, walked: bool) -> None:
        """Come to a place; `walked` is False after a cut."""
        before, self.here = self.here, self._within_reach(position_m)
        if self.here is None:
            self.here, self._next = self._next, self._next + 1
            self.nodes[self.here], self.edges[self.here] = position_m, {}
            self._cells.setdefault(self._cell(position_m), []).append(self.here)
        self.nodes.move_to_end(self.here)
        self.visits[self.here] = frame
        if walked and before is not None and before != self.here and before in self.nodes:
            self.edge_ends += 0 if self.here in self.edges[before] else 2
            length_m = math.dist(self.nodes[before], self.nodes[self.here])
            self.edges[before][self.here] = self.edges[self.here][before] = length_m

    def _cell(self, position_m: Point) -> tuple[int, ...]:
        return tuple(math.floor(x_m / self.spacing_m) for x_m in position_m)

    def _within_reach(self, position_m: Point) -> int | None:
        """The nearest node at most `spacing_m` away; None where there is none."""
        centre = self._cell(position_m)
        around = itertools.product(*(range(cell - 1, cell + 2) for cell in centre))
        near = [node for cell in around for node in self._cells.get(cell, ())]
        best = min(near, key=lambda node: math.dist(self.nodes[node], position_m), default=None)
        return None if best is None or math.dist(self.nodes[best], position_m) > self.spacing_m else best

    def nearest(self, position_m: Point) -> int | None:
        """The nearest node; None where there is none."""
        return min(self.nodes, key=lambda node: math.dist(self.nodes[node], position_m), default=None)

    def forget(self, node: int) -> None:
        """Remove a node and its edges."""
        ends = self.edges.pop(node)
        for other in ends:
            del self.edges[other][node]
        self.edge_ends -= 2 * len(ends)
        cell = self._cell(self.nodes.pop(node))
        self._cells[cell].remove(node)
        if not self._cells[cell]:
            del self._cells[cell]
        del self.visits[node]

    def way(self, goal: int) -> tuple[list[int], float] | None:
        """The shortest way from here and its length (Dijkstra); None where there is none."""
        if self.here is None:
            return None
        queue: list[tuple[float, int, list[int]]] = [(0.0, self.here, [self.here])]
        done: set[int] = set()
        while queue:
            length_m, node, path = heapq.heappop(queue)
            if node == goal:
                return path, length_m
            if node in done:
                continue
            done.add(node)
            for other, edge_m in self.edges[node].items():
                heapq.heappush(queue, (length_m + edge_m, other, [*path, other]))
        return None


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _SpatialMap(settings, encoder)


class _SpatialMap(Memory):
    name = "spatial_map"
    uses_words = True

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self._at_m: Point | None = None
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        camera = frame.view.camera
        if camera is None:
            raise StreamMemoryError(
                f"the memory 'spatial_map' needs cameras; the frame of {frame.time_s:g} s has none"
            )
        x_m, y_m, z_m = (float(x) for x in camera.world_from_camera[:3, 3])
        position_m = (x_m, y_m, z_m)
        key = (morton(position_m, self._settings.leaf_m), self._sector(camera))
        walked = self._at_m is not None and math.dist(self._at_m, position_m) <= self._settings.jump_m
        self._landmarks.visit(position_m, frame.index, walked=walked)
        self._at_m = position_m
        kept = _pictures.keep(frame, self._settings, unit(frame.encoded.pooled_D))
        self._remember(key, position_m, kept)
        self._remember_short(key, kept)

    def evict(self) -> bool:
        """The leaf or node not visited for the longest, never the newest; then frames of the short store."""
        leaf = next(iter(self._leaves.values())) if len(self._leaves) > 1 else None
        node = next(iter(self._landmarks.nodes)) if len(self._landmarks.nodes) > 1 else None
        if node is not None and (leaf is None or self._landmarks.visits[node] <= leaf.newest.index):
            self._landmarks.forget(node)
        elif leaf is not None:
            self._leaf_bytes -= self._leaves.popitem(last=False)[1].nbytes
        elif len(self._short) > 1:
            self._forget_short()
        else:
            return False
        return True

    def recall(self, query: Query) -> Recalled:
        word_D = unit(self._eyes.words(query.labels).mean(axis=0, keepdims=True))[0]
        chosen: dict[int, tuple[float, Kept]] = {}
        for short in self._short.values():
            score = float(short.kept.vector() @ word_D)
            if score >= self._settings.short_similarity:
                chosen[short.kept.index] = (score, short.kept)
        ranked = sorted(self._leaves.values(), key=lambda leaf: -float(unit(leaf.mean_D[None])[0] @ word_D))
        for leaf in ranked:
            for kept in (leaf.first, leaf.newest):
                if len(chosen) < self._settings.frames:
                    chosen.setdefault(kept.index, (float(kept.vector() @ word_D), kept))
        best = sorted(chosen.values(), key=lambda one: (-one[0], one[1].index))[: self._settings.frames]
        return Recalled(blocks=tuple(kept.block(score) for score, kept in best), notes=tuple(self._notes(ranked[0])))

    def nbytes(self) -> dict[str, int]:
        short = sum(RECORD_BYTES + short.kept.nbytes for short in self._short.values())
        return {"leaves": self._leaf_bytes, "short store": short, "landmarks": self._landmarks.nbytes}

    def clear(self) -> None:
        self._leaves: OrderedDict[Key, _Leaf] = OrderedDict()
        self._leaf_bytes = 0
        self._short: OrderedDict[Key, _Short] = OrderedDict()
        self._landmarks = Landmarks(self._settings.node_spacing_m)
        self._at_m = None

    def _remember(self, key: Key, position_m: Point, kept: Kept) -> None:
        leaf = self._leaves.get(key)
        if leaf is None:
            self._leaves[key] = leaf = _Leaf(position_m, kept.vector(), kept, kept)
            self._leaf_bytes += leaf.nbytes
            return
        self._leaf_bytes -= leaf.nbytes
        leaf.count += 1
        leaf.mean_D = leaf.mean_D + (kept.vector() - leaf.mean_D) / leaf.count
        leaf.newest = kept
        self._leaf_bytes += leaf.nbytes
        self._leaves.move_to_end(key)

    def _sector(self, camera: Camera) -> int:
        ahead = camera.world_from_camera[:3, 2]
        share = (math.atan2(float(ahead[1]), float(ahead[0])) % math.tau) / math.tau
        return int(share * self._settings.sectors) % self._settings.sectors

    def _remember_short(self, key: Key, kept: Kept) -> None:
        seen_before = self._short[key].times_seen if key in self._short else 0
        self._short[key] = _Short(kept, seen_before + 1)
        self._short.move_to_end(key)
        if len(self._short) > self._settings.short_frames:
            self._forget_short()

    def _forget_short(self) -> None:
        """FLFU; never the newest."""
        *older, _ = self._short
        del self._short[min(older, key=lambda key: self._short[key].times_seen)]  # of equals the least recent

    def _notes(self, leaf: _Leaf) -> list[str]:
        x, y, z = leaf.position_m
        first_s, last_s = leaf.first.time_s, leaf.newest.time_s
        lines = [f"best match at ({x:.1f}, {y:.1f}, {z:.1f}) m, seen {first_s:.1f}-{last_s:.1f} s"]
        goal = self._landmarks.nearest(leaf.position_m)
        found = None if goal is None else self._landmarks.way(goal)
        if found is not None:
            stops = " > ".join(f"({p[0]:.1f}, {p[1]:.1f})" for p in (self._landmarks.nodes[node] for node in found[0]))
            lines.append(f"way from here: {stops}, {found[1]:.1f} m")
        return lines


_BITS = 21


def morton(position_m: Point, leaf_m: float) -> int:
    """Morton code of the cube of edge `leaf_m` around a position: bit 3k + axis is bit k of that axis' cell.

    Cells are counted from 2**20 cells below the origin, so that positions within a million leaves of it have one.
    """
    code = 0
    for axis, x_m in enumerate(position_m):
        cell = math.floor(x_m / leaf_m) + 2 ** (_BITS - 1)
        if not 0 <= cell < 2**_BITS:
            raise StreamMemoryError(
                f"expected positions within {2 ** (_BITS - 1)} leaves of the origin, got {x_m:g} m"
            )
        for bit in range(_BITS):
            code |= ((cell >> bit) & 1) << (3 * bit + axis)
    return code


__all__ = ["Landmarks", "Settings", "build", "morton"]
