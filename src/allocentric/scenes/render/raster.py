"""The default renderer: a rasteriser on OpenGL over EGL, on a GPU or on Mesa's software driver.

All channels come out of one pass into several targets. Triangles that face away and objects outside the frustum are
dropped before the driver sees them, near objects are drawn first so that hidden pixels are never shaded, shadow maps
are drawn once per scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import intrinsics_of
from allocentric.core.types import Camera, Scene
from allocentric.scenes.render import _gl, contract, lights, textures
from allocentric.scenes.render._cube import CubePass, Resolve
from allocentric.scenes.render._shadow import ShadowMaps, bake
from allocentric.scenes.render._silhouettes import Silhouettes, apart
from allocentric.scenes.render._targets import Target, TriangleValues, output_defines, outputs_of
from allocentric.scenes.render._vertices import VERTEX_FORMAT, VERTEX_NAMES, vertices_of
from allocentric.scenes.render._views import ClipView, Culling, clip_view
from allocentric.scenes.render.contract import ALL_CHANNELS, Channel, Frame
from allocentric.scenes.render.flatten import FlatScene, flatten

_TARGETS_KEPT = 4


class Settings(contract.Settings):
    """Settings of the rasteriser."""


def build(scene: Scene, settings: Settings | None = None) -> Raster:
    """Upload a scene. UserError where EGL is missing, DataError where a mesh is malformed."""
    return Raster(scene, settings or Settings())


class Raster:
    """Renderer of one scene; see contract.Renderer."""

    def __init__(self, scene: Scene, settings: Settings) -> None:
        flat = flatten(scene)
        self._flat = flat
        self._settings = settings
        finite = flat.bounds_m[np.isfinite(flat.bounds_m).all(axis=(1, 2))].astype(float)
        self._bounds_m = (
            np.stack([finite[:, 0].min(axis=0), finite[:, 1].max(axis=0)]) if len(finite) else np.full((2, 3), np.nan)
        )
        self._culling = Culling(flat)
        self._values = TriangleValues.of(flat)
        self._lamps = lights.lamps_of(scene)
        self._closed = False
        self._context = _gl.open_context()
        with self._context:
            self._upload(scene, flat)

    def _upload(self, scene: Scene, flat: FlatScene) -> None:
        context = self._context
        self._split = vertices_of(flat)
        vertices, triangles = self._split
        self._triangles = triangles
        self._vertices = context.buffer(vertices.tobytes() or bytes(vertices.dtype.itemsize))
        self._indices = context.buffer(reserve=max(triangles.nbytes, 12), dynamic=True)
        self._shadows: ShadowMaps | None = None
        if self._settings.shadows:
            self._shadows = bake(context, flat, scene, self._lamps, self._bounds_m)
        tiles = textures.tiles()
        self._tiles = context.texture_array((textures.TILE_PX, textures.TILE_PX, len(tiles)), 4, tiles.tobytes())
        self._tiles.build_mipmaps()
        self._tiles.filter = (context.LINEAR_MIPMAP_NEAREST, context.LINEAR)
        self._variants: dict[tuple[tuple[str, ...], bool], _Variant] = {}
        self._silhouettes: Silhouettes | None = None
        self._cube: CubePass | None = None
        self._resolvers: dict[tuple[str, ...], tuple[Any, Any]] = {}
        self._targets: dict[tuple[int, int, tuple[str, ...]], Target] = {}

    # -------------------------------------------------------------------------------------------------- the contract

    def render(self, camera: Camera, channels: Sequence[Channel] = ALL_CHANNELS) -> Frame:
        """Draw what `camera` sees."""
        wanted = contract.checked_channels(channels)
        with self._context:
            draw = self._panorama if camera.model == "equirectangular" else self._planar
            return draw(camera, wanted)

    def silhouette_px(self, camera: Camera, object_indices: Sequence[int]) -> NDArray[np.int64]:
        """(K,) pixels each object would cover in this frame if drawn alone."""
        for index in object_indices:
            contract.check_object(index, self._flat.object_count)
        if len(object_indices) == 0:
            return np.zeros(0, dtype=np.int64)
        with self._context:
            if camera.model == "equirectangular":
                return self._panorama_silhouettes(camera, object_indices)
            if self._silhouettes is None:
                self._silhouettes = Silhouettes(self._context, self._flat)
            view = clip_view(camera, self._bounds_m)
            return self._silhouettes.count(view, camera.width_px, camera.height_px, object_indices)

    def close(self) -> None:
        """Release everything."""
        if not self._closed:
            self._closed = True
            with self._context:
                for target in self._targets.values():
                    target.release()
            self._context.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ planar pictures

    def _planar(self, camera: Camera, wanted: frozenset[Channel]) -> Frame:
        outputs = outputs_of(wanted)
        target = self._target(camera.width_px, camera.height_px, outputs)
        view = clip_view(camera, self._bounds_m)
        variant = self._variant(outputs, parallel=view.parallel)
        order = self._culling.order(view, self._culling.objects_in(view.clip_from_world))
        chosen = self._culling.triangles(order, self._culling.facing(view))
        self._begin(target.framebuffer)
        if len(chosen):
            self._indices.write(self._triangles[chosen])
            variant.surface_uniforms(view)
            variant.surface.render(vertices=3 * len(chosen))
        drawn = target.places()
        if "rgb" in wanted and (drawn is None or drawn.min() == 0):
            self._context.disable(self._context.CULL_FACE)
            variant.background_uniforms(camera)
            variant.background.render(vertices=3)
        return target.read(wanted, self._values, drawn)

    # --------------------------------------------------------------------------------------------------- panoramas

    def _panorama(self, camera: Camera, wanted: frozenset[Channel], only: NDArray[np.bool_] | None = None) -> Frame:
        outputs = outputs_of(wanted)
        if self._cube is None:
            self._cube = CubePass(self._context, self._split, self._culling)
            self._resolve = Resolve(self._context, self._flat)
        if outputs not in self._resolvers:
            arrays = self._resolve.programs(outputs, _light_defines(self._lamps, self._shadows))
            for array in arrays:
                _gl.set_uniforms(array.program, light_uniforms(self._lamps, self._shadows))
            self._resolvers[outputs] = arrays
        atlas = self._cube.draw(camera, self._bounds_m, only)
        target = self._target(camera.width_px, camera.height_px, outputs)
        target.framebuffer.use()
        target.framebuffer.clear(depth=1.0)
        self._use_light_textures()
        self._resolve.draw(self._resolvers[outputs], atlas, camera)
        return target.read(wanted, self._values, target.places())

    def _panorama_silhouettes(self, camera: Camera, objects: Sequence[int]) -> NDArray[np.int64]:
        """Objects whose directions can't overlap are drawn together."""
        counts = np.zeros(len(self._flat.ranges) + 1, dtype=np.int64)
        for group in apart(np.unique(objects), self._flat.bounds_m, np.asarray(camera.world_from_camera)[:3, 3]):
            only = np.zeros(len(self._flat.ranges), dtype=bool)
            only[group] = True
            drawn = self._panorama(camera, frozenset({"id"}), only).id
            assert drawn is not None
            counts += np.bincount(drawn.ravel() + 1, minlength=len(counts))
        return counts[np.asarray(objects, dtype=np.int64) + 1]

    # -------------------------------------------------------------------------------------------------------- shared

    def _begin(self, framebuffer: Any) -> None:
        context = self._context
        framebuffer.use()
        framebuffer.clear(depth=1.0)
        context.enable_only(context.DEPTH_TEST | context.CULL_FACE)
        context.depth_func = "<="
        context.front_face, context.cull_face = (
            "cw",
            "back",
        )  # row 0 of the picture is at the bottom of clip space, which mirrors windings
        self._use_light_textures()

    def _use_light_textures(self) -> None:
        self._tiles.use(0)
        if self._shadows is not None:
            self._shadows.sun.use(1)
            self._shadows.lamps.use(2)

    def _target(self, width_px: int, height_px: int, outputs: tuple[str, ...]) -> Target:
        key = (width_px, height_px, outputs)
        if key not in self._targets:
            while len(self._targets) >= _TARGETS_KEPT:
                self._targets.pop(next(iter(self._targets))).release()
            self._targets[key] = Target(self._context, width_px, height_px, outputs, depth=True)
        return self._targets[key]

    def _variant(self, outputs: tuple[str, ...], *, parallel: bool) -> _Variant:
        key = (outputs, parallel)
        if key not in self._variants:
            defines = {**output_defines(outputs), **({"ORTHOGRAPHIC": 1} if parallel else {})}
            self._variants[key] = _Variant(
                self._context, defines, self._lamps, self._shadows, self._vertices, self._indices
            )
        return self._variants[key]


class _Variant:
    """Programs that write one set of outputs for one kind of camera."""

    def __init__(
        self,
        context: Any,
        defines: Mapping[str, object],
        lamps: lights.Lamps,
        shadows: ShadowMaps | None,
        vertices: Any,
        indices: Any,
    ) -> None:
        defines = {**defines, **_light_defines(lamps, shadows)}
        surface = _gl.program(context, "surface", "surface", defines, parts=("shade",))
        background = _gl.program(context, "full", "background", {**defines, "FULL_DEPTH": 1.0}, parts=("shade",))
        self.surface = context.vertex_array(surface, self._kept(surface, vertices), indices)
        self.background = context.vertex_array(background, [])
        for shader in (surface, background):
            _gl.set_uniforms(shader, light_uniforms(lamps, shadows))

    @staticmethod
    def _kept(shader: Any, vertices: Any) -> list[tuple[Any, ...]]:
        """The buffer with attributes the compiled program dropped as padding."""
        formats, names = [], []
        for part, name in zip(VERTEX_FORMAT.split(), VERTEX_NAMES, strict=True):
            kept = name in shader
            formats.append(part if kept else f"{int(part[0]) * int(part[2])}x")
            names += [name] if kept else []
        return [(vertices, " ".join(formats), *names)]

    def surface_uniforms(self, view: ClipView) -> None:
        """Uniforms of the surfaces' program for one view."""
        _gl.set_uniforms(
            self.surface.program,
            {
                "clip_from_world": np.ascontiguousarray(view.clip_from_world.T, dtype=np.float32),
                "eye": tuple(view.eye_m),
                "far": view.far_m,
                "view_direction": tuple(view.forward),
            },
        )

    def background_uniforms(self, camera: Camera) -> None:
        """Uniforms of the background's program for one camera."""
        world = np.asarray(camera.world_from_camera, dtype=float)[:3, :3]
        parallel = camera.model == "orthographic"
        direction = np.outer(world[:, 2], [0, 0, 1.0]) if parallel else world @ np.linalg.inv(intrinsics_of(camera))
        _gl.set_uniforms(
            self.background.program,
            {"direction_from_pixel": np.ascontiguousarray(direction.T, dtype=np.float32)},
        )


def _light_defines(lamps: lights.Lamps, shadows: ShadowMaps | None) -> dict[str, object]:
    defines: dict[str, object] = {"MAX_LAMPS": max(1, len(lamps.reach_m)), "GLOSS": lights.GLOSS}
    defines |= {"EXPOSURE": lights.EXPOSURE, "WHITE": lights.WHITE, "SHOULDER": lights.SHOULDER}
    if shadows is not None:
        defines |= {"SHADOWS": 1, "SHADOW_LIFT_M": lights.SHADOW_LIFT_M}
    return defines


def light_uniforms(lamps: lights.Lamps, shadows: ShadowMaps | None) -> dict[str, Any]:
    """Uniforms that are the same for every frame of a scene."""
    sun = np.array(lights.SUN) * (lights.FILL if shadows is None else 1.0)
    values: dict[str, Any] = {
        "tile_texture": 0,
        "sun_direction": tuple(lights.SUN_DIRECTION),
        "sun_color": tuple(sun),
        "sky_color": lights.SKY,
        "ground_color": lights.GROUND,
        "lamp_color": lights.LAMP,
        "horizon_color": lights.HORIZON,
        "zenith_color": lights.ZENITH,
    }
    if len(lamps.reach_m):
        values["lamps"] = np.column_stack([lamps.position_m, 1 / lamps.reach_m**2]).astype(np.float32)
    if shadows is not None:
        values |= {
            "sun_shadow": 1,
            "lamp_shadow": 2,
            "lamp_map": shadows.lamp_map,
            "sun_from_world": np.ascontiguousarray(shadows.sun_from_world.T, dtype=np.float32),
        }
    return values
