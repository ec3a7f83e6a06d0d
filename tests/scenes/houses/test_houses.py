"""Whole houses: forty-eight seeds, four for every number of rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from allocentric.core.geometry import box_corners, boxes_overlap, point_in_polygon, polygon_area
from allocentric.core.types import Object, Room, Scene
from allocentric.scenes.sources.procedural import build_house
from allocentric.scenes.walkable import walkable_map

HOUSES = [(seed, 1 + seed % 12) for seed in range(48)]
SHRINK_M = 2e-3


@pytest.fixture(scope="module")
def houses() -> list[Scene]:
    return [build_house(seed, (rooms, rooms)) for seed, rooms in HOUSES]


def below(thing: Object, by_id: dict[str, Object]) -> Iterator[str]:
    """Everything a thing stands on, directly or not."""
    while thing.supported_by is not None:
        yield thing.supported_by
        thing = by_id[thing.supported_by]


def edges(polygon: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return zip(polygon, np.roll(polygon, -1, axis=0), strict=True)


def test_every_number_of_rooms_is_built(houses: list[Scene]) -> None:
    assert [len(house.rooms) for house in houses] == [rooms for _, rooms in HOUSES]


def test_no_two_things_share_space_unless_one_bears_the_other(houses: list[Scene]) -> None:
    for house in houses:
        by_id = {thing.id: thing for thing in house.objects}
        assert len(by_id) == len(house.objects)
        poses = np.array([thing.world_from_object for thing in house.objects])
        sizes = np.array([thing.size_m for thing in house.objects]) - SHRINK_M
        a, b = np.triu_indices(len(poses), 1)
        for i, j in np.column_stack([a, b])[boxes_overlap(poses[a], sizes[a], poses[b], sizes[b])]:
            first, second = house.objects[i], house.objects[j]
            related = second.id in below(first, by_id) or first.id in below(second, by_id)
            assert related, f"{house.id}: {first.id} and {second.id}"


def test_things_lie_inside_their_room(houses: list[Scene]) -> None:
    for house in houses:
        rooms = {room.id: room for room in house.rooms}
        for thing in house.objects:
            room = rooms[thing.room_id]
            corners = box_corners(thing.world_from_object, thing.size_m)
            assert point_in_polygon(corners[:, :2], room.floor_polygon_m).all(), f"{house.id}: {thing.id}"
            assert corners[:, 2].min() >= -1e-9
            assert corners[:, 2].max() <= room.height_m


def test_things_clear_walls_and_door_leaves(houses: list[Scene]) -> None:
    for house in houses:
        poses = np.array([thing.world_from_object for thing in house.objects])
        sizes = np.array([thing.size_m for thing in house.objects]) - SHRINK_M
        for part in house.structure:
            if part.label in ("door", "floor", "ceiling"):
                hit = boxes_overlap(poses, sizes, part.world_from_object, np.asarray(part.size_m) - SHRINK_M)
                assert not hit.any(), f"{house.id}: {part.id} and {house.objects[int(np.argmax(hit))].id}"


def test_supported_things_rest_on_a_face_of_their_support(houses: list[Scene]) -> None:
    gaps = 0
    for house in houses:
        by_id = {thing.id: thing for thing in house.objects}
        for thing in house.objects:
            if thing.supported_by is None:
                continue
            gaps += 1
            support = by_id[thing.supported_by]
            corners = box_corners(thing.world_from_object, thing.size_m)
            bottom, centre = corners[:, 2].min(), corners[:, :2].mean(axis=0)
            mesh = support.mesh
            points = mesh.positions_m @ support.world_from_object[:3, :3].T + support.world_from_object[:3, 3]
            face = points[mesh.triangles]
            level = np.ptp(face[..., 2], axis=1) < 1e-4
            heights = face[level, :, 2].mean(axis=1)
            assert np.abs(heights - bottom).min() < 1e-3, f"{house.id}: {thing.id} on {support.id}"
            base = box_corners(support.world_from_object, support.size_m)
            assert point_in_polygon(centre[None], base[[0, 2, 6, 4], :2])[0], f"{house.id}: {thing.id}"
    assert gaps > 500


def test_things_on_the_floor_stand_on_it(houses: list[Scene]) -> None:
    hung = {"painting", "mirror", "clock", "shelf", "towel", "toilet paper", "curtain", "radiator", "kitchen cabinet",
            "range hood", "ceiling lamp", "air conditioner"}  # fmt: skip
    for house in houses:
        for thing in house.objects:
            if thing.supported_by is None and thing.label not in hung:
                bottom = box_corners(thing.world_from_object, thing.size_m)[:, 2].min()
                assert abs(bottom) < 1e-6, f"{house.id}: {thing.id} floats at {bottom:.3f}"


@pytest.mark.slow
def test_a_flood_fill_from_one_room_reaches_all(houses: list[Scene]) -> None:
    for house in houses:
        grid = walkable_map(house)
        start = tuple(int(v) for v in grid.room_cells(house.rooms[0].id)[0])
        starts = {tuple(map(int, cell)) for room in house.rooms[:1] for cell in grid.room_cells(room.id)}
        best: set[tuple[int, int]] = set()
        while starts:
            start = starts.pop()
            seen, front = {start}, [start]
            while front:
                row, column = front.pop()
                for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                    if cell not in seen and grid.free[cell]:
                        seen.add(cell)
                        front.append(cell)
            starts -= seen
            best = max(best, seen, key=len)
        for room in house.rooms:
            cells = {tuple(map(int, cell)) for cell in grid.room_cells(room.id)}
            assert len(cells & best) >= 0.6 * len(cells) > 0, f"{house.id}: {room.kind} {room.id}"


def test_doors_are_clear_in_front(houses: list[Scene]) -> None:
    """A 0.6 m wide, 1.8 m high box on both sides of every door meets nothing."""
    for house in houses:
        poses = np.array([thing.world_from_object for thing in house.objects])
        sizes = np.array([thing.size_m for thing in house.objects])
        for room in house.rooms:
            for way in room.openings:
                if way.kind == "window":
                    continue
                middle = way.segment_m.mean(axis=0)
                across = np.array([[0.0, -1.0], [1.0, 0.0]]) @ (way.segment_m[1] - way.segment_m[0])
                across /= np.linalg.norm(across)
                for side in (-0.4, 0.4):
                    frame = np.eye(4)
                    frame[:3, 3] = [*(middle + side * across), 0.97]
                    hit = boxes_overlap(poses, sizes, frame, np.array([0.6, 0.6, 1.7]))
                    assert not hit.any(), f"{house.id}: {house.objects[int(np.argmax(hit))].id} before a door"


def test_openings_lie_between_the_rooms_they_connect(houses: list[Scene]) -> None:
    for house in houses:
        rooms = {room.id: room for room in house.rooms}
        for room in house.rooms:
            for way in room.openings:
                a, b = way.connects
                assert room.id in (a, b)
                assert way.bottom_m < way.top_m < room.height_m
                assert (way.bottom_m == 0) == (way.kind != "window")
                for name in (a, b):
                    if name is not None:
                        assert any(other is way for other in rooms[name].openings)
                        assert on_wall(way.segment_m, rooms[name]), f"{house.id}: {a} to {b}"


def on_wall(segment: np.ndarray, room: Room) -> bool:
    """Whether a segment runs along one wall of a room, half a wall (0.05 m) outside its floor."""
    for p, q in edges(room.floor_polygon_m):
        along = (q - p) / np.linalg.norm(q - p)
        away = (segment - p) @ np.array([along[1], -along[0]])
        place = (segment - p) @ along
        if np.allclose(away, 0.05) and place.min() > 0 and place.max() < np.linalg.norm(q - p):
            return True
    return False


def test_every_opening_is_a_hole_and_everything_else_is_wall(houses: list[Scene]) -> None:
    """Points in the walls, compared with the boxes the walls are meshed from."""
    rng = np.random.default_rng(0)
    for house in houses[:24]:
        solids = []
        for part in house.structure:
            if part.label == "wall":
                points = part.mesh.positions_m @ part.world_from_object[:3, :3].T + part.world_from_object[:3, 3]
                boxes = points.reshape(-1, 24, 3)
                solids.append(np.stack([boxes.min(axis=1), boxes.max(axis=1)], axis=1))
        solid = np.concatenate(solids)
        for room in house.rooms:
            for p, q in edges(room.floor_polygon_m):
                length = np.linalg.norm(q - p)
                along = (q - p) / length
                out = np.array([along[1], -along[0]])
                for place in rng.uniform(0.02, length - 0.02, 4):
                    spot = np.array([*(p + along * place + out * 0.03), rng.uniform(0.1, room.height_m - 0.02)])
                    walled = np.any(np.all((solid[:, 0] < spot) & (spot < solid[:, 1]), axis=1))
                    assert walled != in_opening(spot, p, along, room), f"{house.id}: {room.id} at {spot}"


def in_opening(spot: np.ndarray, p: np.ndarray, along: np.ndarray, room: Room) -> bool:
    for way in room.openings:
        out = np.array([along[1], -along[0]])
        if np.allclose((way.segment_m - p) @ out, 0.05):
            low, high = sorted((way.segment_m - p) @ along)
            if low < (spot[:2] - p) @ along < high and way.bottom_m < spot[2] < way.top_m:
                return True
    return False


def test_rooms_fill_the_house_and_do_not_overlap(houses: list[Scene]) -> None:
    rng = np.random.default_rng(1)
    for house in houses:
        corners = np.concatenate([room.floor_polygon_m for room in house.rooms])
        points = rng.uniform(corners.min(axis=0), corners.max(axis=0), size=(400, 2))
        inside = sum(point_in_polygon(points, room.floor_polygon_m).astype(int) for room in house.rooms)
        assert inside.max() == 1
        assert (inside == 1).mean() > 0.85  # the rest is wall
        assert house.floor_area_m2 == pytest.approx(sum(polygon_area(room.floor_polygon_m) for room in house.rooms))


def test_rooms_are_plausible(houses: list[Scene]) -> None:
    kinds = Counter(room.kind for house in houses for room in house.rooms)
    assert len(kinds) == 10
    assert any(len(room.floor_polygon_m) == 6 for house in houses for room in house.rooms)
    for house in houses:
        for room in house.rooms:
            assert 3.5 < polygon_area(room.floor_polygon_m) < 65
            assert 2.4 <= room.height_m <= 3.0


def test_houses_hold_many_categories_and_answers_worth_asking_for(houses: list[Scene]) -> None:
    counts = [Counter(thing.label for thing in house.objects) for house in houses]
    assert len(set().union(*counts)) >= 60
    for house, count in zip(houses, counts, strict=True):
        assert house.label_counts == count
        if len(house.rooms) >= 4:
            assert sum(n == 1 for n in count.values()) >= 10, house.id
            assert sum(2 <= n <= 8 for n in count.values()) >= 5, house.id


def test_meshes_fill_exactly_their_boxes(houses: list[Scene]) -> None:
    for house in houses:
        for thing in (*house.objects, *house.structure):
            low, high = thing.mesh.positions_m.min(axis=0), thing.mesh.positions_m.max(axis=0)
            assert np.allclose(high - low, thing.size_m, atol=2e-6), thing.id
            assert np.allclose(high + low, 0, atol=2e-6), thing.id


def test_every_object_has_a_colour_and_structure_is_known_by_label(houses: list[Scene]) -> None:
    for house in houses:
        assert all(isinstance(thing.attributes["color"], str) for thing in house.objects)
        assert {part.label for part in house.structure} <= {"wall", "floor", "ceiling", "door", "door frame", "window"}
        assert {"wall", "floor", "ceiling"} <= {part.label for part in house.structure}
