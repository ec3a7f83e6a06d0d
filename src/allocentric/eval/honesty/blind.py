"""No pictures: what the questions alone give away."""

from __future__ import annotations

from dataclasses import replace

from allocentric.eval.honesty._changed import NotApplicableError
from allocentric.eval.recipe import Plan


def change(job: Plan) -> Plan:
    """The same questions with no frame. NotApplicableError where the plain run shows none."""
    frames = job.recipe.frames
    if frames.count == 0:
        raise NotApplicableError("the plain run is blind already")
    return replace(job, recipe=job.recipe.model_copy(update={"frames": frames.model_copy(update={"count": 0})}))
