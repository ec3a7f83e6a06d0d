"""What every memory policy must keep, run over everything in the catalog."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import FunctionType, MethodType, ModuleType

import numpy as np
import pytest

from allocentric.agents.encoders.contract import Encoder, Features, unit
from allocentric.agents.memory.contract import Block, Memory, Query, Recalled
from allocentric.agents.memory.errors import (
    BudgetTooSmallError,
    DuplicateTimeError,
    FeatureSizeError,
    FrameOrderError,
    NothingSeenError,
    QueryTimeError,
    WordsNeededError,
)
from allocentric.core.catalog import MEMORY
from allocentric.core.geometry import camera_at, pinhole_intrinsics
from allocentric.core.types import Camera, FloatArray, View

LABELS = ("bed", "chair", "lamp", "sofa")
ASK = Query(text="Where is the chair?", labels=("chair",))


class Swatches(Encoder):
    """A 2x2 grid of mean colours; a word is a direction in colour space."""

    name = "swatches"
    width = 3
    vocabulary = LABELS
    has_words = True

    def encode(self, view: View) -> Features:
        image = view.image() if callable(view.image) else view.image
        assert isinstance(image, np.ndarray)
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        patches = image.reshape(2, rows, 2, columns, 3).mean(axis=(1, 3)).reshape(4, 3) / 127.5 - 1
        patches_PD = patches.astype(np.float32)
        return Features(patches_PD=patches_PD, pooled_D=patches_PD.mean(axis=0), grid=(2, 2))

    def words(self, words: Sequence[str]) -> FloatArray:
        directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=np.float32)
        for word in words:
            if word not in LABELS:
                raise self.unknown_word(word)
        return unit(directions[[LABELS.index(word) for word in words]])


def view_at(time_s: float, seed: int | None = None) -> View:
    rng = np.random.default_rng(int(time_s) if seed is None else seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    camera = Camera(
        world_from_camera=camera_at([2 * np.cos(time_s / 9), time_s / 5 % 12, 1.5], time_s / 3, -0.2),
        width_px=32,
        height_px=24,
        intrinsics_px=pinhole_intrinsics(32, 24, 1.4),
    )
    return View(image=np.kron(coarse, np.ones((6, 8, 1), dtype=np.uint8)), camera=camera, time_s=time_s)


def memory_of(name: str, **settings: object) -> Memory:
    module = MEMORY.load(name)
    example = getattr(module, "EXAMPLE", module.Settings()).model_dump()
    memory: Memory = module.build(module.Settings(**(example | settings)), Swatches())
    assert memory.name == name
    return memory


def watched(name: str, count: int, **settings: object) -> Memory:
    memory = memory_of(name, **settings)
    for index in range(count):
        memory.observe(view_at(float(index)))
    return memory


ALL = pytest.mark.parametrize("name", MEMORY.names())


@ALL
def test_the_budget_holds_after_every_frame(name: str) -> None:
    budget = 12_000
    memory = memory_of(name, budget_bytes=budget)
    totals = []
    for index in range(200):
        memory.observe(view_at(float(index)))
        totals.append(memory.total_bytes)
    assert 0 < max(totals) == memory.peak_bytes <= budget == memory.budget_bytes
    assert all(count >= 0 for count in memory.nbytes().values())


NOT_KEPT = {"_encoder", "_eyes", "_settings", "_base_settings", "_picture_settings", "_standing", "_words"}
"""Attributes that are not of the stream."""
EMPTY_BYTES = 4096
"""Of containers that hold nothing yet."""


def held_bytes(memory: Memory) -> int:
    """Every object that the memory's attributes lead to, as the interpreter counts them."""
    todo: list[object] = [value for name, value in vars(memory).items() if name not in NOT_KEPT]
    seen: dict[int, object] = {}
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | MethodType):
            continue
        seen[id(one)] = one
        if isinstance(one, np.ndarray):
            todo.append(one.base)
        elif not isinstance(one, str | bytes | int | float):
            todo += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))


@ALL
def test_what_is_charged_covers_what_is_held(name: str) -> None:
    memory = watched(name, 120, budget_bytes=60_000)
    assert held_bytes(memory) <= memory.total_bytes + EMPTY_BYTES


@ALL
def test_what_is_recalled_was_seen_and_lies_in_order(name: str) -> None:
    memory = watched(name, 150, budget_bytes=30_000)
    recalled = memory.retrieve(ASK)
    times = [block.times_s for block in recalled.blocks]
    assert times == sorted(times)
    every = [time for block in times for time in block]
    assert len(every) == len(set(every))
    assert set(every) <= set(map(float, range(150)))
    assert [block.position for block in recalled.blocks] == list(range(len(times)))
    assert all(0 < block.resolution <= 1 for block in recalled.blocks)
    assert recalled.blocks or recalled.notes


@ALL
def test_pictures_recalled_are_those_of_their_times(name: str) -> None:
    memory = watched(name, 60, budget_bytes=60_000)
    seen_NHWC = np.stack([view_at(float(time)).image for time in range(60)]).astype(np.float32)
    for block in memory.retrieve(ASK).blocks:
        if block.image is not None:
            errors_N = np.abs(block.image - seen_NHWC).mean(axis=(1, 2, 3))
            assert errors_N.argmin() == block.times_s[0]
            assert errors_N.min() < 20  # JPEG


@ALL
def test_positions_with_gaps_are_places_in_the_stream(name: str) -> None:
    memory = watched(name, 150, budget_bytes=30_000, positions="gaps")
    for block in memory.retrieve(ASK).blocks:
        assert block.position == block.times_s[0]


@ALL
def test_the_same_stream_gives_the_same_recall_and_a_reset_forgets(name: str) -> None:
    memory = watched(name, 80, budget_bytes=30_000)
    first = memory.retrieve(ASK)
    assert plain(first) == plain(memory.retrieve(ASK)), "a query changes nothing"
    memory.reset()
    with pytest.raises(NothingSeenError, match="before the first frame"):
        memory.retrieve(ASK)
    for index in range(80):
        memory.observe(view_at(float(index)))
    assert plain(memory.retrieve(ASK)) == plain(first)


def plain(recalled: Recalled) -> object:
    return [shown(block) for block in recalled.blocks], recalled.notes, recalled.counted


def shown(block: Block) -> object:
    image = None if block.image is None else block.image.tobytes()
    patches = None if block.features is None else block.features.patches_PD.tobytes()
    return block.times_s, block.resolution, block.position, image, patches, block.surprise, block.score


@ALL
def test_a_stream_that_stops_in_an_answer_goes_on(name: str) -> None:
    asked, quiet = memory_of(name, budget_bytes=30_000), memory_of(name, budget_bytes=30_000)
    for index in range(60):
        asked.observe(view_at(float(index)))
        quiet.observe(view_at(float(index)))
        if index % 7 == 0:
            asked.retrieve(ASK)
    assert plain(asked.retrieve(ASK)) == plain(quiet.retrieve(ASK))


@ALL
def test_frames_out_of_order_are_refused_and_change_nothing(name: str) -> None:
    memory = watched(name, 20, budget_bytes=30_000)
    before = plain(memory.retrieve(ASK))
    with pytest.raises(DuplicateTimeError, match="two frames have the time 19 s"):
        memory.observe(view_at(19.0, seed=3))
    with pytest.raises(FrameOrderError, match="a frame of 4 s came after one of 19 s"):
        memory.observe(view_at(4.0))
    with pytest.raises(FrameOrderError, match="expected a frame with a time"):
        memory.observe(replace(view_at(1.0), time_s=None))
    with pytest.raises(FrameOrderError, match="got time_s=nan"):
        memory.observe(replace(view_at(1.0), time_s=float("nan")))
    assert plain(memory.retrieve(ASK)) == before
    memory.observe(view_at(20.0))
    assert memory.frames_seen == 21


@ALL
def test_a_budget_below_one_frame_says_what_a_frame_takes(name: str) -> None:
    with pytest.raises(BudgetTooSmallError, match=r"budget of 10 bytes, but .* raise budget_bytes"):
        watched(name, 30, budget_bytes=10)


@ALL
def test_features_that_change_size_are_refused(name: str) -> None:
    memory = memory_of(name, budget_bytes=30_000)
    if not memory.uses_features:
        pytest.skip("looks at no features")
    memory.observe(view_at(0.0))
    before = plain(memory.retrieve(ASK))
    narrow = Features(patches_PD=np.zeros((2, 3), np.float32), pooled_D=np.zeros(3, np.float32), grid=(1, 2))
    broken = Features(patches_PD=np.full((4, 3), np.nan), pooled_D=np.zeros(3, np.float32), grid=(2, 2))
    plain_encode = Swatches.encode
    for features, message in ((narrow, "one encoder for a whole stream"), (broken, "NaN or infinity")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Swatches, "encode", lambda self, view, features=features: features)
            with pytest.raises(FeatureSizeError, match=message):
                memory.observe(view_at(1.0))
    assert Swatches.encode is plain_encode
    assert plain(memory.retrieve(ASK)) == before
    memory.observe(view_at(1.0))


@ALL
def test_a_query_before_the_first_frame_or_of_the_past_is_refused(name: str) -> None:
    memory = memory_of(name)
    with pytest.raises(NothingSeenError, match="asked before the first frame"):
        memory.retrieve(ASK)
    memory.observe(view_at(5.0))
    with pytest.raises(QueryTimeError, match="up to 5 s"):
        memory.retrieve(replace(ASK, time_s=4.0))
    memory.retrieve(replace(ASK, time_s=5.0))


@ALL
def test_policies_that_compare_with_words_need_some(name: str) -> None:
    memory = watched(name, 3)
    if not memory.uses_words:
        pytest.skip("compares with no words")
    with pytest.raises(WordsNeededError, match="labels"):
        memory.retrieve(Query(text="?"))
    module = MEMORY.load(name)
    blind = Swatches()
    blind.has_words = False
    with pytest.raises(WordsNeededError, match="use the encoder convolutional or tower"):
        module.build(getattr(module, "EXAMPLE", module.Settings()), blind)


@ALL
def test_a_picture_is_drawn_at_most_once(name: str) -> None:
    memory, drawn = memory_of(name), []

    def draw() -> np.ndarray:
        drawn.append(1)
        image = view_at(0.0).image
        assert isinstance(image, np.ndarray)
        return image

    memory.observe(replace(view_at(0.0), image=draw))
    assert len(drawn) <= 1
