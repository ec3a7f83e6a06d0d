"""Options in another order: whether a letter is preferred, or the published places of the answers are known."""

from __future__ import annotations

from dataclasses import replace

from allocentric.agents.models._draws import item_generator
from allocentric.core.types import Item
from allocentric.eval.honesty._changed import ChangedBenchmark, NotApplicableError
from allocentric.eval.honesty._options import movable, moved
from allocentric.eval.recipe import Plan

_SALT = 0x5AFE


def change(job: Plan) -> Plan:
    """Every item whose options can be moved, with them in an order drawn from the recipe's seed and the item's id.

    All other items are asked as they are. NotApplicableError where no options can be moved.
    """
    items = tuple(_shuffled(job, item) for item in job.items)
    if items == job.items:
        raise NotApplicableError("no item has options that can be moved")
    return replace(job, benchmark=ChangedBenchmark(job.benchmark, items), items=items)


def _shuffled(job: Plan, item: Item) -> Item:
    if not movable(job.benchmark, item):
        return item
    rng = item_generator(job.recipe.seed ^ _SALT, item.id)
    same = list(range(len(item.choices)))
    order = same
    while order == same:
        order = rng.permutation(len(same)).tolist()
    return moved(item, order) or item
