"""The same frames twice in a row: nothing new is seen, so no answer may change.

VSC-Repeat of the "supersanity" study loops the videos of VSI-SUPER Count in this way and sees 42.0 fall to 20.6.
"""

from __future__ import annotations

from dataclasses import replace

from allocentric.eval.honesty._changed import NotApplicableError
from allocentric.eval.recipe import Plan

TIMES = 2


def change(job: Plan) -> Plan:
    """The same questions with the frames shown twice. NotApplicableError where no frames are shown or all repeat."""
    frames = job.recipe.frames
    if frames.count == 0:
        raise NotApplicableError("the plain run shows no pictures")
    if frames.repeat > 1:
        raise NotApplicableError("the plain run repeats its frames already")
    return replace(job, recipe=job.recipe.model_copy(update={"frames": frames.model_copy(update={"repeat": TIMES})}))
