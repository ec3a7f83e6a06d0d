"""The records that travel through the whole suite.

`source -> Scene -> View -> Item -> Prompt -> Response -> Answer -> Score`. An `Item` is the same record whether a
generator wrote it, a benchmark loaded it, an environment asks it or a trainer learns from it; a `Score` is the same
record on a leaderboard and in a reward. Everything is frozen and keyword-only, and nothing here computes: behaviour
lives in the modules that use these records.

Conventions (CONVENTIONS.md): world right-handed, +z up, metres, radians; cameras have OpenCV axes (+x right, +y down,
+z forward) and pixel centres at +0.5; `a_from_b` maps coordinates in b to coordinates in a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) sRGB."""

# ----------------------------------------------------------------------------------------------------------- scenes

Pattern = Literal[
    "plain", "planks", "wood", "tiles", "bricks", "fabric", "stripes", "checker", "marble", "carpet", "leaves",
    "noise", "books", "picture", "screen",
]  # fmt: skip
"""Procedural textures every renderer knows; evaluated on coordinates of the object, so they need no UVs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """How a surface looks: a procedural pattern between two colours."""

    pattern: Pattern = "plain"
    """Which procedural texture."""
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    """sRGB in [0, 1]."""
    color2: tuple[float, float, float] = (0.6, 0.6, 0.6)
    """sRGB in [0, 1]; the pattern's second colour (grout, grain, stripe)."""
    scale_m: float = 0.2
    """Length of one repeat of the pattern."""
    roughness: float = 0.8
    """0 mirror-like highlight, 1 matte."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mesh:
    """Triangles of one object, in the object's own frame, counter-clockwise seen from outside."""

    positions_m: FloatArray
    """(V, 3) float32."""
    normals: FloatArray
    """(V, 3) float32, unit length."""
    triangles: NDArray[np.int32]
    """(T, 3) indices into positions."""
    vertex_material: NDArray[np.int32]
    """(V,) index into `materials`; the corners of one triangle agree."""
    materials: tuple[Material, ...]
    """At least one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Object:
    """A thing with a box. The box is what answers are computed from; the mesh is what is drawn."""

    id: str
    """Unique in its scene."""
    label: str
    """Category as it is said in a question ("trash bin")."""
    world_from_object: FloatArray
    """(4, 4) float64; origin = centre of the box, axes = axes of the box, local +x = the object's front."""
    size_m: FloatArray
    """(3,) full edge lengths along the object's own axes."""
    mesh: Mesh | None = None
    """None draws the box itself."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: colour names, removed tilt, asset ids ..."""
    room_id: str | None = None
    """Room that holds the object, where known."""
    supported_by: str | None = None
    """Id of the object it stands on; None is the floor, a wall, or unknown."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opening:
    """A hole in a wall."""

    kind: Literal["door", "window", "passage"]
    """A passage is a door frame without a leaf, or a missing wall."""
    segment_m: FloatArray
    """(2, 2) end points in world xy, on the wall's centre line."""
    bottom_m: float
    """Height of the lower edge above the floor."""
    top_m: float
    """Height of the upper edge above the floor."""
    connects: tuple[str, str | None]
    """Room ids on the two sides; None is outside."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Room:
    """A floor with a height."""

    id: str
    """Unique in its scene."""
    kind: str
    """"kitchen", "bedroom" ..., or "unknown"."""
    floor_polygon_m: FloatArray
    """(P, 2) world xy, counter-clockwise, not closed."""
    floor_z_m: float
    """World height of the floor."""
    height_m: float
    """Floor to ceiling."""
    openings: tuple[Opening, ...] = ()
    """Doors and windows in its walls; a door between two rooms is listed in both."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A place with things in it."""

    id: str
    """Unique in its source."""
    objects: tuple[Object, ...]
    """What questions are about. In id images, object k of this tuple has the value k."""
    rooms: tuple[Room, ...] = ()
    """May be empty where a source publishes none."""
    structure: tuple[Object, ...] = ()
    """Walls, floors, ceilings, door leaves: drawn and occluding, never asked about. Part j has id-image value
    len(objects) + j."""
    floor_area_m2: float | None = None
    """Floor area as the source publishes it, else the sum of the room polygons; None where neither is known."""
    label_counts: Mapping[str, int] = field(default_factory=dict)
    """Number of instances by label as the source publishes it; it may differ from the number of boxes."""
    source: str
    """Name of the scene source ("procedural", "vsi_metadata/scannet")."""
    license: str
    """SPDX id, or the name of the terms."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Camera:
    """Where a picture is taken from, and how."""

    model: Literal["pinhole", "equirectangular", "orthographic"] = "pinhole"
    """Equirectangular: centre column looks along +z, row 0 is up. Orthographic: parallel rays along +z."""
    world_from_camera: FloatArray
    """(4, 4) float64, OpenCV axes."""
    width_px: int
    """Columns."""
    height_px: int
    """Rows."""
    intrinsics_px: FloatArray | None = None
    """(3, 3): pinhole u = fx x/z + cx; orthographic u = fx x + cx with fx in px per metre; None: equirectangular."""


class Visibility(NamedTuple):
    """How much of an object one view shows."""

    pixels: int
    """Visible pixels."""
    fraction: float
    """Visible pixels over the pixels of the object's silhouette inside the frame if nothing stood before it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """One picture, maybe not drawn yet."""

    image: Image | Path | Callable[[], Image] | None = None
    """Pixels, a file, or a function that renders them; None where only the geometry matters."""
    camera: Camera | None = None
    """None for pictures without a known pose."""
    time_s: float | None = None
    """Time in the walk or video."""
    visible: Mapping[str, Visibility] = field(default_factory=dict)
    """By object id; objects with no visible pixel are absent."""


# ---------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Choice:
    """Option number `index`, from 0."""

    index: int


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity. Unit "" is a count."""

    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Free text."""

    text: str


@dataclass(frozen=True, slots=True)
class Boxes:
    """Axis-aligned picture boxes (x0, y0, x1, y1)."""

    boxes_px: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A picture point."""

    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of video."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Direction:
    """A gaze direction; yaw + is right of the panorama's centre column, pitch + is up."""

    yaw_rad: float
    pitch_rad: float


@dataclass(frozen=True, slots=True)
class Path2D:
    """Way points in world xy."""

    points_m: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Labels in order."""

    labels: tuple[str, ...]


Answer: TypeAlias = Choice | Number | Text | Boxes | Point | Span | Direction | Path2D | Order


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No answer could be read from a text. Not the same as wrong: counted apart and always shown."""

    reason: str


# ------------------------------------------------------------------------------------------------- items and models


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One operation of the derivation of an answer; `datasets.trace.replay` recomputes `output` from the scene, for
    questions about boards `datasets.sparkle.steps.replay` from the points.
    """

    op: str
    """Name of an operation in `datasets.trace`, or in `datasets.sparkle.steps`."""
    inputs: Mapping[str, Any]
    """JSON values; {"step": k} stands for the output of step k."""
    output: Any
    """JSON value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Why the gold answer is right."""

    object_ids: tuple[str, ...] = ()
    """Objects the answer depends on."""
    frames: tuple[int, ...] = ()
    """Indices into the item's views that show those objects."""
    steps: tuple[Step, ...] = ()
    """The derivation; the last output determines the answer."""
    label: str = ""
    """The answer's meaning ("front-left", "3"): what is balanced, whatever letter it got."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One question with its gold answer."""

    id: str
    """Content hash (`records.item_id`) for generated items, the published id for benchmark items."""
    kind: str
    """Question type ("object_counting")."""
    prompt: str
    """The question itself, without options and without answering instructions."""
    choices: tuple[str, ...] = ()
    """Option texts without letters; empty for open questions."""
    gold: Answer
    """The right answer."""
    views: tuple[View, ...] = ()
    """Pictures shown, in order; empty when they are sampled from `video`."""
    video: Path | None = None
    """Video file to sample views from."""
    scene_id: str
    """The statistical cluster: items of one scene are not independent."""
    evidence: Evidence = field(default_factory=Evidence)
    """Empty for published items without metadata."""
    source: str
    """Where the item comes from ("vsi_bench", "procedural")."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """JSON values a benchmark needs beside the above (published ground-truth string, pruned flag ...)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a model draws its answer."""

    max_new_tokens: int = 16
    """Upper limit of the answer's length."""
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    """Only matters above temperature 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What a model is shown. It never holds the gold answer."""

    item_id: str
    """Which item is asked."""
    text: str
    """The full user text."""
    views: tuple[View, ...] = ()
    """Pictures in order, before the text."""
    as_video: bool = False
    """True hands the views over as one native video, False as separate pictures."""
    system: str | None = None
    """System message."""
    sampling: Sampling = Sampling()
    """Decoding settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What a model said."""

    text: str
    """Raw text; to be parsed, never run."""
    prompt_tokens: int | None = None
    """Tokens read, where the backend tells."""
    completion_tokens: int | None = None
    """Tokens written, where the backend tells."""
    seconds: float | None = None
    """Wall time of the request; for a batch its share."""
    finish_reason: Literal["stop", "length", "error"] = "stop"
    """"length": cut at max_new_tokens; "error": no answer, see `error`."""
    error: str | None = None
    """One line on why there is no answer; the item counts as failed and is asked again on resume."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What a response is worth."""

    value: float | None
    """In [0, 1]; None where the profile leaves the item out of its denominator."""
    answer: Answer | Unreadable
    """What was read from the text."""
    chance: float | None = None
    """Expected value of a uniform guess, where defined."""


class Model(Protocol):
    """Anything that answers prompts. One that holds connections or weights has `close()` too, which lets them go."""

    name: str
    """Shown on the leaderboard."""

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        """One response per prompt, in order. A prompt that cannot be answered gives a Response with `error`."""
        ...


# -------------------------------------------------------------------------------------------------------- episodes


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One step of an episode."""

    observation: Any
    """What the policy saw."""
    text: str | None
    """Raw model text, where a model acted."""
    action: Any
    """What was done."""
    reward: float
    """Reward of the step."""
    terminated: bool
    """The task ended."""
    truncated: bool
    """A limit ended it."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the environment said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """A finished run of a policy in an environment."""

    steps: tuple[Turn, ...]
    """In order."""
    seed: int
    """Seed of the reset."""
    outcome: Mapping[str, Any]
    """Success and metrics."""


class Policy(Protocol):
    """Anything that acts."""

    def reset(self, seed: int) -> None:
        """Forget the last episode."""
        ...

    def act(self, observation: Any) -> Any:
        """Choose an action."""
        ...
