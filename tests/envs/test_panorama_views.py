"""Views agree with a double-precision reference everywhere, seam and poles included, and cost nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.geometry import camera_at, pinhole_intrinsics, project, rays
from allocentric.core.types import Camera, Image
from allocentric.envs.panorama import views
from allocentric.envs.panorama.views import PanoramaStore, ViewEngine, ViewGeometry, panorama_from_image

Draw = Callable[..., Image]
GEOMETRY = ViewGeometry(width_px=160, height_px=120, horizontal_fov_rad=float(np.radians(100.0)))
HEADINGS = [(0.0, 0.0), (np.pi, 0.0), (3.1, 0.4), (1.0, np.pi / 2), (5.5, -np.pi / 2), (2.2, -1.3), (4.0, 1.2)]


def reference_view(image: Image, view: ViewGeometry, yaw_rad: float, pitch_rad: float) -> np.ndarray:
    """Rotation matrices, bilinear sampling in double precision, columns round the seam, rows over the poles."""
    height, width = image.shape[:2]
    focal = view.width_px / 2 / np.tan(view.horizontal_fov_rad / 2)
    u, v = np.meshgrid(np.arange(view.width_px) + 0.5, np.arange(view.height_px) + 0.5)
    local = np.stack([(u - view.width_px / 2) / focal, (v - view.height_px / 2) / focal, np.ones_like(u)], axis=-1)
    about_x, _ = cv2.Rodrigues(np.array([pitch_rad, 0.0, 0.0]))
    about_y, _ = cv2.Rodrigues(np.array([0.0, yaw_rad, 0.0]))
    x, y, z = np.moveaxis(local @ (about_y @ about_x).T, -1, 0)
    column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
    row = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height - 0.5

    def pixel(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        over = (row < 0) | (row >= height)
        row = np.where(row < 0, -1 - row, np.where(row >= height, 2 * height - 1 - row, row))
        return image[row, (column + np.where(over, width // 2, 0)) % width].astype(float)

    r, c = np.floor(row).astype(int), np.floor(column).astype(int)
    dr, dc = (row - r)[..., None], (column - c)[..., None]
    top = pixel(r, c) * (1 - dc) + pixel(r, c + 1) * dc
    return top * (1 - dr) + (pixel(r + 1, c) * (1 - dc) + pixel(r + 1, c + 1) * dc) * dr


@pytest.mark.parametrize(("yaw_rad", "pitch_rad"), HEADINGS)
@pytest.mark.parametrize("noisy", [False, True])
def test_view_is_the_reference_within_half_a_grey_level(
    yaw_rad: float, pitch_rad: float, noisy: bool, smooth_panorama: Draw
) -> None:
    image = smooth_panorama(512)
    if noisy:
        image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8), (0, 0), 2)
    view = ViewEngine(GEOMETRY).view(panorama_from_image(image, "half_pixel"), yaw_rad, pitch_rad)
    difference = np.abs(view - reference_view(image, GEOMETRY, yaw_rad, pitch_rad))
    assert difference.mean() < 0.5
    assert difference.max() < 8


def test_pixels_look_where_the_cameras_of_the_package_look() -> None:
    yaw_rad, pitch_rad, width = 0.7, -0.3, 512
    heading = camera_at(
        [0, 0, 0], yaw_rad=-yaw_rad, pitch_rad=pitch_rad
    )  # headings are counter-clockwise, yaws are not
    intrinsics = pinhole_intrinsics(GEOMETRY.width_px, GEOMETRY.height_px, GEOMETRY.horizontal_fov_rad)
    pinhole = Camera(world_from_camera=heading, width_px=160, height_px=120, intrinsics_px=intrinsics)
    around = Camera(
        model="equirectangular", world_from_camera=camera_at([0, 0, 0], 0.0), width_px=width, height_px=256
    )
    directions = rays(pinhole).directions.reshape(-1, 3)
    uv = project(around, directions).uv_px.reshape(120, 160, 2)
    columns, rows = views.source_px(GEOMETRY, width, yaw_rad, pitch_rad)
    np.testing.assert_allclose(np.mod(columns + 0.5, width), np.mod(uv[..., 0], width), atol=1e-6)
    np.testing.assert_allclose(rows + 0.5, uv[..., 1], atol=1e-6)


def test_fixed_point_positions_are_near_the_exact_ones() -> None:
    for sampling in ("half_pixel", "corner"):
        geometry = ViewGeometry(width_px=64, height_px=50, horizontal_fov_rad=1.5, sampling=sampling)
        for yaw_rad, pitch_rad in HEADINGS:
            columns, rows = ViewEngine(geometry).sampled_px(7680, yaw_rad, pitch_rad)
            exact_columns, exact_rows = views.source_px(geometry, 7680, yaw_rad, pitch_rad)
            off = np.abs((columns - exact_columns + 3840) % 7680 - 3840)
            assert off.max() <= 1 / 64 + (1 / 64 if sampling == "half_pixel" else 2 / 1024)
            assert np.abs(rows - exact_rows).max() <= 1 / 64 + 1e-9


def test_whole_turns_and_the_seam_change_nothing(smooth_panorama: Draw) -> None:
    panorama = panorama_from_image(smooth_panorama(256), "half_pixel")
    engine = ViewEngine(GEOMETRY)
    np.testing.assert_array_equal(engine.view(panorama, 1.0, 0.2), engine.view(panorama, 1.0 + 2 * np.pi, 0.2))
    rolled = panorama_from_image(np.roll(smooth_panorama(256), 64, axis=1), "half_pixel")
    np.testing.assert_array_equal(
        engine.view(panorama, np.pi / 2, 0.2), engine.view(rolled, np.pi, 0.2)
    )  # a quarter turn of the panorama is a quarter turn of the head


def test_corner_sampling_lets_the_bottom_bleed_into_the_top_and_half_pixel_does_not() -> None:
    image = np.zeros((128, 256, 3), dtype=np.uint8)
    image[:64] = 255
    wide = {"width_px": 65, "height_px": 65, "horizontal_fov_rad": 1.0}
    down = -np.pi / 2
    corner = ViewEngine(ViewGeometry(**wide, sampling="corner")).view(panorama_from_image(image, "corner"), 0.3, down)
    centred = ViewEngine(ViewGeometry(**wide)).view(panorama_from_image(image, "half_pixel"), 0.3, down)
    assert corner.max() > 100  # the white sky shows at the nadir
    assert centred.max() == 0


def test_maps_are_built_once_per_pitch(monkeypatch: pytest.MonkeyPatch, smooth_panorama: Draw) -> None:
    built = []
    original = ViewGeometry.directions
    monkeypatch.setattr(ViewGeometry, "directions", lambda self, pitch: built.append(pitch) or original(self, pitch))
    engine = ViewEngine(GEOMETRY)
    panorama = panorama_from_image(smooth_panorama(256), "half_pixel")
    for step in range(20):
        engine.view(panorama, 0.37 * step, 0.1 * (step % 2))
    assert built == [0.0, 0.1]


def test_views_are_new_arrays(smooth_panorama: Draw) -> None:
    engine = ViewEngine(GEOMETRY)
    panorama = panorama_from_image(smooth_panorama(256), "half_pixel")
    first = engine.view(panorama, 0.0, 0.0)
    kept = first.copy()
    engine.view(panorama, 2.0, 0.3)
    np.testing.assert_array_equal(first, kept)


def test_store_decodes_once_and_holds_a_bounded_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smooth_panorama: Draw
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), smooth_panorama(128, seed=index))
    decoded = []
    original = views.read_image
    monkeypatch.setattr(views, "read_image", lambda path: decoded.append(path.name) or original(path))
    one = (64 + 2) * (2 * 128 + 2) * 3
    store = PanoramaStore(capacity_bytes=2 * one)
    for index in (0, 0, 1, 0, 2, 0, 1):
        store.get(paths[index], "half_pixel")
        assert store._held.held_bytes <= 2 * one
    assert decoded == ["0.png", "1.png", "2.png", "1.png"]
    smallest = PanoramaStore(capacity_bytes=1)
    smallest.get(paths[0], "corner")
    smallest.get(paths[1], "corner")
    assert len(smallest._held) == 1


def test_bad_pictures_are_one_clear_line(tmp_path: Path) -> None:
    store = PanoramaStore()
    with pytest.raises(DataError, match="cannot read the picture"):
        store.get(tmp_path / "absent.png", "half_pixel")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not a complete picture"):
        store.get(tmp_path / "cut.jpg", "half_pixel")
    cv2.imwrite(str(tmp_path / "square.png"), np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"square.png is 64x64; expected .* twice as wide"):
        store.get(tmp_path / "square.png", "half_pixel")
