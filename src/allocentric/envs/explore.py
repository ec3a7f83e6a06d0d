"""Walk through a scene, looking around: find something, reach a point, or look and then answer a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np

from allocentric.core import navigation
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import SettingsError
from allocentric.core.geometry import wrap_angle
from allocentric.core.types import Image, Item, Scene, Unreadable
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.exploration import episodes
from allocentric.envs.exploration.eyes import Eyes
from allocentric.envs.exploration.floor import Array, DistanceField
from allocentric.envs.exploration.goals import Goal
from allocentric.envs.exploration.settings import NEAR_M, Settings, action_space, check_task, observation_space
from allocentric.envs.exploration.tour import Tour
from allocentric.envs.exploration.walker import Pose, step_ends_m, stepped, tilted, turned
from allocentric.envs.questions import check_items, judge, question_text
from allocentric.scenes.render.contract import Channel
from allocentric.scenes.walkable import WalkableMap, walkable_map

IDS = {"Explore-v0": "Explore"}

STOP, FORWARD, LEFT, RIGHT, UP, DOWN = range(6)
"""Moves. STOP ends the episode: there is the goal, or, for a question, here is the answer."""

Observation = dict[str, Any]
Info = dict[str, Any]


class Lookahead(NamedTuple):
    """What only a guide knows: for baselines that follow shortest paths."""

    near: bool
    """The goal is near enough here."""
    success: bool
    """Stopping now would succeed."""
    bearing_rad: float
    """Where to look for the goal; + is left."""
    ahead_m: Array
    """(K,) geodesic distance left after k turns to the left and one step forward, k = 0 ... K - 1, once round."""


class Explore(gymnasium.Env[Observation, Any]):
    """First-person walking in scenes with rooms.

    Asynchronous vectors that draw need `vector_kwargs={"context": "spawn"}`: no driver survives a fork.

    Observation: `instruction` text, and per sensor: `rgb` (H, W, 3) uint8; `depth_m` (H, W) float32 z-depth, inf where
    nothing is; `id` (H, W) int32 (k is scene.objects[k], then structure, -1 nothing); `position_m` (2,) ahead and left
    of the start pose; `heading_rad` (2,) turn to the left since the start, and pitch; `goal_m` (2,) ahead and left of
    the walker (points only).

    Action: one of STOP, FORWARD, LEFT, RIGHT, UP, DOWN (Discrete(6), what every library plays). Where a question is
    answered, {"move": one of these, "answer": text}; the answer is read with STOP only. Text stays beside the move
    because a space of texts alone can't be sampled to any use.

    `reset(seed=k)` draws scene, goal and start from the seed alone; `options` may fix "scene_id" and "goal" (a
    category, or an item's id). `info` has the geodesic `distance_m` to the goal, and at the end `success`, `spl`,
    `soft_spl` and `oracle_success`, or for a question `score` and `unreadable`; its `level` is the question's kind.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - declared by gymnasium

    def __init__(
        self,
        scenes: Sequence[Scene] | Mapping[str, Any] | str = "procedural",
        *,
        items: Sequence[Item] = (),
        walkable: Callable[[Scene], WalkableMap] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
        **settings: Any,
    ) -> None:
        """Nothing is loaded before the first reset.

        Args:
            scenes: Scenes; or the name of a catalogued source; or {"name": source, ...its settings}.
            items: The questions, with their gold answers, about these scenes (task `question` only).
            walkable: Makes the walkable map of a scene; None is `scenes.walkable` with `radius_m`.
            render_mode: "rgb_array" lets `render` give what the walker sees.
            **settings: Fields of `Settings`.

        Raises:
            SettingsError: A setting is unknown or wrong.
            DataError: There are no scenes, or an item's answer can't be said in a text.
        """
        self.settings = settings_from_mapping(Settings, settings, where=type(self).__name__)
        self.items = check_items(items)
        check_task(self.settings, self.items)
        made = walkable or partial(walkable_map, radius_m=self.settings.radius_m)
        self._places = episodes.Places(episodes.source_of(scenes), made)
        self._eyes = _eyes(self.settings)
        self.render_mode = render_mode
        self.action_space = action_space(self.settings)
        self.observation_space = observation_space(self.settings, self.items)
        self._near_m = self.settings.success_distance_m or NEAR_M[self.settings.task]
        self._episode: episodes.Episode | None = None
        self._over = True

    # ------------------------------------------------------------------------------------------------ the interface

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start an episode; DataError where none can be drawn."""
        super().reset(seed=seed)
        self._episode = self._draw(_only(options or {}))
        self._pose = self._episode.start
        self._trail_m = [self._pose.xy_m]
        self._steps = self._collisions = 0
        self._walked_m = 0.0
        self._shortest_m = self._distance_m = self._left_m()
        self._was_near = self._is_near()
        self._tour: Tour | None = None
        self._toured = 0
        self._over = False
        return self._observation(), self._info(collided=False)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Move, or stop. EpisodeOverError after the end."""
        if self._over:
            raise EpisodeOverError
        move, answer = self._parts(action)
        self._steps += 1
        before = self._distance_m
        collided = self._move(move)
        terminated = move == STOP
        truncated = not terminated and self._steps >= self.settings.max_steps
        self._over = terminated or truncated
        reward = 0.0
        if self.settings.reward == "progress" and self._episode_now().goal is not None:
            reward = before - self._distance_m
        info = self._info(collided=collided)
        if self._over:
            outcome, worth = self._outcome(terminated, answer)
            info |= outcome
            reward += worth
        return self._observation(), reward, terminated, truncated, info

    def render(self) -> Image | None:
        """What the walker sees, where `render_mode` is "rgb_array"."""
        return self._see("rgb").rgb if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Release the renderer; closing twice is fine."""
        self._eyes.close()

    # --------------------------------------------------------------------------------- for guides, maps and analysis

    @property
    def scene(self) -> Scene:
        """The scene of the current episode."""
        return self._episode_now().place.scene

    @property
    def item(self) -> Item | None:
        """The question of the current episode with its gold answer; None where none is asked."""
        return self._episode_now().item

    @property
    def pose(self) -> Pose:
        """Where the walker stands and looks now, in the world."""
        self._episode_now()
        return self._pose

    @property
    def trail_m(self) -> Array:
        """(steps + 1, 2) world positions so far."""
        self._episode_now()
        return np.array(self._trail_m)

    def shortest_way_m(self) -> Array:
        """(P, 2) world points of the shortest way from here to the goal. SettingsError where there is no goal."""
        place, goal = self._goal()
        return place.floor.way_m(place.floor.field(goal.cells), self._pose.xy_m)

    def lookahead(self) -> Lookahead:
        """What is left to walk, here and after each next step. SettingsError where there is no goal."""
        place, goal = self._goal()
        return self._look_ahead(place.floor.field(goal.cells))

    def survey(self) -> Lookahead:
        """Like `lookahead`, but the way leads all over the floor, from one station of a `Tour` to the next.

        The tour depends on the floor and the walk so far; of the goal only the other fields tell: whether it is near,
        and then where. SettingsError where there is no goal.
        """
        place, _ = self._goal()
        if self._tour is None:
            self._tour = Tour(place.floor, self._near_m)
        for point_m in self._trail_m[self._toured :]:
            self._tour.pass_by(point_m)
        self._toured = len(self._trail_m)
        return self._look_ahead(self._tour.field())

    def _look_ahead(self, field: DistanceField) -> Lookahead:
        place, goal = self._goal()
        turns = range(max(round(2 * np.pi / self.settings.turn_rad), 1))
        headings_rad = [turned(self._pose, k * self.settings.turn_rad).heading_rad for k in turns]
        after_m, _ = step_ends_m(
            place.floor, self._pose.xy_m, headings_rad, self.settings.step_m, self.settings.collision
        )
        to_goal = goal.target_m(self._pose.xy_m) - self._pose.xy_m
        bearing = float(wrap_angle(np.arctan2(to_goal[1], to_goal[0]) - self._pose.heading_rad))
        return Lookahead(self._is_near(), self._succeeds(), bearing, place.floor.distances_m(field, after_m))

    # -------------------------------------------------------------------------------------------------------- moving

    def _parts(self, action: Any) -> tuple[int, str]:
        answer = ""
        try:
            if self.settings.task == "question":
                action, answer = action["move"], action["answer"]
            move = int(action)
        except (KeyError, TypeError, ValueError, IndexError):
            move = -1
        if not STOP <= move <= DOWN or not isinstance(answer, str):
            expected = "0 stop, 1 forward, 2 left, 3 right, 4 up, 5 down"
            if self.settings.task == "question":
                expected = f"{{'move': {expected}; 'answer': text}}"
            raise SettingsError(f"an action is {expected}; got {action!r}")
        return move, answer

    def _move(self, move: int) -> bool:
        """Carry out a move; whether something stood in the way."""
        settings, collided = self.settings, False
        if move == FORWARD:
            floor = self._episode_now().place.floor
            self._pose, collided = stepped(floor, self._pose, settings.step_m, settings.collision)
            self._collisions += collided
            self._walked_m += float(np.hypot(*(self._pose.xy_m - self._trail_m[-1])))
            self._distance_m = self._left_m()
            self._was_near = self._was_near or self._is_near()
        elif move in (LEFT, RIGHT):
            self._pose = turned(self._pose, settings.turn_rad if move == LEFT else -settings.turn_rad)
        elif move in (UP, DOWN):
            tilt = settings.tilt_rad if move == UP else -settings.tilt_rad
            self._pose = tilted(self._pose, tilt, settings.largest_tilt_rad)
        self._trail_m.append(self._pose.xy_m)
        return collided

    def _draw(self, only: episodes.Only) -> episodes.Episode:
        bounds = episodes.Bounds(
            least_m=self.settings.min_distance_m,
            most_m=self.settings.max_distance_m,
            near_m=self._near_m,
            categories=self.settings.categories,
        )
        match self.settings.task:
            case "object":
                return episodes.draw_object_episode(self._places, bounds, self.np_random, only)
            case "point":
                return episodes.draw_point_episode(self._places, bounds, self.np_random, only)
            case "question":
                return episodes.draw_question_episode(self._places, self.items, self.np_random, only)

    # ------------------------------------------------------------------------------------------------------- judging

    def _episode_now(self) -> episodes.Episode:
        if self._episode is None:
            raise EpisodeOverError
        return self._episode

    def _goal(self) -> tuple[episodes.Place, Goal]:
        episode = self._episode_now()
        if episode.goal is None:
            raise SettingsError("a question has no place to walk to; shortest ways exist for objects and points")
        return episode.place, episode.goal

    def _left_m(self) -> float:
        episode = self._episode_now()
        if episode.goal is None:
            return 0.0
        floor = episode.place.floor
        return floor.distance_m(floor.field(episode.goal.cells), self._pose.xy_m)

    def _is_near(self) -> bool:
        goal = self._episode_now().goal
        return goal is not None and goal.is_near(self._pose.xy_m)

    def _succeeds(self) -> bool:
        if not self._is_near() or self.settings.success == "near":
            return self._is_near()
        seen = self._see("id").id
        _, goal = self._goal()
        return int(np.isin(seen, goal.object_indices).sum()) >= self.settings.min_visible_px

    def _outcome(self, stopped: bool, answer: str) -> tuple[Info, float]:
        """What is told at the end, and what it is worth."""
        episode = self._episode_now()
        if episode.item is not None:
            score = judge(episode.item, answer if stopped else "")
            value = score.value or 0.0
            unreadable = isinstance(score.answer, Unreadable)
            return {"success": value == 1.0, "score": value, "unreadable": unreadable}, value
        success = stopped and self._succeeds()
        spl = navigation.spl(success, shortest_m=self._shortest_m, path_m=self._walked_m)
        soft = navigation.soft_spl(self._distance_m, shortest_m=self._shortest_m, path_m=self._walked_m)
        outcome = {"success": success, "spl": float(spl), "soft_spl": float(soft), "oracle_success": self._was_near}
        return outcome, float(success)

    # ----------------------------------------------------------------------------------------------------- observing

    def _see(self, *channels: Channel) -> Any:
        place = self._episode_now().place
        return self._eyes.see(place.scene, self._pose, place.floor_z_m, channels)

    def _observation(self) -> Observation:
        episode, sensors = self._episode_now(), self.settings.sensors
        out: Observation = {"instruction": self._instruction(episode)}
        channels: tuple[Channel, ...] = tuple(name for name in ("rgb", "depth", "id") if name in sensors)
        if channels:
            frame = self._see(*channels)
            pictures = {"rgb": frame.rgb, "depth_m": frame.depth_m, "id": frame.id}
            out |= {key: picture for key, picture in pictures.items() if picture is not None}
        if "position" in sensors:
            out["position_m"] = _in_frame(self._pose.xy_m, episode.start)
        if "heading" in sensors:
            turn = wrap_angle(self._pose.heading_rad - episode.start.heading_rad)
            out["heading_rad"] = np.array([turn, self._pose.pitch_rad])
        if "goal" in sensors and episode.goal is not None:
            out["goal_m"] = _in_frame(episode.goal.target_m(self._pose.xy_m), self._pose)
        return out

    def _instruction(self, episode: episodes.Episode) -> str:
        if episode.item is not None:
            return question_text(episode.item)
        assert episode.goal is not None
        if self.settings.task == "object":
            return f"Walk to the nearest {episode.goal.name} and stop there."
        ahead, left = _in_frame(episode.goal.target_m(episode.start.xy_m), episode.start)
        along = f"{abs(ahead):.2f} m {'ahead of' if ahead >= 0 else 'behind'}"
        aside = f"{abs(left):.2f} m to the {'left' if left >= 0 else 'right'}"
        return f"Walk to the point that is {along} and {aside} of where you started, and stop there."

    def _info(self, collided: bool) -> Info:
        episode = self._episode_now()
        info = {
            "task": self.settings.task,
            "scene_id": episode.place.scene.id,
            "goal": episode.item.id if episode.item is not None else episode.goal.name if episode.goal else "",
            "position_m": self._pose.xy_m,
            "heading_rad": self._pose.heading_rad,
            "steps": self._steps,
            "collided": collided,
            "collisions": self._collisions,
            "path_length_m": self._walked_m,
            "success": False,
        }
        if episode.goal is not None:
            info |= {"distance_m": self._distance_m, "shortest_m": self._shortest_m}
        if episode.item is not None:
            info["level"] = episode.item.kind
        return info


def _in_frame(point_m: Array, frame: Pose) -> Array:
    """(2,) world point -> ahead and left of a pose."""
    away = point_m - frame.xy_m
    ahead = np.array([np.cos(frame.heading_rad), np.sin(frame.heading_rad)])
    return np.array([away @ ahead, away @ np.array([-ahead[1], ahead[0]])])


def _only(options: Mapping[str, Any]) -> episodes.Only:
    unknown = set(options) - {"scene_id", "goal"}
    if unknown:
        raise SettingsError(f"unknown reset option {min(unknown)!r}; known: goal, scene_id")
    return episodes.Only(scene_id=options.get("scene_id"), goal=options.get("goal"))


def _eyes(settings: Settings) -> Eyes:
    return Eyes(
        renderer=settings.renderer,
        width_px=settings.width_px,
        height_px=settings.height_px,
        fov_rad=settings.horizontal_fov_rad,
        eye_height_m=settings.eye_height_m,
    )
