"""HippoVlog: long vlogs with sound; its data set is not public."""

from __future__ import annotations

from typing import NoReturn

from allocentric.core import config
from allocentric.eval.benchmarks._published import refuse

REASON = (
    "the data set linyueqian/HippoVlog is not public, and its record format and prompt are not published "
    "(HippoMM, arXiv 2504.10739)"
)


class Settings(config.Settings):
    """None: there is nothing to ask."""


def build(settings: Settings) -> NoReturn:
    """Refuse with the reason."""
    del settings
    refuse("hippovlog", REASON)
