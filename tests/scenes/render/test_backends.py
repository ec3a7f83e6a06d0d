"""Both backends against analytic answers, and against each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from render_test_scenes import box, box_scene, panorama, pinhole, room_scene

from allocentric.core.catalog import RENDERERS
from allocentric.core.errors import DataError, UserError
from allocentric.core.geometry import look_at, project, rays
from allocentric.core.types import Camera
from allocentric.scenes.render import raster, raycast, topdown

BACKENDS = {"raster": raster, "raycast": raycast}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request):
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple]:
    scene = room_scene()
    with raster.build(scene) as fast, raycast.build(scene) as exact:
        yield scene, fast, exact


VIEWS = {
    "pinhole": [pinhole((0, 0, 1.4), yaw, -0.3, (320, 240)) for yaw in (0.3, 1.7, 3.5, 5.1)],
    "equirectangular": [panorama((0.1, 0.0, 1.4), yaw, 1024) for yaw in (0.0, 2.2)],
    "orthographic": [topdown.orthographic_camera(room_scene(), 401)],
}


@pytest.mark.parametrize("model", VIEWS)
def test_backends_agree(pair, model):
    _, fast, exact = pair
    for camera in VIEWS[model]:
        a, b = fast.render(camera), exact.render(camera)
        assert np.mean(a.id == b.id) >= 0.995
        both = (a.id == b.id) & (a.id >= 0)
        assert both.mean() > 0.4  # the rest is sky
        assert np.mean(np.abs(a.depth_m[both] - b.depth_m[both]) < 1e-3) >= 0.99
        assert np.mean(np.abs(a.normal[both] - b.normal[both]).max(axis=-1) < 1e-3) >= 0.99
        assert np.mean(np.abs(a.rgb[both].astype(int) - b.rgb[both])) < 2.5  # shadow edges and mip levels


def test_backends_agree_on_metadata_like_boxes():
    rng = np.random.default_rng(5)
    things = [
        box(f"b{k}", (*rng.uniform(-3, 3, 2), 0.5), tuple(rng.uniform(0.1, 0.9, 3)), rng.uniform(-3, 3))
        for k in range(300)
    ]
    scene = box_scene(*things)
    camera = pinhole((-6, 0, 2.5), 0.0, -0.3)
    with raster.build(scene) as fast, raycast.build(scene) as exact:
        a, b = fast.render(camera), exact.render(camera)
    assert np.mean(a.id == b.id) >= 0.995
    assert (a.id == -1).any()
    assert np.isinf(a.depth_m[a.id == -1]).all()
    assert (a.normal[a.id == -1] == 0).all()


def test_cube_ahead_has_exact_depth_id_and_edges(backend):
    scene = box_scene(box("cube", (3.0, 0.0, 1.0), (1.0, 1.0, 1.0)))
    camera = pinhole((0, 0, 1.0), 0.0, size=(200, 200))
    with backend.build(scene) as renderer:
        frame = renderer.render(camera)
    corners = project(camera, np.array([[2.5, y, z] for y in (-0.5, 0.5) for z in (0.5, 1.5)])).uv_px
    low, high = corners.min(axis=0), corners.max(axis=0)
    u, v = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    inside = (u > low[0]) & (u < high[0]) & (v > low[1]) & (v < high[1])
    assert (frame.id == np.where(inside, 0, -1)).all()
    assert frame.depth_m[inside] == pytest.approx(2.5, abs=1e-5)
    assert np.allclose(frame.normal[inside], [-1, 0, 0], atol=1e-6)


def test_every_hit_lies_on_its_ray_at_its_depth(pair):
    scene, fast, _ = pair
    for camera in (VIEWS["pinhole"][0], VIEWS["equirectangular"][0]):
        frame, ray = fast.render(camera), rays(camera)
        points = ray.origins_m + ray.directions * frame.depth_m[..., None]
        for index, thing in enumerate(scene.objects[:8]):
            local = (points[frame.id == index] - thing.world_from_object[:3, 3]) @ thing.world_from_object[:3, :3]
            if len(local):
                off = np.abs(np.abs(local) - thing.size_m / 2).min(axis=1)
                assert np.quantile(off, 0.98) < 1e-3


def test_left_is_left_and_up_is_up(backend):
    scene = box_scene(
        box("left", (3, 1, 1), (0.5, 0.5, 0.5)), box("right", (3, -1, 1), (0.5, 0.5, 0.5)),
        box("high", (3, 0, 2.2), (0.5, 0.5, 0.5)), box("behind", (-3, 0, 1), (0.5, 0.5, 0.5)),
    )  # fmt: skip
    with backend.build(scene) as renderer:
        for camera in (pinhole((0, 0, 1), 0.0), panorama((0, 0, 1), 0.0)):
            ids = renderer.render(camera, ("id",)).id
            middle = [np.argwhere(ids == k).mean(axis=0) for k in range(3)]
            assert middle[0][1] < middle[2][1] < middle[1][1]
            assert middle[2][0] < middle[0][0]
        assert (ids[:, [0, -1]] == 3).any(axis=0).all()  # what is behind lies across the panorama's seam
        turned = renderer.render(panorama((0, 0, 1), np.pi / 2), ("id",)).id
        assert np.argwhere(turned == 0).mean(axis=0)[1] > turned.shape[1] / 2  # a turn to the left moves all right


def test_rolled_camera(backend):
    scene = box_scene(box("left", (3, 1, 1), (0.5, 0.5, 0.5)))
    upright = pinhole((0, 0, 1), 0.0, size=(120, 120))
    roll = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    rolled = replace(upright, world_from_camera=upright.world_from_camera @ roll)
    with backend.build(scene) as renderer:
        a, b = renderer.render(upright, ("id",)).id, renderer.render(rolled, ("id",)).id
    assert (a == 0).any()
    expected = project(rolled, np.array([[3, 1, 1.0]])).uv_px[0]
    assert np.argwhere(b == 0).mean(axis=0)[::-1] == pytest.approx(expected, abs=4)


def test_off_centre_skewed_intrinsics(backend):
    camera = pinhole((0, 0, 1), 0.0)
    lens = np.array([[90.0, 7.0, 61.5], [0, 110.0, 70.25], [0, 0, 1]])
    camera = replace(camera, intrinsics_px=lens)
    centre = np.array([[3.0, 0.4, 1.2]])
    with backend.build(box_scene(box("dot", tuple(centre[0]), (0.1, 0.1, 0.1)))) as renderer:
        ids = renderer.render(camera, ("id",)).id
    assert np.argwhere(ids == 0).mean(axis=0)[::-1] + 0.5 == pytest.approx(project(camera, centre).uv_px[0], abs=0.6)


def test_thin_walls_are_seen_from_both_sides(backend):
    scene = box_scene(structure=(box("wall", (0, 0, 1), (0.001, 4, 2)),))
    with backend.build(scene) as renderer:
        for x, yaw in ((-1.0, 0.0), (1.0, np.pi)):
            frame = renderer.render(pinhole((x, 0, 1), yaw), ("id", "depth"))
            assert frame.id[60, 80] == 0
            assert frame.depth_m[60, 80] == pytest.approx(0.9995, abs=1e-4)


def test_camera_inside_a_box_looks_out_of_it(backend):
    scene = box_scene(box("around", (0, 0, 1), (1, 1, 1)), box("ahead", (3, 0, 1), (1, 1, 1)))
    with backend.build(scene) as renderer:
        assert renderer.render(pinhole((0, 0, 1), 0.0), ("id",)).id[60, 80] == 1


def test_silhouettes_ignore_what_stands_before(backend):
    scene = box_scene(box("wall", (1, 0, 1), (0.2, 6, 4)), box("cube", (3, 0, 1), (1, 1, 1)))
    alone = box_scene(scene.objects[1])
    for camera in (pinhole((0, 0, 1), 0.0), panorama((0, 0, 1), 0.4)):
        with backend.build(scene) as renderer, backend.build(alone) as other:
            before = renderer.render(camera)
            assert not (before.id == 1).any()
            counted = renderer.silhouette_px(camera, [1, 0])
            expected = np.count_nonzero(other.render(camera, ("id",)).id == 0)
            assert counted[0] == expected
            after = renderer.render(camera)  # counting leaves nothing behind
            assert all(np.array_equal(getattr(before, n), getattr(after, n)) for n in ("rgb", "depth_m", "id"))


def test_silhouettes_of_backends_agree(pair):
    scene, fast, exact = pair
    every = list(range(len(scene.objects)))
    a, b = (r.silhouette_px(VIEWS["pinhole"][0], every) for r in (fast, exact))
    assert np.abs(a - b).max() <= 3
    a, b = (r.silhouette_px(VIEWS["equirectangular"][0], every) for r in (fast, exact))
    assert np.all(np.abs(a - b) <= 3 + 0.03 * b)


def test_same_call_same_bytes_and_two_renderers_do_not_disturb_each_other(backend):
    first, second = room_scene(), box_scene(box("cube", (1, 0, 1), (0.3, 0.3, 0.3)))
    cameras = (VIEWS["pinhole"][1], panorama((0, 0, 1.2), 0.3, 128))
    with backend.build(first) as a, backend.build(second) as b:
        for camera in cameras:
            one, other, again = a.render(camera), b.render(camera), a.render(camera)
            assert one.rgb.tobytes() == again.rgb.tobytes()
            assert one.depth_m.tobytes() == again.depth_m.tobytes()
            assert one.rgb.tobytes() != other.rgb.tobytes()


def test_channels_asked_for_one_by_one_are_the_same(backend):
    with backend.build(room_scene()) as renderer:
        for camera in (VIEWS["pinhole"][0], panorama((0, 0, 1.2), 0.3, 128)):
            every = renderer.render(camera)
            for channel, name in (("rgb", "rgb"), ("depth", "depth_m"), ("id", "id"), ("normal", "normal")):
                alone = renderer.render(camera, (channel,))
                assert np.array_equal(getattr(alone, name), getattr(every, name))
                others = {"rgb", "depth_m", "id", "normal"} - {name}
                assert all(getattr(alone, other) is None for other in others)


def test_shadows_darken(backend):
    scene = box_scene(box("block", (0, 0, 1.5), (1, 1, 0.2)), structure=(box("floor", (0, 0, -0.05), (6, 6, 0.1)),))
    camera = replace(pinhole((0, 0, 0), 0, size=(80, 80)), world_from_camera=look_at((0, 0, 6), (0, 0, 0)))
    with backend.build(scene, backend.Settings(shadows=True)) as renderer:
        frame = renderer.render(camera)
    floor = frame.rgb[frame.id == 1].mean(axis=1)
    assert floor.min() < 0.75 * np.median(floor)  # the block's shadow
    lit_share = np.mean(floor > 0.9 * np.median(floor))
    assert 0.8 < lit_share < 0.995  # and nothing else is dark: no acne


def test_empty_scene_is_sky(backend):
    with backend.build(box_scene()) as renderer:
        for camera in (pinhole((0, 0, 1), 0.0), panorama((0, 0, 1), 0.0, 64)):
            frame = renderer.render(camera)
            assert (frame.id == -1).all()
            assert frame.rgb.min() > 100


def test_malformed_mesh_is_named(backend):
    from allocentric.scenes.render.flatten import box_mesh

    thing = box("broken", (0, 0, 0), (1, 1, 1))
    mesh = box_mesh(thing)
    broken = replace(thing, mesh=replace(mesh, triangles=mesh.triangles + 100))
    with pytest.raises(DataError, match="'broken'"):
        backend.build(box_scene(broken))


def test_unknown_channel_and_object(backend):
    with backend.build(box_scene(box("a", (0, 0, 0), (1, 1, 1)))) as renderer:
        with pytest.raises(ValueError, match="channels"):
            renderer.render(pinhole((2, 0, 0), 0.0), ("colour",))
        with pytest.raises(IndexError, match="1 objects"):
            renderer.silhouette_px(pinhole((2, 0, 0), 0.0), [1])


def test_closing_twice_is_fine_and_frees_the_context():
    renderer = raster.build(box_scene(box("a", (0, 0, 0), (1, 1, 1))))
    renderer.render(Camera(**vars_of(pinhole((2, 0, 0), 0.0))))
    renderer.close()
    renderer.close()


def vars_of(camera: Camera) -> dict:
    return {name: getattr(camera, name) for name in Camera.__slots__}


def test_missing_egl_is_one_line(monkeypatch):
    import moderngl

    def refuse(**kwargs):
        raise ImportError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_context", refuse)
    with pytest.raises(UserError, match=r"apt-get install libegl1 .* 'raycast'") as caught:
        raster.build(box_scene())
    assert "\n" not in str(caught.value)


def test_missing_system_library_of_open3d_is_one_line(monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "open3d":
                raise ImportError("libusb-1.0.so.0: cannot open shared object file")

    for name in [name for name in sys.modules if name.split(".")[0] == "open3d"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(UserError, match=r"libusb-1\.0-0") as caught:
        raycast.build(box_scene())
    assert "\n" not in str(caught.value)


def test_catalog_lists_the_two_backends():
    assert {"raster", "raycast"} <= set(RENDERERS.names())


def test_triton_may_be_imported_after_a_context() -> None:
    """Two LLVMs in one process: in the wrong order it dies with a segmentation fault."""
    pytest.importorskip("triton")
    code = "from allocentric.scenes.render._gl import open_context; open_context(); import triton; print('alive')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "alive\n", result.stderr
