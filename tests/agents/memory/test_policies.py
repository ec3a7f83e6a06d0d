"""What each policy is for, on streams whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from allocentric.agents.encoders.contract import Detection, Encoder, EncoderError, Features, Shared, drawn_once
from allocentric.agents.memory import (
    bag_of_frames,
    cognitive_map,
    hippo,
    last_n,
    spatial_map,
    surprise_segments,
    time_search,
    uniform,
)
from allocentric.agents.memory import surprise as surprise_policy
from allocentric.agents.memory._floor import on_the_floor
from allocentric.agents.memory._prediction import Surprise, mean_cosine
from allocentric.agents.memory.contract import RECORD_BYTES, Memory, Query, Recalled
from allocentric.agents.memory.errors import StreamMemoryError, WordsNeededError
from allocentric.core.geometry import camera_at, pinhole_intrinsics, project
from allocentric.core.types import Camera, FloatArray, View

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLORS = {"red": RED, "green": GREEN, "blue": BLUE}


@dataclass
class Colors(Encoder):
    """One patch per quarter, its mean colour; words are the colours."""

    name: str = "colors"
    width: int = 3
    vocabulary: tuple[str, ...] = tuple(COLORS)
    has_words: bool = True
    threshold: float = 0.8
    encoded: int = 0
    found: list[Detection] = field(default_factory=list)

    def encode(self, view: View) -> Features:
        self.encoded += 1
        image = view.image() if callable(view.image) else view.image
        assert isinstance(image, np.ndarray)
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        patches = image[: rows * 2, : columns * 2].reshape(2, rows, 2, columns, 3).mean(axis=(1, 3)).reshape(4, 3)
        patches_PD = (patches / 255).astype(np.float32)
        return Features(patches_PD=patches_PD, pooled_D=patches_PD.mean(axis=0), grid=(2, 2))

    def words(self, words: Sequence[str]) -> FloatArray:
        for word in words:
            if word not in COLORS:
                raise self.unknown_word(word)
        return np.array([COLORS[word] for word in words], dtype=np.float32) / 255

    def detect(self, view: View, features: Features, labels: Sequence[str], at_least: float = 0.5) -> Any:
        return tuple(self.found) if self.found else super().detect(view, features, labels, at_least)


def camera_of(x_m: float, y_m: float, yaw_rad: float = 0.0, pitch_rad: float = -0.4) -> Camera:
    return Camera(
        world_from_camera=camera_at([x_m, y_m, 1.5], yaw_rad, pitch_rad),
        width_px=16,
        height_px=12,
        intrinsics_px=pinhole_intrinsics(16, 12, 1.2),
    )


def plain(color: tuple[int, int, int], time_s: float, camera: Camera | None = None) -> View:
    return View(image=np.full((12, 16, 3), color, dtype=np.uint8), camera=camera, time_s=time_s)


def watch(memory: Memory, colors: Sequence[tuple[int, int, int]]) -> Memory:
    for time, color in enumerate(colors):
        memory.observe(plain(color, float(time)))
    return memory


def times(recalled: Recalled) -> list[float]:
    return [block.times_s[0] for block in recalled.blocks]


ASK_RED = Query(text="Where is the red thing?", labels=("red",))


def test_last_n_keeps_the_last_n() -> None:
    memory = watch(last_n.build(last_n.Settings(frames=3)), [RED] * 10)
    recalled = memory.retrieve(ASK_RED)
    assert times(recalled) == [7.0, 8.0, 9.0]
    assert recalled.blocks[0].image is not None
    assert (recalled.blocks[0].image == RED).all()


def test_uniform_is_even_and_has_both_ends_however_long_the_stream() -> None:
    memory = uniform.build(uniform.Settings(frames=9, codec="none", budget_bytes=RECORD_BYTES * 100))
    watch(memory, [RED] * 5000)
    seen = times(memory.retrieve(ASK_RED))
    assert len(seen) == 9
    assert (seen[0], seen[-1]) == (0.0, 4999.0)
    gaps = np.diff(seen)
    assert gaps.max() - gaps.min() <= 2 * 64, "gaps differ by the stride at most, at either end"


def test_bag_of_frames_finds_what_it_was_not_told_of_in_what_it_kept() -> None:
    colors = [BLUE] * 300
    for time in (37, 38, 144, 250):
        colors[time] = RED
    memory = watch(bag_of_frames.build(bag_of_frames.Settings(), Colors()), colors)
    assert times(memory.retrieve(ASK_RED)) == [37.0, 38.0, 144.0, 250.0]


def test_bag_of_frames_keeps_the_best_of_a_standing_question_whatever_is_thinned() -> None:
    colors = [BLUE] * 3000
    for time in (37, 39, 145, 251):
        colors[time] = RED
    settings = bag_of_frames.Settings(codec="none", budget_bytes=20_000)
    told, untold = (bag_of_frames.build(settings, Colors()) for _ in range(2))
    told.stand(ASK_RED)
    assert times(watch(told, colors).retrieve(ASK_RED)) == [37.0, 39.0, 145.0, 251.0]
    assert times(watch(untold, colors).retrieve(ASK_RED)) != [37.0, 39.0, 145.0, 251.0]


def test_an_unknown_word_is_an_error_that_says_what_is_known() -> None:
    memory = watch(bag_of_frames.build(bag_of_frames.Settings(), Colors()), [RED])
    with pytest.raises(EncoderError, match=r"does not know the word 'reed'; did you mean 'red'\?"):
        memory.retrieve(Query(text="?", labels=("reed",)))


# --------------------------------------------------------------------------------------------------------- surprise


def test_surprise_is_one_minus_the_mean_cosine_and_one_at_first() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 3)).astype(np.float32)
    meter = Surprise("previous", Colors())
    assert meter.of(Features(patches_PD=a, pooled_D=a[0], grid=(2, 2))) == 1.0
    expected = 1 - np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)])
    assert meter.of(Features(patches_PD=b, pooled_D=b[0], grid=(2, 2))) == pytest.approx(expected, abs=1e-6)
    assert mean_cosine(a, a) == pytest.approx(1)


def test_the_surprise_memory_pools_what_was_expected_and_keeps_the_rest() -> None:
    settings = surprise_policy.Settings(prediction="previous", window=2, threshold=0.3)
    memory = watch(surprise_policy.build(settings, Colors()), [RED] * 5 + [BLUE] * 5)
    blocks = memory.retrieve(Query(text="?")).blocks
    resolution = {block.times_s[0]: block.resolution for block in blocks}
    assert resolution == {0.0: 1.0, 5.0: 1.0} | dict.fromkeys((1.0, 2.0, 3.0, 4.0, 6.0, 7.0), 0.5) | {
        8.0: 1.0,
        9.0: 1.0,
    }
    surprise = {block.times_s[0]: block.surprise for block in blocks}
    assert surprise[0.0] == surprise[5.0] == 1.0
    assert surprise[4.0] == pytest.approx(0.0, abs=1e-6)


def test_retrieval_compares_mean_word_and_mean_patch_as_published() -> None:
    rng = np.random.default_rng(1)
    settings = surprise_policy.Settings(prediction="previous", window=3, top_k=7)
    eyes = Colors()
    memory = surprise_policy.build(settings, eyes)
    keys = []
    for time in range(40):
        view = View(image=rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), time_s=float(time))
        memory.observe(view)
        keys.append(eyes.encode(view).patches_PD.mean(axis=0))
    query = np.mean([np.array(COLORS[word]) / 255 for word in ("red", "blue")], axis=0)
    cosine = [key @ query / np.linalg.norm(key) / np.linalg.norm(query) for key in keys]
    best = sorted(float(place) for place in np.argsort(cosine)[-7:])
    recalled = memory.retrieve(Query(text="?", labels=("red", "blue")))
    assert times(recalled) == best
    got = {block.times_s[0]: block.score for block in recalled.blocks}
    assert got == pytest.approx({time: cosine[int(time)] for time in best}, abs=2e-3)


def test_a_predictor_of_another_encoder_is_refused() -> None:
    with pytest.raises(StreamMemoryError, match="prediction: previous"):
        surprise_policy.build(surprise_policy.Settings(), Colors())


def test_segments_are_counted_by_themselves_and_added_up() -> None:
    """What cambrians_vsc.py does: the surprising frame begins the next segment; the sum is the answer."""
    settings = surprise_segments.Settings(prediction="previous")
    memory = surprise_segments.build(settings, Colors())
    shown: list[list[float]] = []

    def count(query: Query, recalled: Recalled) -> float:
        assert query == ASK_RED
        shown.append(times(recalled))
        return float("nan") if len(shown) == 2 else float(len(recalled.blocks))

    memory.stand(ASK_RED, count)
    watch(memory, [RED] * 3 + [BLUE] * 2 + [RED] * 4 + [GREEN])
    assert shown == [[0.0, 1.0, 2.0], [3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
    recalled = memory.retrieve(ASK_RED)
    assert recalled.counted == 3 + 0 + 4, "what is no number counts nothing"
    assert times(recalled) == [9.0]
    assert memory.segments_seen == 3
    assert memory.retrieve(Query(text="another", labels=("red",))).counted is None


# ------------------------------------------------------------------------------------------------------------ events


def test_structural_similarity_follows_its_definition() -> None:
    """Wang et al. 2004, window by window, with the sample covariance that scikit-image uses."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (20, 24)).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 40, a.shape), 0, 255).astype(np.uint8)
    values = []
    for row in range(a.shape[0] - 6):
        for column in range(a.shape[1] - 6):
            x, y = (p[row : row + 7, column : column + 7].astype(float).ravel() for p in (a, b))
            (var_x, cov), (_, var_y) = np.cov(x, y)
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            top = (2 * x.mean() * y.mean() + c1) * (2 * cov + c2)
            values.append(top / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (var_x + var_y + c2)))
    assert hippo.structural_similarity(a, b) == pytest.approx(np.mean(values), abs=1e-9)
    assert hippo.structural_similarity(a, a) == pytest.approx(1)


def test_a_segment_is_cut_before_its_last_change_that_comes_late_enough() -> None:
    seconds = [float(second) for second in range(31)]
    changed = [second in (4, 12, 17) for second in range(31)]
    assert hippo.cut_place(seconds, changed, 10.0) == 17
    assert hippo.cut_place(seconds, [second == 4 for second in range(31)], 10.0) == 31
    assert hippo.cut_place(seconds, [second == 10 for second in range(31)], 10.0) == 10


def test_consolidation_keeps_what_is_unlike_everything_kept() -> None:
    angles = np.array([0.0, 0.1, 0.5, 0.55, 1.0, 0.05, 2.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    kept: list[int] = []
    for place, angle in enumerate(angles):
        if all(np.cos(angle - angles[other]) < 0.9 for other in kept):
            kept.append(place)
    assert hippo.unlike(vectors, 0.9) == kept == [0, 2, 4, 6]


def test_hippo_tells_events_by_what_they_showed() -> None:
    memory = watch(hippo.build(hippo.Settings(segments=1), Colors()), [RED] * 20 + [BLUE] * 40 + [GREEN] * 40)
    recalled = memory.retrieve(ASK_RED)
    assert recalled.notes == ("event 0.0-19.0 s: red",)
    assert recalled.blocks[0].times_s == (0.0,), "one red frame of the event was kept, and it fits best"
    everything = memory.retrieve(Query(text="?", labels=()))
    assert everything.notes[0] == "event 0.0-19.0 s: red"
    assert everything.notes[-1].endswith("green")


# ------------------------------------------------------------------------------------------------------------ places


def test_a_thing_on_the_floor_is_found_where_its_picture_is() -> None:
    camera = camera_of(2.0, -1.0, yaw_rad=0.7)
    thing = np.array([4.5, 1.0, 0.0])
    pixel = project(camera, thing[None]).uv_px[0]
    place = (float(pixel[0]) / 16, float(pixel[1]) / 12)
    found = on_the_floor(camera, place, eye_height_m=1.5, most_m=9.0)
    np.testing.assert_allclose(found, thing, atol=1e-6)
    far = on_the_floor(camera, place, eye_height_m=1.5, most_m=1.0)
    assert np.hypot(far[0] - 2.0, far[1] + 1.0) == pytest.approx(1.0)


def test_the_cognitive_map_knows_a_thing_again_by_its_place() -> None:
    eyes = Colors()
    memory = cognitive_map.build(cognitive_map.Settings(cell_m=0.5, same_m=1.0), eyes)
    seen = [
        (0, "lamp", 3.0, 1.0),
        (1, "lamp", 3.2, 1.2),
        (2, "lamp", 8.0, -2.3),
        (3, "sofa", 3.1, 1.1),
        (9, "lamp", 3.1, 1.1),
    ]
    for time, label, x, y in seen:
        eyes.found = [Detection(label=label, confidence=0.9, place=(0.5, 0.5), position_m=(x, y, 0.4))]
        memory.observe(plain(RED, float(time), camera_of(0, 0)))
    assert memory.retrieve(Query(text="?", labels=("lamp",))).notes == (
        "cells of 0.5 m: (column, row) = (floor(x / 0.5), floor(y / 0.5))",
        "lamp at (6, 2), seen 0.0-9.0 s",
        "lamp at (16, -5), seen 2.0-2.0 s",
    )
    assert len(memory.retrieve(Query(text="?")).notes) == 4
    with pytest.raises(StreamMemoryError, match="needs cameras"):
        memory.observe(plain(RED, 10.0))


def test_morton_codes_interleave_the_bits_of_the_cells() -> None:
    middle = 2**20
    for cell in ((0, 0, 0), (5, -3, 2), (-1000, 999, 7)):
        bits = [format(c + middle, "021b") for c in cell]
        expected = int("".join(z + y + x for x, y, z in zip(*bits, strict=True)), 2)
        assert spatial_map.morton((cell[0] + 0.5, cell[1] + 0.5, cell[2] + 0.5), 1.0) == expected
    with pytest.raises(StreamMemoryError, match="of the origin"):
        spatial_map.morton((1e9, 0.0, 0.0), 1.0)


def test_the_way_back_leads_along_what_was_walked() -> None:
    """An L-shaped walk away from something red: the way back turns the corner, and ends where red was seen."""
    memory = spatial_map.build(spatial_map.Settings(node_spacing_m=2.0, jump_m=1.5), Colors())
    walk = [(x, 0.0) for x in range(9)] + [(8.0, float(y)) for y in range(1, 9)]
    for time, (x, y) in enumerate(walk):
        memory.observe(plain(RED if time < 2 else BLUE, float(time), camera_of(x, y)))
    recalled = memory.retrieve(ASK_RED)
    assert recalled.notes == (
        "best match at (0.0, 0.0, 1.5) m, seen 0.0-0.0 s",
        "way from here: (8.0, 7.0) > (8.0, 4.0) > (8.0, 1.0) > (6.0, 0.0) > (3.0, 0.0) > (0.0, 0.0), 14.2 m",
    ), "3 + 3 + sqrt(5) + 3 + 3 m"
    assert {0.0, 1.0} <= set(times(recalled))


def test_after_a_cut_there_is_no_way() -> None:
    memory = spatial_map.build(spatial_map.Settings(jump_m=1.5), Colors())
    for time, x in enumerate((0.0, 1.0, 60.0, 61.0)):
        memory.observe(plain(RED if x < 2 else BLUE, float(time), camera_of(x, 0.0)))
    notes = memory.retrieve(ASK_RED).notes
    assert len(notes) == 1
    assert notes[0].startswith("best match at (0.0")


def test_the_short_store_gives_up_what_was_seen_least_then_least_lately() -> None:
    settings = spatial_map.Settings(short_frames=3, short_similarity=0.9, frames=3)
    memory = spatial_map.build(settings, Colors())
    for time, x in enumerate((0.0, 0.2, 5.0, 10.0, 15.0)):  # the first place twice, then three more
        memory.observe(plain(RED, float(time), camera_of(x, 0.0)))
    short = [kept.kept.time_s for kept in memory._short.values()]  # type: ignore[attr-defined]
    assert short == [1.0, 3.0, 4.0], "5 m was seen once, as 10 m was, but earlier"


def test_a_leaf_keeps_its_first_and_its_newest_frame() -> None:
    memory = spatial_map.build(spatial_map.Settings(short_similarity=1.0), Colors())
    for time in range(5):
        memory.observe(plain(RED, float(time), camera_of(0.0, 0.0)))
    assert times(memory.retrieve(ASK_RED)) == [0.0, 4.0]


# ------------------------------------------------------------------------------------------------------------ search


def test_time_search_narrows_down_to_a_moment_it_did_not_look_at_first() -> None:
    colors = [tuple(int(c) for c in np.array(BLUE) * (1 - w) + np.array(RED) * w) for w in closeness(1000, 333, 100)]
    eyes = Colors()
    memory = time_search.build(time_search.Settings(codec="raw", looks_per_interval=8, most_looks=64), eyes)
    watch(memory, colors)
    before = eyes.encoded
    found = times(memory.retrieve(ASK_RED))
    assert min(abs(time - 333) for time in found) < 15, "the nearest of the first look is 48 s away"
    assert eyes.encoded - before <= 64


def closeness(count: int, place: int, width: float) -> FloatArray:
    return np.exp(-np.abs(np.arange(count) - place) / width)


# ---------------------------------------------------------------------------------------------------------- contract


def test_many_memories_share_one_rendering_and_one_encoding() -> None:
    drawn = []

    def draw() -> Any:
        drawn.append(1)
        return np.full((12, 16, 3), RED, dtype=np.uint8)

    eyes = Colors()
    shared = Shared(eyes)
    memories = [bag_of_frames.build(bag_of_frames.Settings(), shared) for _ in range(3)]
    memories.append(last_n.build(last_n.Settings()))
    for time in range(4):
        view = drawn_once(View(image=draw, time_s=float(time)))
        for memory in memories:
            memory.observe(view)
    assert (len(drawn), eyes.encoded) == (4, 4)


def test_a_memory_without_an_encoder_says_so() -> None:
    with pytest.raises(WordsNeededError, match="build it with an encoder"):
        hippo.build(hippo.Settings(), None)
