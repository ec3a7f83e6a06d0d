"""The one place where environments open renderers."""

from __future__ import annotations

import os
from typing import Any

from allocentric.core.catalog import RENDERERS
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import UserError
from allocentric.core.types import Scene
from allocentric.scenes.render.contract import Renderer

_drew_in: set[int] = set()
"""Id of the process in which this module first opened a renderer; a fork inherits its parent's."""


def open_renderer(name: str, scene: Scene) -> Renderer:
    """Build a catalogued renderer with its own default settings.

    UserError in a process forked from one that has drawn: drivers hang there.
    """
    _drew_in.add(os.getpid())
    if len(_drew_in) > 1:
        _drew_in.discard(os.getpid())
        raise UserError(
            "this process was forked from one that has drawn pictures, and drivers do not survive that; start "
            "asynchronous environments with make_vec(..., vector_kwargs={'context': 'spawn'})"
        )
    module: Any = RENDERERS.load(name)
    settings = settings_from_mapping(module.Settings, {}, where=f"renderer {name}")
    renderer: Renderer = module.build(scene, settings)
    return renderer
