"""One picture: what needs no view of the whole."""

from __future__ import annotations

from dataclasses import replace

from allocentric.eval.frames import shown_from_video
from allocentric.eval.honesty._changed import NotApplicableError
from allocentric.eval.recipe import Plan


def change(job: Plan) -> Plan:
    """The same questions with the first of the frames the policy chooses among.

    NotApplicableError where the plain run shows at most one picture of every item.
    """
    frames = job.recipe.frames
    if frames.count == 0 or not any(shown_from_video(item) or len(item.views) > 1 for item in job.items):
        raise NotApplicableError("the plain run shows at most one picture")
    if frames.count == 1 and not frames.tail and frames.repeat == 1:
        raise NotApplicableError("the plain run shows one picture already")
    one = frames.model_copy(update={"count": 1, "tail": False, "rate_hz": None, "repeat": 1})
    return replace(job, recipe=job.recipe.model_copy(update={"frames": one}))
