"""The one place where environments open renderers."""

from __future__ import annotations

import os
from typing import Any

from pydantic import JsonValue

from allocentric.core.catalog import RENDERERS
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import SettingsError, UserError
from allocentric.core.types import Scene
from allocentric.scenes.render.contract import Renderer

_drew_in: set[int] = set()
"""Id of the process in which this module first opened a renderer; a fork inherits its parent's."""


RendererSpec = str | dict[str, JsonValue]
"""Name of a catalogued renderer, or {"name": ..., ...its settings}."""


def renderer_name(spec: RendererSpec) -> str:
    """The catalogue's name of a renderer; UserError where there is none."""
    name = spec if isinstance(spec, str) else spec.get("name")
    if not isinstance(name, str):
        raise SettingsError("renderer: expected a name, or {'name': a renderer, ...its settings}")
    return RENDERERS.resolve(name)


def open_renderer(spec: RendererSpec, scene: Scene) -> Renderer:
    """Build a catalogued renderer.

    UserError in a process forked from one that has drawn: drivers hang there.
    """
    _drew_in.add(os.getpid())
    if len(_drew_in) > 1:
        _drew_in.discard(os.getpid())
        raise UserError(
            "this process was forked from one that has drawn pictures, and drivers do not survive that; start "
            "asynchronous environments with make_vec(..., vector_kwargs={'context': 'spawn'})"
        )
    name = renderer_name(spec)
    module: Any = RENDERERS.load(name)
    values = {} if isinstance(spec, str) else {key: value for key, value in spec.items() if key != "name"}
    settings = settings_from_mapping(module.Settings, values, where=f"renderer {name}")
    renderer: Renderer = module.build(scene, settings)
    return renderer
