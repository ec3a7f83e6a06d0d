"""The exact reader: everything recalled answers everything, nothing recalled is a guess, half is in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from whole_house import WholeHouse

from allocentric.agents.memory.contract import Block, Recalled
from allocentric.core.types import Choice, Item, Number
from allocentric.datasets.supersensing._course import PERTURBATIONS
from allocentric.datasets.supersensing.quiz import Quiz
from allocentric.eval.streaming.reader import ExactReader, Reading

MakeQuiz = Callable[..., Quiz]


def recalled(frames: Sequence[int], made: Quiz, resolution: float = 1.0) -> Recalled:
    blocks = [Block(times_s=(made.stream.time_s(frame),), resolution=resolution) for frame in frames]
    return Recalled(blocks=tuple(blocks))


def worths(made: Quiz, memory: Recalled) -> dict[str, list[float]]:
    reader = ExactReader(WholeHouse(made.stream))
    found: dict[str, list[float]] = {}
    for item in made.items:
        found.setdefault(item.kind, []).append(reader.read(item, memory).worth(item))
    return found


@pytest.mark.parametrize(
    "perturbation", ["plain", *(pytest.param(one, marks=pytest.mark.slow) for one in PERTURBATIONS if one != "plain")]
)
def test_who_recalls_everything_is_right_about_everything(make_quiz: MakeQuiz, perturbation: str) -> None:
    made = make_quiz(8.0 if perturbation in ("revisit", "repeat") else 4.0, perturbation)
    found = worths(made, recalled(range(len(made.stream)), made))
    assert set(found) == {"recall", "count", "where_metres", "where_direction", "where_way_back", "change"}
    assert {kind: set(values) for kind, values in found.items()} == {kind: {1.0} for kind in found}


def test_who_recalls_nothing_guesses(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    found = worths(made, Recalled())
    for kind in ("recall", "where_direction", "where_way_back", "change"):
        assert found[kind] == pytest.approx([0.25] * len(found[kind]))
    assert set(found["count"]) == set(found["where_metres"]) == {0.0}


@pytest.mark.slow
def test_only_what_is_recalled_is_known(make_quiz: MakeQuiz) -> None:
    """Frames of the second half, of which a revisited course has everything but the order, are not enough."""
    made = make_quiz(8.0, "revisit")
    later = worths(made, recalled(range(len(made.stream) // 2, len(made.stream)), made))
    assert max(later["recall"]) < 1.0
    assert max(later["where_metres"]) < 1.0
    assert sum(later["change"]) < len(later["change"])


def test_a_frame_tells_part_of_an_order(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    item = next(item for item in made.items if item.kind == "recall")
    label, frames = item.extra["asks"]["thing"], made.stream.settings.stretch_frames
    there = [k for k, visit in enumerate(made.stream.visits) if any(p.label == label for p in visit.edit.put)]
    reader = ExactReader(WholeHouse(made.stream))
    weights = [
        max(reader.read(item, recalled([stretch * frames for stretch in there[:count]], made)).options)
        for count in range(5)
    ]
    assert weights[0] == weights[1] == 0.25
    assert weights == sorted(weights)
    assert weights[4] == 1.0


@pytest.mark.slow
def test_closed_segments_are_added_and_double_what_is_played_twice(make_quiz: MakeQuiz) -> None:
    made = make_quiz(8.0, "repeat")
    reader = ExactReader(WholeHouse(made.stream))
    item = next(item for item in made.items if item.kind == "count")
    half, total = len(made.stream) // 2, len(made.stream)
    query = reader.query(item)
    counted = sum(reader.count(query, recalled(part, made)) for part in (range(half), range(half, total)))
    read = reader.read(item, Recalled(counted=counted))
    assert isinstance(item.gold, Number)
    assert read.number == 2 * item.gold.value
    assert read.worth(item) == 0.0


def test_merged_blocks_show_all_their_frames_and_pooled_ones_less(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    item = next(item for item in made.items if item.kind == "count")

    class Small(WholeHouse):
        def pixels(self, visit):
            return tuple(dict.fromkeys(frame, 13) for frame in super().pixels(visit))

    times = tuple(made.stream.time_s(frame) for frame in range(len(made.stream)))
    reader = ExactReader(Small(made.stream))  # 13 pixels of 64 x 48 are just enough at full resolution
    assert reader.read(item, Recalled(blocks=(Block(times_s=times),))).worth(item) == 1.0
    assert reader.read(item, Recalled(blocks=(Block(times_s=times, resolution=0.5),))).number == 0.0


def test_a_map_in_text_is_read(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    reader = ExactReader(WholeHouse(made.stream))
    head = "cells of 0.5 m: (column, row) = (floor(x / 0.5), floor(y / 0.5))"

    def item(kind: str, gold: Choice | Number, choices: tuple[str, ...] = (), **asks: object) -> Item:
        return Item(
            id="x", kind=kind, prompt="?", choices=choices, gold=gold, scene_id="s", source="t",
            extra={"asks": asks, "time_s": 240.0},
        )  # fmt: skip

    lamps = (head, "lamp at (0, 0), seen 2.0-4.0 s", "lamp at (9, 0), seen 6.0-8.0 s")
    assert reader.read(item("count", Number(2.0), thing="lamp"), Recalled(notes=lamps)).number == 2.0
    near = (*lamps, "sofa at (-4, 0), seen 3.0-5.0 s")
    assert reader.read(item("where_metres", Number(2.0, "m"), thing="lamp", other="sofa"), Recalled(notes=near)) == (
        Reading(number=2.0)
    )
    places = (head, "bear at (0, 0), seen 9.0-9.5 s", "bed at (1, 0), seen 8.0-9.0 s",
              "bear at (20, 0), seen 2.0-3.0 s", "sink at (21, 0), seen 1.0-3.0 s")  # fmt: skip
    orders = [["sink", "bed"], ["bed", "sink"]]
    recall = item("recall", Choice(0), ("sink, bed", "bed, sink"), thing="bear", places=["bed", "sink"], orders=orders)
    assert reader.read(recall, Recalled(notes=places)).options == (1.0, 0.0)
    changes = ["moved", "appeared", "vanished", "stayed"]
    change = item("change", Choice(0), tuple(changes), thing="lamp", outcomes=changes)
    assert reader.read(change, Recalled(notes=lamps)).options == (1.0, 0.0, 0.0, 0.0)
    assert reader.read(change, Recalled(notes=(head, "lamp at (1, 1), seen 2.0-90.0 s"))).options == (0, 0, 0, 1.0)
    assert reader.read(change, Recalled(notes=(head,))).options == (0.25,) * 4


def test_events_in_text_tell_an_order(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    reader = ExactReader(WholeHouse(made.stream))
    item = next(item for item in made.items if item.kind == "recall")
    places = item.choices[item.gold.index].split(", ")
    thing = item.extra["asks"]["thing"]
    notes = [f"event {10 * k}.0-{10 * k + 5}.0 s: {thing}, {place}" for k, place in enumerate(places)]
    assert reader.read(item, Recalled(notes=tuple(notes))).worth(item) == 1.0
    assert reader.read(item, Recalled(notes=("event 1.0-2.0 s: nothing else",))).worth(item) == 0.25


def test_other_items_are_refused(make_quiz: MakeQuiz) -> None:
    made = make_quiz(4.0, "plain")
    item = Item(id="x", kind="size", prompt="?", gold=Number(1.0), scene_id="s", source="t")
    with pytest.raises(ValueError, match="kind 'size'"):
        ExactReader(WholeHouse(made.stream)).read(item, Recalled())
