"""Pictures from where the walker stands; nothing is built before the first is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from allocentric.core.geometry import camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, Scene
from allocentric.envs.drawing import RendererSpec, open_renderer, renderer_name
from allocentric.envs.exploration.walker import Pose
from allocentric.scenes.render.contract import Channel, Frame, Renderer


class Eyes:
    """A pinhole camera at eye height, drawing with one renderer at a time: that of the scene last looked at."""

    def __init__(
        self, *, renderer: RendererSpec, width_px: int, height_px: int, fov_rad: float, eye_height_m: float
    ) -> None:
        self._spec = renderer
        renderer_name(renderer)  # a wrong name is told now, not at the first picture
        self._size_px = (width_px, height_px)
        self._intrinsics_px = pinhole_intrinsics(width_px, height_px, fov_rad)
        self._eye_height_m = eye_height_m
        self._scene: Scene | None = None
        self._renderer: Renderer | None = None

    def camera(self, pose: Pose, floor_z_m: float) -> Camera:
        """The camera of a pose."""
        eye = [pose.x_m, pose.y_m, floor_z_m + self._eye_height_m]
        return Camera(
            world_from_camera=camera_at(eye, pose.heading_rad, pose.pitch_rad),
            width_px=self._size_px[0],
            height_px=self._size_px[1],
            intrinsics_px=self._intrinsics_px,
        )

    def see(self, scene: Scene, pose: Pose, floor_z_m: float, channels: Sequence[Channel]) -> Frame:
        """What a pose sees."""
        return self._of(scene).render(self.camera(pose, floor_z_m), channels)

    def close(self) -> None:
        """Release the renderer; the next look builds another."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer, self._scene = None, None

    def _of(self, scene: Scene) -> Renderer:
        if self._renderer is None or self._scene is not scene:
            self.close()
            self._renderer, self._scene = open_renderer(self._spec, scene), scene
        return self._renderer
