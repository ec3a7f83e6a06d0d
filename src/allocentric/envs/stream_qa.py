"""Watch a stream and answer as it goes: pictures come in order, once, and questions at their time.

One episode is one dialogue about one stream, as in OST-Bench (arXiv 2507.07984): every turn brings what was seen since
the last one, and a question may refer to anything up to now. What was shown is not shown again: to remember is the
watcher's part.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import Field

from allocentric.core.config import Settings as BaseSettings
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError, suggestion
from allocentric.core.types import Image, Item, Unreadable
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.questions import LONGEST_ANSWER, judge, question_text
from allocentric.envs.streams import Feed, Stream, TimedQuestion
from allocentric.envs.text_space import Instruction

IDS = {"StreamQA-v0": "StreamQA"}

NO_TIME_S = -1.0
"""Stands in `times_s` where there is no picture."""

Observation = dict[str, Any]
Info = dict[str, Any]


class Settings(BaseSettings):
    """How the stream is shown."""

    frames_per_turn: int = Field(default=8, ge=1, le=1024)
    """Most pictures of a turn; a turn ends earlier where a question is due."""
    width_px: int = Field(default=320, ge=8, le=8192)
    """Columns; pictures of another size are resized to this one."""
    height_px: int = Field(default=240, ge=8, le=8192)
    """Rows."""


class StreamQA(gymnasium.Env[Observation, str]):
    """Turns of new pictures, and questions to be answered at once.

    Observation: `frames` (K, H, W, 3) uint8 and `times_s` (K,) float64, of which the first `frame_count` are new
    pictures and the rest 0 and -1; `question` text with its options, empty where none is asked.

    Action: text. Where a question was asked it is the answer, read and scored like any other; elsewhere it is not
    looked at. Reward: the answer's score. The episode terminates with the answer to the last question.

    A question of time t comes in the turn that brings the last picture with time <= t, or in one without pictures
    where another question came there, and always before any picture later than t.

    `reset(seed=k)` draws a stream from the seed, `options={"stream": id}` chooses one. `info` has `score` and
    `unreadable` after an answer, and at the end `mean_score`, `success` (every answer was worth 1), `answered` and
    `unreadable_count`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - declared by gymnasium

    def __init__(
        self,
        streams: Sequence[Stream] = (),
        *,
        render_mode: Literal["rgb_array"] | None = None,
        **settings: Any,
    ) -> None:
        """Nothing is loaded before the first reset.

        Args:
            streams: See `envs.streams`.
            render_mode: "rgb_array" lets `render` give the last new picture of the turn.
            **settings: Fields of `Settings`.

        Raises:
            SettingsError: A setting is unknown or wrong, or there are no streams.
            DataError: Two streams have one id.
        """
        self.settings = settings_from_mapping(Settings, settings, where=type(self).__name__)
        self._streams = {stream.id: stream for stream in streams}
        if not streams:
            raise SettingsError("StreamQA needs streams to watch: make(..., streams=[...]), see envs.streams")
        if len(self._streams) != len(streams):
            raise DataError(f"expected streams with different ids, got {[stream.id for stream in streams]}")
        self.render_mode = render_mode
        self.action_space = spaces.Text(max_length=LONGEST_ANSWER, min_length=0, charset=string.printable)
        self.observation_space = _observation_space(self.settings, streams)
        self._feed: Feed | None = None
        self._turn_picture: Image | None = None
        self._pending: TimedQuestion | None = None
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin a stream with its first turn."""
        super().reset(seed=seed)
        stream = self._choose(options or {})
        self.close()
        self._feed = Feed(stream)
        self._stream_id, self._questions = stream.id, list(stream.questions)
        self._pending = None
        self._scores: list[float] = []
        self._unreadable = self._turn = 0
        self._now_s = NO_TIME_S
        self._over = False
        return self._observe(), self._info()

    def step(self, action: str) -> tuple[Observation, float, bool, bool, Info]:
        """Answer where a question was asked, and go on. EpisodeOverError after the end."""
        if self._over or self._feed is None:
            raise EpisodeOverError
        if not isinstance(action, str):
            raise SettingsError(f"an action is a text, the answer to the question; got {action!r}")
        reward, judged = self._judge(action)
        self._turn += 1
        terminated = not self._questions and self._pending is None
        if terminated:
            self._over = True
            judged |= {
                "success": all(score == 1.0 for score in self._scores),
                "mean_score": float(np.mean(self._scores)),
                "answered": len(self._scores),
                "unreadable_count": self._unreadable,
            }
            self.close()
            return self._nothing(), reward, True, False, self._info() | judged
        return self._observe(), reward, False, False, self._info() | judged

    def render(self) -> Image | None:
        """The last picture of this turn (black where it brought none), where `render_mode` is "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        return self._blank()[0] if self._turn_picture is None else self._turn_picture.copy()

    def close(self) -> None:
        """Release what draws; closing twice is fine."""
        if self._feed is not None:
            self._feed.close()
        self._feed, self._turn_picture = None, None

    @property
    def item(self) -> Item | None:
        """The question asked now with its gold answer; None where none is asked."""
        return None if self._pending is None else self._pending.item

    # ------------------------------------------------------------------------------------------------------ the turn

    def _observe(self) -> Observation:
        """The next turn: pictures up to the next question, or as many as a turn may have."""
        out, feed = self._nothing(), self._feed
        assert feed is not None
        self._turn_picture = None
        count = 0
        while count < self.settings.frames_per_turn and not self._is_due(feed):
            picture, self._now_s = feed.take()
            out["frames"][count] = self._turn_picture = self._resized(picture)
            out["times_s"][count] = self._now_s
            count += 1
        out["frame_count"] = np.int64(count)
        if self._is_due(feed):
            self._pending = self._questions.pop(0)
            out["question"] = question_text(self._pending.item)
        return out

    def _is_due(self, feed: Feed) -> bool:
        """Whether the next question's time has come: no picture up to that time is left."""
        if not self._questions:
            return False
        return feed.next_time_s is None or feed.next_time_s > self._questions[0].time_s

    def _judge(self, answer: str) -> tuple[float, Info]:
        if self._pending is None:
            return 0.0, {}
        score = judge(self._pending.item, answer)
        value, unreadable = score.value or 0.0, isinstance(score.answer, Unreadable)
        judged = {"score": value, "unreadable": unreadable, "answered_item": self._pending.item.id}
        self._scores.append(value)
        self._unreadable += unreadable
        self._pending = None
        return value, judged

    def _resized(self, picture: Image) -> Image:
        size = (self.settings.width_px, self.settings.height_px)
        if picture.shape[1::-1] == size:
            return picture
        import cv2

        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))

    def _choose(self, options: dict[str, Any]) -> Stream:
        unknown = set(options) - {"stream"}
        if unknown:
            raise SettingsError(f"unknown reset option {min(unknown)!r}; known: stream")
        if "stream" not in options:
            return list(self._streams.values())[int(self.np_random.integers(len(self._streams)))]
        name = options["stream"]
        if name not in self._streams:
            raise SettingsError(f"there is no stream {name!r}" + suggestion(str(name), self._streams))
        return self._streams[name]

    def _blank(self) -> Image:
        shape = (self.settings.frames_per_turn, self.settings.height_px, self.settings.width_px, 3)
        return np.zeros(shape, dtype=np.uint8)

    def _nothing(self) -> Observation:
        times = np.full(self.settings.frames_per_turn, NO_TIME_S)
        return {"frames": self._blank(), "times_s": times, "frame_count": np.int64(0), "question": ""}

    def _info(self) -> Info:
        return {
            "stream": self._stream_id,
            "turn": self._turn,
            "time_s": self._now_s,
            "item": "" if self._pending is None else self._pending.item.id,
            "questions_left": len(self._questions),
        }


def _observation_space(settings: Settings, streams: Sequence[Stream]) -> spaces.Dict:
    most, shape = settings.frames_per_turn, (settings.height_px, settings.width_px, 3)
    return spaces.Dict(
        {
            "frames": spaces.Box(0, 255, (most, *shape), dtype=np.uint8),
            "times_s": spaces.Box(NO_TIME_S, np.inf, (most,), dtype=np.float64),
            "frame_count": spaces.Discrete(most + 1),
            "question": Instruction(question_text(q.item) for stream in streams for q in stream.questions),
        }
    )
