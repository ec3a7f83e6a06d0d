"""Watchers: every picture once and in order, what a model is told, and a checkpoint that watches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.agents.memory import last_n
from allocentric.agents.memory.contract import Recalled
from allocentric.agents.memory.errors import NothingSeenError
from allocentric.agents.rollout import Start, watch
from allocentric.agents.watching import FramesWatcher, labels_in, recalled_text
from allocentric.core.types import Choice, Item, Prompt, Response, View
from allocentric.envs.stream_qa import StreamQA
from allocentric.envs.streams import Stream, TimedQuestion


def stream(times: Sequence[float] = (2.0, 9.0), frames: int = 12) -> Stream:
    views = tuple(View(image=np.full((8, 16, 3), 10 + t, np.uint8), time_s=float(t)) for t in range(frames))
    asked = [
        TimedQuestion(
            item=Item(
                id=f"q{k}", kind="k", prompt="Chairs?", choices=("x", "y"), gold=Choice(1), scene_id="s", source="t"
            ),
            time_s=time_s,
        )
        for k, time_s in enumerate(times)
    ]
    return Stream(id="s", views=views, questions=tuple(asked))


class Script:
    """Answers B, or with an error, or cut off."""

    name = "script"

    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.prompts: list[Prompt] = []

    def generate(self, batch: Sequence[Prompt]) -> list[Response]:
        self.prompts += batch
        return [self.responses.pop(0) if self.responses else Response(text="B", prompt_tokens=7, completion_tokens=1)]


def played(model: Script, settings: Any = None, **env: Any) -> Any:
    made = StreamQA([stream(**env.pop("stream", {}))], width_px=16, height_px=8, frames_per_turn=5, **env)
    watcher = FramesWatcher(model, last_n.build(settings or last_n.Settings(frames=3)))
    return watch(watcher, made, Start(key="s", seed=0), max_turns=50)


def test_every_picture_is_seen_once_and_questions_see_none_of_the_future() -> None:
    model = Script()
    episode = played(model)
    noted = [note["time_s"] for turn in episode.steps for note in turn.info["agent"]["frames"]]
    assert noted == [float(t) for t in range(10)]
    assert [[view.time_s for view in prompt.views] for prompt in model.prompts] == [[0, 1, 2], [7, 8, 9]]
    assert [int(view.image.max()) for view in model.prompts[1].views] == [17, 18, 19]
    assert "seen at these seconds: 7, 8, 9." in model.prompts[1].text
    assert model.prompts[0].text.endswith("Chairs?\nA. x\nB. y")
    outcome = episode.outcome
    assert (outcome["success"], outcome["score"], outcome["prompt_tokens"]) == (True, 1.0, 14)
    answers = [turn.info["agent"]["answer"] for turn in episode.steps if turn.info["agent"]["answer"]]
    assert [(one["time_s"], one["frames"], one["attended_tokens"]) for one in answers] == [
        (2.0, 3, 7.0),
        (9.0, 3, 7.0),
    ]


def test_an_answer_that_is_cut_off_counts_for_what_there_is_of_it() -> None:
    cut = Response(text="B because the ch", finish_reason="length", completion_tokens=16, prompt_tokens=7)
    episode = played(Script(cut))
    answers = [turn.info["agent"]["answer"] for turn in episode.steps if turn.info["agent"]["answer"]]
    assert [one["complete"] for one in answers] == [False, True]
    assert episode.outcome["completed"]


def test_a_stream_that_stops_without_an_answer_fails_and_is_no_result() -> None:
    episode = played(Script(Response(text="B"), Response(text="", finish_reason="error", error="gone\naway")))
    assert episode.outcome["failed"] == "gone away"
    assert not episode.outcome["completed"]


def test_a_stream_that_is_cut_off_is_not_completed() -> None:
    made = StreamQA([stream()], width_px=16, height_px=8, frames_per_turn=1)
    watcher = FramesWatcher(Script(), last_n.build(last_n.Settings()))
    episode = watch(watcher, made, Start(key="s", seed=0), max_turns=4)
    assert episode.steps[-1].truncated
    assert not episode.outcome["completed"]


def test_a_question_before_the_first_picture_is_refused() -> None:
    with pytest.raises(NothingSeenError, match="before the first frame"):
        played(Script(), stream={"times": (-1.0, 3.0)})


def test_a_second_stream_begins_with_an_empty_memory() -> None:
    model = Script()
    made = StreamQA([stream()], width_px=16, height_px=8, frames_per_turn=5)
    watcher = FramesWatcher(model, last_n.build(last_n.Settings(frames=100)))
    for _ in range(2):
        watch(watcher, made, Start(key="s", seed=0), max_turns=50)
    assert [len(prompt.views) for prompt in model.prompts] == [3, 10, 3, 10]


def test_notes_and_counts_are_told() -> None:
    text = recalled_text("How many?", Recalled(notes=("sofa at (1, 2)",), counted=3.0), [])
    assert text == "You noted:\nsofa at (1, 2)\nYou counted 3 up to the last segment.\nHow many?"


def test_words_of_a_question_are_found_whole() -> None:
    words = ("chair", "table", "arm chair", "bus", "tab")
    assert labels_in("How many chairs, buses and Tables?", words) == ("chair", "table", "bus")


def test_a_checkpoint_watches(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from allocentric.agents.kv_memory import surprise
    from allocentric.agents.kv_memory.watcher import Watcher
    from allocentric.agents.models import _checkpoint
    from allocentric.agents.watching import CacheWatcher
    from allocentric.train import tiny

    folder = tiny.build(tmp_path / "m", "qwen2_5_vl")
    loaded = _checkpoint.load(str(folder), revision=None, dtype="float32", device="cpu", attn_implementation=None)
    settings = surprise.Settings(window=2, threshold=0.5, budget_bytes=2**20)
    watcher = CacheWatcher(Watcher(loaded, surprise, settings), border=0.5, max_new_tokens=4)
    made = StreamQA([stream()], width_px=84, height_px=56, frames_per_turn=5)
    episode = watch(watcher, made, Start(key="s", seed=0), max_turns=50)
    notes = [note for turn in episode.steps for note in turn.info["agent"]["frames"]]
    assert [note["time_s"] for note in notes] == [float(t) for t in range(10)]
    assert notes[0]["surprise"] == 1.0
    assert not notes[0]["border"]
    assert max(note["bytes"] for note in notes) <= 2**20
    answers = [turn.info["agent"]["answer"] for turn in episode.steps if turn.info["agent"]["answer"]]
    assert len(answers) == 2
    assert all(one["attended_tokens"] > 10 for one in answers)
    assert episode.outcome["completed"]
