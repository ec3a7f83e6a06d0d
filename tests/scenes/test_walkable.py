from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.geometry import pose
from allocentric.core.types import Object, Opening, Room, Scene
from allocentric.scenes.walkable import walkable_map


def two_rooms(*objects: Object, door: bool = True) -> Scene:
    """Two 3 x 3 m rooms side by side with a 0.1 m wall and a 0.9 m door between them."""
    ways = ()
    if door:
        segment = np.array([[3.05, 1.0], [3.05, 1.9]])
        ways = (Opening(kind="passage", segment_m=segment, bottom_m=0.0, top_m=2.1, connects=("a", "b")),)
    square = np.array([[0, 0], [3, 0], [3, 3], [0, 3]], dtype=float)
    beside = square + np.array([3.1, 0.0])
    room = {"kind": "unknown", "floor_z_m": 0.0, "height_m": 2.5, "openings": ways}
    return Scene(
        id="two",
        objects=objects,
        rooms=(Room(id="a", floor_polygon_m=square, **room), Room(id="b", floor_polygon_m=beside, **room)),
        source="test",
        license="CC0-1.0",
    )


def block(x: float, y: float, size: tuple[float, float, float], *, z: float | None = None, yaw: float = 0.0) -> Object:
    height = size[2] / 2 if z is None else z
    return Object(id="box", label="box", world_from_object=pose([x, y, height], yaw), size_m=np.array(size))


def test_a_scene_without_rooms_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="has no rooms"):
        walkable_map(Scene(id="empty", objects=(), source="test", license="CC0-1.0"))


def test_free_floor_is_the_room_shrunk_by_the_radius() -> None:
    grid = walkable_map(two_rooms(door=False), radius_m=0.25, cell_m=0.05)
    assert len(grid.room_cells("a")) * 0.05**2 == pytest.approx(2.5**2, rel=0.02)
    assert grid.components().max() == 2


def test_a_door_joins_the_rooms_and_a_box_in_it_parts_them() -> None:
    assert walkable_map(two_rooms()).components().max() == 1
    shut = walkable_map(two_rooms(block(3.05, 1.45, (0.3, 0.8, 1.0))))
    assert shut.components().max() == 2
    assert len(shut.room_cells("a"))
    assert len(shut.room_cells("b"))


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        (block(1.5, 1.5, (1.0, 1.0, 0.02)), False),
        (block(1.5, 1.5, (1.0, 1.0, 0.4), z=2.2), False),
        (block(1.5, 1.5, (1.0, 1.0, 0.5)), True),
    ],
)
def test_only_things_between_the_feet_and_the_head_block(body: Object, blocks: bool) -> None:
    grid = walkable_map(two_rooms(body))
    row, column = grid.cell_from_world([1.5, 1.5])
    assert grid.free[row, column] == (not blocks)


def test_a_turned_box_clears_exactly_the_cells_within_the_radius() -> None:
    body = block(1.5, 1.5, (1.2, 0.3, 1.0), yaw=0.6)
    grid = walkable_map(two_rooms(body), radius_m=0.2)
    empty = walkable_map(two_rooms(), radius_m=0.2)
    outline = np.array([[x, y] for x in np.linspace(-0.6, 0.6, 241) for y in np.linspace(-0.15, 0.15, 61)])
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    points = outline @ turn.T + [1.5, 1.5]
    cells = np.argwhere(empty.free)
    away = np.array([np.min(np.hypot(*(points - p).T)) for p in grid.world_from_cell(cells)])
    clear = np.abs(away - 0.2) > 0.005  # the outline is sampled
    assert np.array_equal(grid.free[tuple(cells[clear].T)], away[clear] > 0.2)


def test_cells_and_world_are_inverse() -> None:
    grid = walkable_map(two_rooms())
    cells = np.argwhere(grid.free)
    assert np.array_equal(grid.cell_from_world(grid.world_from_cell(cells)), cells)


def test_components_are_numbered_by_size() -> None:
    grid = walkable_map(two_rooms(block(4.9, 1.5, (0.5, 3.0, 1.0)), door=False))
    sizes = np.bincount(grid.components().ravel())[1:]
    assert list(sizes) == sorted(sizes, reverse=True)
    assert dataclasses.replace(grid).free.sum() == sizes.sum()
