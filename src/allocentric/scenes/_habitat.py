"""What the habitat source and the habitat renderer share: the package, the axes, and opening a simulator.

Written against habitat-sim 0.3.4. Habitat's world is +y up and its cameras look along -z; ours is +z up and cameras
have OpenCV axes. A stage mesh is taken as +z up in its file, as habitat takes it by default, so its coordinates are
those of our world.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.errors import DataError, MissingPackageError
from allocentric.core.types import Object, Scene

Array = NDArray[np.float64]

COMMAND = "conda install habitat-sim=0.3.4 headless -c conda-forge -c aihabitat"
HABITAT_FROM_WORLD: Array = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(3, 3): x is x, habitat's y is our z, habitat's z is our -y."""
_SENSOR_FROM_CAMERA: Array = np.diag([1.0, -1.0, -1.0])
STAGE = "stage"
"""Id and label of the structure part that stands for everything without a semantic object; its attributes say what
habitat loads."""


def habitat_sim(needed_for: str) -> Any:
    """The package; MissingPackageError with the conda command where it is absent."""
    try:
        return importlib.import_module("habitat_sim")
    except ModuleNotFoundError as error:
        if error.name != "habitat_sim":
            raise
        raise MissingPackageError("habitat-sim", needed_for=needed_for, command=COMMAND) from None


def habitat_from_world(points_m: ArrayLike) -> Array:
    """World points (..., 3) in habitat's axes."""
    return np.asarray(np.asarray(points_m, dtype=float) @ HABITAT_FROM_WORLD.T)


def world_from_habitat(points_m: ArrayLike) -> Array:
    """Habitat's points (..., 3) in ours."""
    return np.asarray(np.asarray(points_m, dtype=float) @ HABITAT_FROM_WORLD)


def sensor_pose(world_from_camera: ArrayLike) -> tuple[Array, Array]:
    """Position (3,) and rotation (4,) xyzw of a sensor in habitat that sees what our camera sees."""
    from scipy.spatial.transform import Rotation

    pose = np.asarray(world_from_camera, dtype=float)
    turn = HABITAT_FROM_WORLD @ pose[:3, :3] @ _SENSOR_FROM_CAMERA
    return habitat_from_world(pose[:3, 3]), np.asarray(Rotation.from_matrix(turn).as_quat())


def open_simulator(
    module: Any, *, scene: str, dataset: str | None, gpu_device_id: int, sensors: Sequence[Any] = ()
) -> Any:
    """A simulator of one scene, without physics. `scene` is a stage file, or a name in the dataset's configuration."""
    simulator = module.SimulatorConfiguration()
    simulator.scene_id = scene
    if dataset is not None:
        simulator.scene_dataset_config_file = dataset
    simulator.gpu_device_id = gpu_device_id
    simulator.enable_physics = False
    agent = module.agent.AgentConfiguration()
    agent.sensor_specifications = list(sensors)
    return module.Simulator(module.Configuration(simulator, [agent]))


def stage_of(scene: Scene) -> Object:
    """The structure part that says what habitat loads; DataError where the scene is not habitat's."""
    for part in scene.structure:
        if part.id == STAGE and "scene" in part.attributes:
            return part
    raise DataError(f"scene {scene.id!r} does not come from the scene source 'habitat', so habitat can't draw it")
