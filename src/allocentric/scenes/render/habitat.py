"""Pictures by habitat-sim, of scenes that come from the scene source `habitat`.

Perspective (centred, square pixels) and equirectangular cameras; colour, depth and semantic ids, no normals. Habitat
lights the scene in its own way. On a machine without a GPU set `gpu_device_id: -1`, which draws with Mesa's software
EGL; the default 0 ends there in habitat's "unable to find CUDA device".

A simulator's sensors have one size, so each new picture size or set of channels opens the scene again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.errors import UserError
from allocentric.core.geometry import intrinsics_of, rays
from allocentric.core.types import Camera, Scene
from allocentric.scenes import _habitat
from allocentric.scenes.render import contract
from allocentric.scenes.render.contract import ALL_CHANNELS, Channel, Frame, Renderer

_CENTRE_TOLERANCE_PX = 1e-6
_SENSOR_NAMES = {"rgb": "COLOR", "depth": "DEPTH", "id": "SEMANTIC"}


class Settings(BaseSettings):
    """Where and how far habitat draws."""

    gpu_device_id: int = Field(default=0, ge=-1)
    """CUDA number of the GPU; -1 draws without one."""
    far_m: float = Field(default=1000.0, gt=0.0)
    """Nothing is drawn beyond."""


def build(scene: Scene, settings: Settings | None = None) -> Habitat:
    """A renderer of one scene. MissingPackageError without habitat-sim, DataError for scenes of other sources."""
    return Habitat(scene, settings or Settings())


class Habitat:
    """Renderer of one scene; see contract.Renderer."""

    def __init__(self, scene: Scene, settings: Settings) -> None:
        self._stage = _habitat.stage_of(scene)
        self._module = _habitat.habitat_sim("the renderer 'habitat'")
        self._scene, self._settings = scene, settings
        self._simulator: Any = None
        self._opened: tuple[Any, ...] | None = None
        self._boxes: Renderer | None = None
        ids = np.array([thing.attributes["semantic_id"] for thing in scene.objects], dtype=np.int64)
        self._order = np.argsort(ids, kind="stable")
        self._semantic_ids = ids[self._order]

    def render(self, camera: Camera, channels: Sequence[Channel] = ALL_CHANNELS) -> Frame:
        """Draw what `camera` sees. UserError for normals, orthographic and off-centre cameras."""
        wanted = contract.checked_channels(channels)
        if "normal" in wanted:
            raise UserError("habitat draws no normals; ask for rgb, depth and id only")
        needed = wanted | {"depth"} if "id" in wanted else wanted  # depth tells the stage from nothing
        simulator = self._simulator_for(camera, tuple(sorted(needed)))
        position, rotation = _habitat.sensor_pose(camera.world_from_camera)
        state = self._module.AgentState()
        state.position = position
        state.rotation = self._module.utils.common.quat_from_coeffs(rotation)
        simulator.get_agent(0).set_state(state)
        seen = simulator.get_sensor_observations()
        depth = _depth_m(camera, seen["depth"]) if "depth" in needed else None
        return Frame(
            rgb=np.array(seen["rgb"][..., :3], dtype=np.uint8) if "rgb" in wanted else None,
            depth_m=depth if "depth" in wanted else None,
            id=self._indices(seen["id"], depth) if "id" in wanted and depth is not None else None,
        )

    def silhouette_px(self, camera: Camera, object_indices: Sequence[int]) -> NDArray[np.int64]:
        """(K,) pixels the boxes of the objects would cover alone: habitat can't draw one object, and boxes hold them.

        At least as many as the objects themselves, so visible fractions are never too large.
        """
        if self._boxes is None:
            from allocentric.scenes.render import raster

            self._boxes = raster.build(replace(self._scene, structure=()), raster.Settings(shadows=False))
        return self._boxes.silhouette_px(camera, object_indices)

    def close(self) -> None:
        """Release everything."""
        if self._simulator is not None:
            self._simulator.close()
        if self._boxes is not None:
            self._boxes.close()
        self._simulator, self._opened, self._boxes = None, None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _simulator_for(self, camera: Camera, channels: tuple[str, ...]) -> Any:
        shape = (camera.model, camera.width_px, camera.height_px, _field_of_view(camera), channels)
        if shape != self._opened:
            if self._simulator is not None:
                self._simulator.close()
            self._simulator = _habitat.open_simulator(
                self._module,
                scene=self._stage.attributes["scene"],
                dataset=self._stage.attributes.get("dataset"),
                gpu_device_id=self._settings.gpu_device_id,
                sensors=[self._sensor(camera, channel) for channel in channels],
            )
            self._opened = shape
        return self._simulator

    def _sensor(self, camera: Camera, channel: str) -> Any:
        if camera.model == "equirectangular":
            spec = self._module.EquirectangularSensorSpec()
        else:
            spec = self._module.CameraSensorSpec()
            spec.hfov = _field_of_view(camera)
        spec.uuid = channel
        spec.sensor_type = getattr(self._module.SensorType, _SENSOR_NAMES[channel])
        spec.resolution = [camera.height_px, camera.width_px]
        spec.position = [0.0, 0.0, 0.0]  # the agent's pose is the camera's
        spec.far = self._settings.far_m
        if channel != "rgb":
            spec.channels = 1
        return spec

    def _indices(self, semantic: Any, depth_m: NDArray[np.float32]) -> NDArray[np.int32]:
        """Habitat's semantic ids -> indices of ours; what is no object is the stage."""
        ids = np.asarray(semantic, dtype=np.int64)
        stage = len(self._scene.objects) + self._scene.structure.index(self._stage)
        out = np.full(ids.shape, stage, dtype=np.int32)
        if len(self._semantic_ids):
            place = np.clip(np.searchsorted(self._semantic_ids, ids), 0, len(self._semantic_ids) - 1)
            known = self._semantic_ids[place] == ids
            out[known] = self._order[place][known]
        out[np.isinf(depth_m)] = -1
        return out


def _field_of_view(camera: Camera) -> float:
    """Horizontal, in degrees as habitat takes it; 360 for panoramas."""
    if camera.model == "equirectangular":
        return 360.0
    if camera.model != "pinhole":
        raise UserError(f"habitat draws pinhole and equirectangular cameras here, got {camera.model!r}")
    intrinsics = intrinsics_of(camera)
    focal_px = intrinsics[0, 0]
    centred = np.array([[focal_px, 0, camera.width_px / 2], [0, focal_px, camera.height_px / 2], [0, 0, 1.0]])
    if np.abs(intrinsics - centred).max() > _CENTRE_TOLERANCE_PX:
        raise UserError("habitat draws cameras with square pixels and the principal point in the middle only")
    return float(np.degrees(2 * np.arctan(camera.width_px / 2 / focal_px)))


def _depth_m(camera: Camera, depth: Any) -> NDArray[np.float32]:
    """Habitat's depth as ours: 0 is nothing, and panoramas hold the depth of the cube's face a pixel falls on.

    The panorama shader reads the depth buffers of the six faces unchanged (habitat-sim, shaders/equirectangular.frag),
    so a range is that depth over the largest part of the pixel's unit direction.
    """
    out = np.array(depth, dtype=np.float32).reshape(camera.height_px, camera.width_px)
    if camera.model == "equirectangular":
        local = rays(camera).directions @ np.asarray(camera.world_from_camera, dtype=float)[:3, :3]
        out /= np.abs(local).max(axis=-1).astype(np.float32)
    out[out <= 0] = np.inf
    return out
