"""Sets of Sparkle questions: boards, what is asked about them, and files that train and evaluate.

    OUT/recipe.yaml            every setting in force; written last, so its presence means the set is complete
    OUT/<split>.jsonl          item records (`core.records`), picture paths relative to the file
    OUT/pictures/<board>.png   one picture per board, shared by its questions

The paper's data are not published, and its counts and prompts could not be read; what is asked here follows its
abstract: direction, distance and localisation as basic tasks, shortest path and travelling salesman as composite ones.
Wording, number of options, balance and margins are our own. Questions about ways end with the same sentence, whether
the ways have one leg (distance) or several (the composite tasks), so that a model which has learnt only the basic
tasks can read the composite ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import yaml
from PIL import Image as PillowImage
from pydantic import Field, model_validator

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import resolved
from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.records import item_to_record
from allocentric.core.runlog import write_atomically
from allocentric.core.types import Item
from allocentric.datasets.sparkle import direction, distance, localisation, shortest_path, travelling_salesman
from allocentric.datasets.sparkle._draft import Deck, Form, Wish
from allocentric.datasets.sparkle.board import Board, draw_board
from allocentric.datasets.sparkle.board import Settings as BoardSettings

Task = Literal["direction", "distance", "localisation", "shortest_path", "travelling_salesman"]
TASKS: dict[Task, Any] = {
    "direction": direction,
    "distance": distance,
    "localisation": localisation,
    "shortest_path": shortest_path,
    "travelling_salesman": travelling_salesman,
}
"""Task -> module with `ask`, `FORMS` and, where answers are balanced, `labels` of a board of so many cells."""
BASIC: tuple[Task, ...] = ("direction", "distance", "localisation")
"""What the paper trains on."""
_TRIES = 2000


class Split(BaseSettings):
    """One file of a set."""

    boards: int = Field(ge=1)
    """Every board is asked every task once, in every form it has."""
    tasks: tuple[Task, ...] = Field(default=tuple(TASKS), min_length=1)
    """What is asked."""
    forms: tuple[Form, ...] = Field(default=("choice",), min_length=1)
    """How; a task is asked in those that it has (`FORMS` of its module): open has no travelling salesman, all only
    localisation."""
    points: tuple[int, int] | None = None
    """Fewest and most points of its boards; None takes those of `board`. Few are easy to begin with."""


class Recipe(BaseSettings):
    """A set."""

    seed: int = Field(default=0, ge=0)
    """Of everything; each split has draws of its own and no board of another."""
    splits: dict[str, Split] = Field(default={"test": Split(boards=500)}, min_length=1)
    """By name, which is that of its file."""
    board: BoardSettings = BoardSettings()
    """What boards are like."""
    options: int = Field(default=3, ge=2, le=6)
    """Of every choice; with more than 3, boards need 5 points for the travelling salesman."""
    margin: float = Field(default=1.2, ge=1.0)
    """Wrong ways are at least this many times as long as the right one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, split in self.splits.items():
            if not self.asked(name):
                raise ValueError(f"splits.{name}: none of {list(split.tasks)} has a form of {list(split.forms)}")
        return self

    def asked(self, split: str) -> list[tuple[Task, Form]]:
        """Tasks of a split with the forms they have."""
        wanted = self.splits[split]
        return [(task, form) for task in wanted.tasks for form in wanted.forms if form in TASKS[task].FORMS]

    def board_of(self, split: str) -> BoardSettings:
        """What boards of a split are like."""
        points = self.splits[split].points
        values = self.board.model_dump() | ({} if points is None else {"points": points})
        return BoardSettings.model_validate(values)


def write_set(recipe: Recipe, folder: Path, *, progress: Progress | None = None) -> dict[str, dict[str, int]]:
    """Draw boards, ask, and write the set; returns the number of items by split and kind.

    The same recipe gives the same bytes. A complete set of the same recipe is left as it is; an incomplete one is made
    again.

    Raises:
        SettingsError: no board is found on which every task can be asked.
        UserError: the folder holds another set, or can't be written.
    """
    told = progress or SilentProgress()
    settings = resolved(recipe)
    _check_folder(folder, settings)
    taken: set[str] = set()
    counts: dict[str, dict[str, int]] = {}
    told.start(sum(split.boards for split in recipe.splits.values()), "boards")
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        for number, split in enumerate(recipe.splits):
            items = _split(recipe, split, np.random.default_rng([recipe.seed, number]), taken, folder, told)
            lines = "".join(json.dumps(item_to_record(item)) + "\n" for item in items)
            write_atomically(folder / f"{split}.jsonl", lines)
            counts[split] = dict(sorted(Counter(item.kind for item in items).items()))
        write_atomically(folder / "recipe.yaml", yaml.safe_dump(settings, sort_keys=False))
    except OSError as error:
        raise UserError(f"cannot write the set {folder}: {error.strerror}") from None
    finally:
        told.stop()
    return counts


def _check_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    try:
        found = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"can't read {folder / 'recipe.yaml'}: {' '.join(str(error).split())}") from None
    if found != settings:
        raise UserError(f"{folder} holds a set of other settings; remove it or give another folder")


def _split(
    recipe: Recipe, split: str, rng: np.random.Generator, taken: set[str], folder: Path, told: Progress
) -> list[Item]:
    asked, settings = recipe.asked(split), recipe.board_of(split)
    options = {key: recipe.options if key[1] == "choice" else 0 for key in asked}
    places = {key: Deck(range(max(options[key], 1)), rng) for key in asked}
    labels = {key: Deck(_labels(key[0], settings.cells), rng) for key in asked}
    items: list[Item] = []
    for _ in range(recipe.splits[split].boards):
        wishes = {
            key: Wish(
                place=int(places[key].draw()),
                options=options[key],
                form=key[1],
                label=str(labels[key].draw()),
                margin=recipe.margin,
            )
            for key in asked
        }
        drawn, made = _board(settings, wishes, rng, taken)
        taken.add(drawn.id)
        PillowImage.fromarray(drawn.picture(settings)).save(folder / "pictures" / f"{drawn.id}.png", compress_level=1)
        items += made
        told.advance(1, split)
    return items


def _labels(task: Task, cells: int) -> tuple[str, ...]:
    balanced = getattr(TASKS[task], "labels", None)
    return ("",) if balanced is None else tuple(balanced(cells))


def _board(
    settings: BoardSettings, wishes: Mapping[tuple[Task, Form], Wish], rng: np.random.Generator, taken: set[str]
) -> tuple[Board, list[Item]]:
    """A new board on which every wish comes true, and the items."""
    for _ in range(_TRIES):
        drawn = draw_board(settings, rng)
        if drawn is None or drawn.id in taken:
            continue
        made: list[Item] = []
        for (task, _), wish in wishes.items():
            item = TASKS[task].ask(drawn, wish, rng)
            if item is None:
                break
            made.append(item)
        else:
            return drawn, made
    raise SettingsError(
        f"no board in {_TRIES} offers {', '.join(sorted({task for task, _ in wishes}))} with these settings; "
        "allow more points, fewer options or a smaller margin"
    )
