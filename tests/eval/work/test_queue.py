"""The order of the queue, and what happens to parcels of the dead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from allocentric.core.runlog import RunLog
from allocentric.core.types import Choice, Item
from allocentric.eval.frames import FrameChoice
from allocentric.eval.recipe import plan
from allocentric.eval.work.driver import parcels_in_order
from allocentric.eval.work.questions import Inquiry, Question
from allocentric.eval.work.queue import MOST_DEATHS, WorkQueue, cost_of, pictures_of


def question(k: int, contestant: int = 0) -> Question:
    return Question(contestant=contestant, item=k, key=f"{contestant}-{k}")


def queue_of(*parcels: tuple[int, str, int]) -> WorkQueue:
    """Parcels of two questions: (contestant, pictures, first item)."""
    return WorkQueue([(c, pictures, (question(k, c), question(k + 1, c))) for c, pictures, k in parcels])


def first(parcel):
    return None if parcel is None else parcel.questions[0].item


def test_a_worker_stays_with_its_model_and_its_pictures():
    queue = queue_of((0, "long", 0), (0, "short", 2), (0, "long", 4), (1, "long", 6))
    assert first(queue.take(contestant=None, pictures=None, idle=True)) == 0
    assert first(queue.take(contestant=0, pictures="short", idle=False)) == 2  # the same pictures before the costliest
    assert first(queue.take(contestant=0, pictures="short", idle=False)) == 4
    assert queue.take(contestant=0, pictures="long", idle=False) is None  # another model only when idle
    assert first(queue.take(contestant=0, pictures="long", idle=True)) == 6
    assert (len(queue), queue.take(contestant=1, pictures=None, idle=True)) == (0, None)


def test_what_the_dead_held_comes_back_one_by_one_to_the_idle():
    queue = queue_of((0, "a", 0), (0, "b", 2))
    held = queue.take(contestant=None, pictures=None, idle=True)
    assert queue.give_back(held, held.questions) == []
    assert len(queue) == 3
    assert first(queue.take(contestant=0, pictures=None, idle=False)) == 2  # a busy worker gets no suspect
    suspects = [queue.take(contestant=0, pictures=None, idle=True) for _ in range(2)]
    assert sorted(first(one) for one in suspects) == [0, 1]
    assert all(len(one.questions) == 1 and one.deaths == 1 for one in suspects)
    assert len({held.number, *(one.number for one in suspects)}) == 3


def test_a_question_is_given_up_after_its_share_of_deaths():
    queue = queue_of((0, "a", 0))
    parcel = queue.take(contestant=None, pictures=None, idle=True)
    given_up = queue.give_back(parcel, parcel.questions[:1])
    for _ in range(MOST_DEATHS - 1):
        assert given_up == []
        parcel = queue.take(contestant=None, pictures=None, idle=True)
        given_up = queue.give_back(parcel, parcel.questions)
    assert given_up == [question(0)]
    assert len(queue) == 0


def make_item(**values) -> Item:
    return Item(id="i", kind="k", prompt="?", choices=("a",), gold=Choice(0), scene_id="s", source="t", **values)


def test_cost_is_frames_then_bytes(tmp_path: Path):
    (tmp_path / "v.mp4").write_bytes(bytes(1000))
    filmed = make_item(video=tmp_path / "v.mp4")
    shown = FrameChoice(indices=(0, 5), digest="d")
    assert cost_of(filmed, shown) == (2, 1000)
    assert cost_of(filmed, FrameChoice(indices=(), digest="d")) == (0, 0)
    assert cost_of(make_item(), shown) == (2, 0)
    assert (pictures_of(filmed), pictures_of(make_item())) == (str(tmp_path / "v.mp4"), "s")


def test_long_videos_first_the_same_together_nothing_lost(recipe, tmp_path, monkeypatch):
    job = plan(recipe(benchmark={"scenes": 3}, baselines=False))
    lengths = {"scene-0": 3, "scene-1": 9, "scene-2": 5}

    def frames(self, index):
        return FrameChoice(indices=tuple(range(lengths[job.items[index].scene_id])), digest="d")

    monkeypatch.setattr(Inquiry, "frames", frames)
    with RunLog(tmp_path / "run", job.settings) as log:
        inquiry = Inquiry(job, log)
        questions = list(inquiry.questions(0))
        parcels = parcels_in_order(inquiry, [questions], 4)
    scenes = [job.items[question.item].scene_id for _, _, group in parcels for question in group]
    assert list(dict.fromkeys(scenes)) == ["scene-1", "scene-2", "scene-0"]
    assert scenes == sorted(scenes, key=lambda scene: -lengths[scene])
    assert [len(group) for _, _, group in parcels] == [4, 4, 4, 4, 2]
    assert Counter(question for _, _, group in parcels for question in group) == Counter(questions)
