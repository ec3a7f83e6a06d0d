"""The exact renderer: Open3D's ray-caster (Embree). It needs no graphics driver and checks the rasteriser.

Colours are computed in NumPy with the rasteriser's textures and lights, shadows by rays: slow, but the same look.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.core import geometry
from allocentric.core.errors import MissingPackageError, UserError
from allocentric.core.types import Camera, Scene
from allocentric.scenes.render import contract, lights, shading
from allocentric.scenes.render.contract import ALL_CHANNELS, Channel, Frame
from allocentric.scenes.render.flatten import FlatScene, flatten

Float32 = NDArray[np.float32]

_MISS = np.uint32(0xFFFFFFFF)
_STEP_M = 1e-5
_LAYERS = 64
"""At most this many back faces are passed on one ray."""
_CACHED_RAYS = 4
_PACKAGES = "libusb-1.0-0 libx11-6 libudev1 libidn2-0"


class Settings(contract.Settings):
    """Settings of the ray-caster."""


def build(scene: Scene, settings: Settings | None = None) -> Raycast:
    """Build the ray-caster's tree. UserError where Open3D can't be imported, DataError where a mesh is malformed."""
    return Raycast(scene, settings or Settings())


class Hits(NamedTuple):
    """What rays meet first, from the front."""

    distance: Float32
    """(N,) in units of the ray's direction; inf for none."""
    triangle: NDArray[np.uint32]
    """(N,) index, 0xFFFFFFFF for none."""
    normal: Float32
    """(N, 3) of the triangle; 0 for none."""


class Raycast:
    """Renderer of one scene; see contract.Renderer."""

    def __init__(self, scene: Scene, settings: Settings) -> None:
        self._open3d = _import_open3d()
        self._flat = flatten(scene)
        self.tree = self._tree_of(self._flat, np.ones(len(self._flat.triangles), dtype=bool))
        self._ids = np.append(self._flat.triangle_object, np.int32(-1))
        self._casters = lights.casters_of(scene, self._flat.bounds_m, lights.lamps_of(scene))
        self._shadow_trees: dict[str, Any] = {}
        self._look = shading.Look(scene, self._flat, self._occluded if settings.shadows else None)
        self._rays: dict[tuple[Any, ...], Float32] = {}
        self._alone: dict[int, Any] = {}

    # -------------------------------------------------------------------------------------------------- the contract

    def render(self, camera: Camera, channels: Sequence[Channel] = ALL_CHANNELS) -> Frame:
        """Cast one ray per pixel centre of `camera`."""
        wanted = contract.checked_channels(channels)
        shape = (camera.height_px, camera.width_px)
        rays = self.rays(camera)
        hits = self._first_front(self.tree, rays, self._backs(camera))
        got: dict[str, Any] = {}
        if "depth" in wanted:
            got["depth_m"] = hits.distance.reshape(shape)
        if "id" in wanted:
            got["id"] = np.take(self._ids, hits.triangle, mode="clip").reshape(shape)
        if "normal" in wanted:
            got["normal"] = hits.normal.reshape(*shape, 3)
        if "rgb" in wanted:
            got["rgb"] = self._look.rgb(rays, hits.distance, hits.triangle, camera).reshape(*shape, 3)
        return Frame(**got)

    def silhouette_px(self, camera: Camera, object_indices: Sequence[int]) -> NDArray[np.int64]:
        """(K,) pixels each object would cover in this frame if drawn alone."""
        rays, backs = self.rays(camera), self._backs(camera)
        out = np.zeros(len(object_indices), dtype=np.int64)
        for row, index in enumerate(object_indices):
            contract.check_object(index, self._flat.object_count)
            start, end = self._flat.ranges[index]
            if start == end:
                continue
            near = rays[_may_meet(rays, self._flat.bounds_m[index], parallel=camera.model == "orthographic")]
            if len(near):
                hits = self._first_front(self._object_tree(index), near, np.append(backs[start:end], False))
                out[row] = np.count_nonzero(hits.triangle != _MISS)
        return out

    def close(self) -> None:
        """Forget the trees."""
        self.tree = None
        self._alone.clear()
        self._shadow_trees.clear()
        self._rays.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ----------------------------------------------------------------------------------------------------------- rays

    def rays(self, camera: Camera) -> Float32:
        """(H * W, 6) origins and directions through the pixel centres, world, float32."""
        world = np.asarray(camera.world_from_camera, dtype=np.float64)
        local = self._local_rays(camera)
        rows = np.zeros((6, 4))
        rows[:3, 3] = world[:3, 3]
        if camera.model == "orthographic":
            rows[:3, :3], rows[3:, 3] = world[:3, :3], world[:3, 2]
        else:
            rows[3:, :3] = world[:3, :3]
        return np.asarray(cv2.transform(local[:, None], rows)[:, 0])  # one pass; a strided matmul is ten times slower

    def _local_rays(self, camera: Camera) -> Float32:
        """(H * W, 3) directions in camera axes; origins for an orthographic camera."""
        intrinsics = () if camera.intrinsics_px is None else tuple(np.ravel(camera.intrinsics_px).tolist())
        key = (camera.model, camera.width_px, camera.height_px, intrinsics)
        if key not in self._rays:
            while len(self._rays) >= _CACHED_RAYS:
                self._rays.pop(next(iter(self._rays)))
            at_rest = Camera(
                model=camera.model, world_from_camera=np.eye(4), width_px=camera.width_px,
                height_px=camera.height_px, intrinsics_px=camera.intrinsics_px,
            )  # fmt: skip
            origins, directions = geometry.rays(at_rest)
            local = origins if camera.model == "orthographic" else directions
            self._rays[key] = np.ascontiguousarray(local.reshape(-1, 3), dtype=np.float32)
        return self._rays[key]

    # -------------------------------------------------------------------------------------------------------- casting

    def _tree_of(self, flat: FlatScene, chosen: NDArray[np.bool_] | slice) -> Any:
        tree = self._open3d.t.geometry.RaycastingScene()
        triangles = flat.triangles[chosen]
        if len(triangles):
            tensor = self._open3d.core.Tensor
            tree.add_triangles(
                tensor(np.ascontiguousarray(flat.positions_m)),
                tensor(np.ascontiguousarray(triangles, dtype=np.uint32)),
            )
        return tree

    def _object_tree(self, index: int) -> Any:
        if index not in self._alone:
            start, end = self._flat.ranges[index]
            self._alone[index] = self._tree_of(self._flat, slice(int(start), int(end)))
        return self._alone[index]

    def _cast(self, tree: Any, rays: Float32) -> Hits:
        found = tree.cast_rays(self._open3d.core.Tensor.from_numpy(rays))
        return Hits(found["t_hit"].numpy(), found["primitive_ids"].numpy(), found["primitive_normals"].numpy())

    def _backs(self, camera: Camera) -> NDArray[np.bool_]:
        """(T + 1,) triangles that show `camera` their back; the last entry stands for a miss.

        All rays of a camera start at one point or are parallel, so this needs no work per ray.
        """
        world = np.asarray(camera.world_from_camera, dtype=np.float32)
        normals = self._flat.face_normals
        if camera.model == "orthographic":
            return np.append(np.einsum("ij,j->i", normals, world[:3, 2]) > 0, False)
        return np.append(np.einsum("ij,j->i", normals, world[:3, 3]) < self._flat.face_offsets, False)

    def _first_front(self, tree: Any, rays: Float32, backs: NDArray[np.bool_]) -> Hits:
        """First hits, passing through triangles seen from behind; `backs` is `_backs` of the tree's triangles."""
        hits = self._cast(tree, rays)
        behind = np.flatnonzero(np.take(backs, hits.triangle, mode="clip"))
        for _ in range(_LAYERS):
            if not len(behind):
                break
            length = np.linalg.norm(rays[behind, 3:], axis=1)
            passed = hits.distance[behind] + _STEP_M / length
            onward = rays[behind]
            onward[:, :3] += onward[:, 3:] * passed[:, None]
            again = self._cast(tree, onward)
            hits.distance[behind] = again.distance + passed
            hits.triangle[behind] = again.triangle
            hits.normal[behind] = again.normal
            behind = behind[np.take(backs, again.triangle, mode="clip")]
        return hits

    def _occluded(self, light: str, rays: Float32, far: Float32) -> NDArray[np.bool_]:
        """(N,) whether something that casts shadows of this light lies on each ray before `far` (N,)."""
        if light not in self._shadow_trees:
            casting = getattr(self._casters, light)[self._flat.triangle_object]
            self._shadow_trees[light] = self._tree_of(self._flat, casting)
        tensor = self._open3d.core.Tensor.from_numpy
        segments = rays.copy()
        segments[:, 3:] *= np.minimum(far, np.float32(1e4))[:, None]
        blocked: NDArray[np.bool_] = self._shadow_trees[light].test_occlusions(tensor(segments), 0.0, 1.0).numpy()
        return blocked


def _may_meet(rays: Float32, bounds_m: Float32, *, parallel: bool) -> NDArray[np.bool_]:
    """Rays that come near the sphere around a box."""
    centre = bounds_m.mean(axis=0)
    radius = np.linalg.norm(bounds_m[1] - bounds_m[0]) / 2 * 1.01 + 1e-3
    offset = centre - rays[:, :3]
    direction = rays[:, 3:] / np.linalg.norm(rays[:, 3:], axis=1, keepdims=True)
    ahead = np.einsum("ij,ij->i", offset, direction)
    if not parallel:
        ahead = np.where(np.linalg.norm(offset, axis=1) < radius, 1e9, ahead)
    aside_squared = np.einsum("ij,ij->i", offset, offset) - ahead**2
    return np.asarray((ahead > -radius) & (aside_squared < radius**2))


def _import_open3d() -> Any:
    try:
        import open3d
    except ModuleNotFoundError as error:
        package = error.name or "open3d"
        raise MissingPackageError(
            "open3d-cpu" if package == "open3d" else package, needed_for="the renderer 'raycast'"
        ) from None
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"Open3D, which the renderer 'raycast' uses, can't load a system library ({reason}); "
            f"run: apt-get install {_PACKAGES}"
        ) from None
    return open3d
