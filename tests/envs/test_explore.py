"""Walking in houses: the rules of moving, what is seen, what counts as done, and how well the baselines walk."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from allocentric.agents.navigators import FullSweep, GeodesicFollower, RandomNavigator, StopAtOnce
from allocentric.core.errors import DataError, SettingsError, UserError
from allocentric.core.geometry import pose
from allocentric.core.types import Choice, Direction, Item, Number, Object, Opening, Room, Scene
from allocentric.envs import register_all
from allocentric.envs.errors import EpisodeOverError
from allocentric.envs.explore import DOWN, FORWARD, LEFT, RIGHT, STOP, UP, Explore

NAME = "allocentric/Explore-v0"
SMALL = {"width_px": 32, "height_px": 24}
BLIND = ("position", "heading")

register_all()


def box(name: str, xy: tuple[float, float], size: tuple[float, float, float], room: str | None = None) -> Object:
    at = pose([*xy, size[2] / 2])
    return Object(id=name, label=name.split("-")[0], world_from_object=at, size_m=np.array(size), room_id=room)


def two_rooms(**more: Any) -> Scene:
    """Rooms of 4 x 4 m with a wall of 0.2 m between them and a door at the far end; a chair, and a table next door."""
    door = Opening(
        kind="passage", segment_m=np.array([[4.1, 3.0], [4.1, 4.0]]), bottom_m=0, top_m=2, connects=("a", "b")
    )
    rooms = tuple(
        Room(
            id=name,
            kind="unknown",
            floor_polygon_m=np.array([[x, 0], [x + 4.0, 0], [x + 4.0, 4], [x, 4]]),
            floor_z_m=0.0,
            height_m=2.5,
            openings=(door,),
        )
        for name, x in (("a", 0.0), ("b", 4.2))
    )
    objects = (box("chair-1", (1.0, 1.0), (0.5, 0.5, 0.9), "a"), box("table-1", (4.6, 0.5), (0.6, 0.8, 0.7), "b"))
    return replace(Scene(id="two", objects=objects, rooms=rooms, source="test", license="CC0-1.0"), **more)


def items() -> list[Item]:
    common = {"scene_id": "two", "source": "test"}
    return [
        Item(id="i0", kind="k", prompt="How many chairs?", gold=Number(1.0), **common),
        Item(id="i1", kind="k", prompt="Which is taller?", choices=("chair", "table"), gold=Choice(0), **common),
    ]


def make(**settings: Any) -> Explore:
    return Explore([two_rooms()], **({"sensors": BLIND, **SMALL} | settings))


def place(env: Explore, x_m: float, y_m: float, heading_rad: float, goal: str | None = None) -> None:
    """Begin an episode and put the walker somewhere."""
    env.reset(seed=0, options={} if goal is None else {"goal": goal})
    env._pose = env._pose._replace(x_m=x_m, y_m=y_m, heading_rad=heading_rad)
    env._trail_m = [env._pose.xy_m]
    env._distance_m = env._shortest_m = env._left_m()


# ------------------------------------------------------------------------------------------------ Gymnasium's contract


@pytest.mark.parametrize(
    "settings",
    [
        {"sensors": ("rgb", "depth", "id")},
        {"sensors": BLIND},
        {"task": "point", "sensors": (*BLIND, "goal")},
        {"task": "question", "items": items(), "sensors": ("rgb",)},
    ],
    ids=["pictures", "blind", "point", "question"],
)
def test_gymnasiums_checks_pass(settings: dict[str, Any]) -> None:
    made = gymnasium.make(NAME, scenes=[two_rooms()], render_mode="rgb_array", max_steps=7, **SMALL, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(made.unwrapped)
    messages = [str(one.message) for one in caught]
    assert not [text for text in messages if "infinity" not in text]  # depth and positions have no bounds


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("sensors", [("rgb", "depth", "id", *BLIND), ()], ids=["all", "none"])
def test_same_seed_same_bytes(sensors: tuple[str, ...]) -> None:
    first, second = (Explore({"name": "procedural", "count": 5}, sensors=sensors, **SMALL) for _ in range(2))
    second.reset(seed=99)  # what was played before does not matter
    scenes = set()
    for seed in range(3):
        policies = RandomNavigator(), RandomNavigator()
        (a, info_a), (b, info_b) = first.reset(seed=seed), second.reset(seed=seed)
        for policy in policies:
            policy.reset(seed)
        for _ in range(10):
            assert same(a, b)
            assert all(np.array_equal(info_a[key], info_b[key]) for key in info_a)
            a, *_, over_a, _, info_a = first.step(policies[0].act(a))
            b, *_, info_b = second.step(policies[1].act(b))
            if over_a or first._over:
                break
        scenes.add(info_a["scene_id"])
    assert len(scenes) > 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("task", ["object", "question"])
def test_vectors_play_the_episodes_of_single_environments(mode: str, task: str) -> None:
    options: dict[str, Any] = {
        "scenes": [two_rooms()],
        "task": task,
        "max_steps": 4,
        "sensors": ("rgb", *BLIND),
        **SMALL,
    }
    if task == "question":
        options["items"] = items()
    how = {"context": "spawn"} if mode == "async" else {}
    vector = gymnasium.make_vec(NAME, num_envs=2, vectorization_mode=mode, vector_kwargs=how, **options)
    singles = [gymnasium.make(NAME, **options) for _ in range(2)]
    observations, _ = vector.reset(seed=7)
    alone = [env.reset(seed=7 + index)[0] for index, env in enumerate(singles)]
    over, rng = [False] * 2, np.random.default_rng(0)
    try:
        for _ in range(12):
            for index in range(2):
                assert same({key: value[index] for key, value in observations.items()}, alone[index])
            moves = rng.choice([STOP, FORWARD, FORWARD, LEFT], size=2)
            actions: Any = moves
            single: list[Any] = list(moves)
            if task == "question":
                actions = {"move": moves, "answer": ("1", "B")}
                single = [{"move": move, "answer": answer} for move, answer in zip(moves, ("1", "B"), strict=True)]
            observations, rewards, terminated, truncated, _ = vector.step(actions)
            for index, env in enumerate(singles):
                if over[index]:
                    alone[index], over[index] = env.reset()[0], False
                    continue
                alone[index], reward, *ends, _ = env.step(single[index])
                assert (rewards[index], terminated[index], truncated[index]) == (reward, *ends)
                over[index] = any(ends)
    finally:
        vector.close()


def test_without_pictures_no_renderer_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from allocentric.scenes.render import raster

    def refuse(*_: Any) -> None:
        raise AssertionError("a renderer was built")

    monkeypatch.setattr(raster, "build", refuse)
    env = make()
    env.reset(seed=1)
    env.step(FORWARD)
    env.step(STOP)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")  # it logs the child's error before raising it
def test_a_fork_of_a_process_that_has_drawn_is_told_to_spawn() -> None:
    env = make(sensors=("rgb",))
    env.reset(seed=0)
    vector = gymnasium.make_vec(
        NAME, num_envs=1, vectorization_mode="async", scenes=[two_rooms()], vector_kwargs={"context": "fork"}, **SMALL
    )
    try:
        with pytest.raises(UserError, match="forked from one that has drawn"):
            vector.reset(seed=0)
    finally:
        vector.close(terminate=True)
        env.close()


# ------------------------------------------------------------------------------------------------------------- moving


def test_moves_are_steps_and_turns_of_the_settings() -> None:
    env = make(step_m=0.3, turn_rad=0.5, tilt_rad=0.4, largest_tilt_rad=0.6)
    place(env, 2.0, 2.0, 0.0)
    env.step(FORWARD)
    assert env.pose[:3] == pytest.approx((2.3, 2.0, 0.0))
    env.step(LEFT)
    assert env.pose.heading_rad == pytest.approx(0.5)
    *_, info = env.step(FORWARD)
    assert env.pose[:2] == pytest.approx((2.3 + 0.3 * np.cos(0.5), 2.0 + 0.3 * np.sin(0.5)))
    env.step(RIGHT)
    assert env.pose.heading_rad == pytest.approx(0.0)
    env.step(UP)
    env.step(UP)
    assert env.pose.pitch_rad == pytest.approx(0.6)
    env.step(DOWN)
    assert env.pose.pitch_rad == pytest.approx(0.2)
    assert info["path_length_m"] == pytest.approx(0.6)
    assert not info["collided"]


def test_walls_stop_or_let_slide() -> None:
    heading = np.radians(-60.0)  # into the wall y = 0, a little along +x
    for collision, moved_x in (("stop", False), ("slide", True)):
        env = make(collision=collision)
        place(env, 2.5, 0.3, heading)
        for _ in range(4):
            *_, info = env.step(FORWARD)
            assert info["collided"]
        assert env.pose.y_m == pytest.approx(0.2, abs=0.06)  # the body's radius
        assert (env.pose.x_m > 2.8) is moved_x
        assert info["collisions"] == 4
        assert info["path_length_m"] == pytest.approx(np.hypot(*np.diff(env.trail_m, axis=0).T).sum())


@pytest.mark.parametrize("collision", ["stop", "slide"])
def test_nobody_walks_through_things(collision: str) -> None:
    env = Explore("procedural", sensors=(), collision=collision)
    rng = np.random.default_rng(3)
    for seed in range(4):
        env.reset(seed=seed)
        floor = env._episode_now().place.floor
        for _ in range(150):
            env.step(int(rng.choice([FORWARD, FORWARD, LEFT, RIGHT])))
        between = np.linspace(0, 1, 9)[:, None, None]
        trail = env.trail_m
        if collision == "stop":
            assert floor.is_free(trail[:-1] + between * np.diff(trail, axis=0)).all()
        assert floor.is_free(trail).all()


def test_observed_position_and_heading_are_relative_to_the_start() -> None:
    env = make()
    place(env, 2.0, 2.0, 0.7)
    env._episode = replace(env._episode_now(), start=env.pose)
    env.step(FORWARD)
    observation, *_ = env.step(LEFT)
    np.testing.assert_allclose(observation["position_m"], [0.25, 0.0], atol=1e-12)
    np.testing.assert_allclose(observation["heading_rad"], [np.radians(15), 0.0])


def test_pictures_show_what_the_camera_sees() -> None:
    env = Explore([two_rooms()], sensors=("rgb", "depth", "id"), width_px=64, height_px=48)
    place(env, 2.0, 1.0, np.pi)  # facing the chair
    observation, *_ = env.step(DOWN)
    seen = observation["id"]
    assert (seen == 0).sum() > 100
    middle = seen[:, 31:33]
    assert (middle == 0).any()
    depth = observation["depth_m"][seen == 0]
    assert 0.5 < depth.min() < 1.4
    observation, *_ = env.step(LEFT)
    columns = np.argwhere(observation["id"] == 0)[:, 1]
    assert columns.mean() > 32, "turning left moves things right"
    env.close()


# ---------------------------------------------------------------------------------------------------------- distances


def test_distances_are_euclidean_in_the_open_and_go_round_walls() -> None:
    env = make(task="point", sensors=("goal",))
    floor = env._places.get("two").floor
    goal = np.zeros_like(floor.free)
    goal[tuple(floor.grid.cell_from_world([2.0, 3.0]))] = True
    field = floor.field(goal)
    inside = floor.grid.room[floor.free] == 0
    centre = floor.grid.world_from_cell(floor.grid.cell_from_world([2.0, 3.0]))
    points = floor.centres_m[inside & (floor.centres_m[:, 1] > 1.6)]  # the chair hides nothing there
    straight = np.hypot(*(points - centre).T)
    found = np.array([floor.distance_m(field, point) for point in points])
    assert np.all(found >= straight - 1e-9)
    assert np.all(found <= 1.014 * straight + 1e-9)
    # Next door, behind the wall: the way bends round both ends of the door's frame, 0.2 m away from it.
    there = np.array([5.0, 1.8])
    corners = np.array([[3.8, 3.2], [4.4, 3.2]])
    legs = [centre, *corners, there]
    bent = sum(np.hypot(*(b - a)) for a, b in itertools.pairwise(legs))
    assert floor.distance_m(field, there) == pytest.approx(bent, rel=0.03)
    assert floor.distance_m(field, there) > 1.15 * np.hypot(*(there - centre))
    way = floor.way_m(field, there)
    assert np.hypot(*np.diff(way, axis=0).T).sum() == pytest.approx(
        field.distance_m[tuple(floor.grid.cell_from_world(there))]
    )
    assert floor.is_free(way).all()


def test_near_is_measured_to_the_box_and_not_through_walls() -> None:
    env = make(success_distance_m=1.0)
    place(env, 1.0, 2.2, 0.0, goal="chair")
    assert env.lookahead().near  # 0.95 m from the box's edge, 1.2 m from its centre
    place(env, 1.0, 2.3, 0.0, goal="chair")
    assert not env.lookahead().near
    place(env, 3.7, 0.5, 0.0, goal="table")
    assert not env.lookahead().near  # 0.6 m away, but the wall is between
    assert env.lookahead().ahead_m.min() > 4.0


def test_stopping_near_succeeds_and_elsewhere_fails() -> None:
    env = make()
    place(env, 1.0, 2.0, 0.0, goal="chair")
    _, reward, terminated, truncated, info = env.step(STOP)
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    place(env, 3.0, 3.0, 0.0, goal="chair")
    _, reward, terminated, _, info = env.step(STOP)
    assert (reward, terminated, info["success"], info["spl"]) == (0.0, True, False, 0.0)
    with pytest.raises(EpisodeOverError, match="the episode is over"):
        env.step(FORWARD)


def test_renderers_take_their_settings() -> None:
    pictures = []
    for shadows in (True, False):
        env = make(sensors=("rgb",), renderer={"name": "raster", "shadows": shadows}, width_px=64, height_px=48)
        place(env, 2.0, 1.0, np.pi)
        pictures.append(env.step(DOWN)[0]["rgb"])
        env.close()
    assert not np.array_equal(*pictures)


def test_in_view_needs_the_thing_in_the_picture() -> None:
    for heading, success in ((np.pi, True), (0.0, False)):
        env = make(success="near_in_view", success_distance_m=1.5, min_visible_px=20)
        place(env, 2.4, 1.0, heading, goal="chair")
        assert env.lookahead().near
        assert env.step(STOP)[4]["success"] is success
        env.close()


def test_the_follower_turns_to_bring_a_near_goal_into_view() -> None:
    env = make(success="near_in_view", success_distance_m=1.5, min_visible_px=20)
    place(env, 2.4, 1.0, 0.5, goal="chair")
    guide = GeodesicFollower(env)
    for _ in range(20):
        *_, terminated, _, info = env.step(guide.act(None))
        if terminated:
            break
    assert info["success"]
    env.close()


def test_a_limit_truncates_and_never_succeeds() -> None:
    env = make(max_steps=3)
    place(env, 1.0, 2.0, 0.0, goal="chair")
    for count in range(3):
        _, reward, terminated, truncated, info = env.step(LEFT)
        assert (terminated, truncated) == (False, count == 2)
    assert (reward, info["success"], info["spl"], info["oracle_success"]) == (0.0, False, 0.0, False)


def test_progress_rewards_add_up_to_the_way_gained() -> None:
    env = make(reward="progress")
    place(env, 3.0, 3.0, np.pi, goal="chair")
    start = env.lookahead()
    left = env._left_m()
    rewards = [env.step(FORWARD)[1] for _ in range(3)]
    assert sum(rewards) == pytest.approx(left - env._left_m())
    assert env._left_m() < left
    assert not start.near


# ---------------------------------------------------------------------------------------------------------- questions


def test_answers_are_scored_by_the_shared_scorer() -> None:
    cases = [("i0", "1", 1.0, False), ("i0", "2", 0.0, False), ("i1", "A", 1.0, False), ("i1", "perhaps", 0.0, True)]
    env = make(task="question", items=items())
    for item, answer, worth, unreadable in cases:
        observation, info = env.reset(seed=0, options={"goal": item})
        assert info["goal"] == item
        assert ("A. chair" in observation["instruction"]) == (item == "i1")
        env.step({"move": LEFT, "answer": "not yet"})
        _, reward, terminated, _, info = env.step({"move": STOP, "answer": answer})
        assert (reward, terminated, info["score"], info["unreadable"]) == (worth, True, worth, unreadable)
    env.reset(seed=0)
    with pytest.raises(SettingsError, match="no place to walk to"):
        env.lookahead()


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tsak": "object"}, "unknown setting 'tsak'; did you mean 'task'"),
        ({"task": "question"}, "'question' needs items"),
        ({"items": items()}, "only it takes any"),
        ({"task": "point", "success": "near_in_view"}, "needs the task 'object'"),
        ({"sensors": ("goal",)}, "the sensor 'goal' needs the task 'point'"),
        ({"min_distance_m": 5.0, "max_distance_m": 4.0}, "expected min_distance_m < max_distance_m"),
        ({"turn_rad": 0.0}, "turn_rad"),
        ({"renderer": {"shadows": False}}, "renderer: expected a name"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(**settings)


def test_wrong_actions_options_and_scenes_are_one_line() -> None:
    env = make()
    with pytest.raises(EpisodeOverError, match=r"call reset\(\)"):
        env.step(FORWARD)
    env.reset(seed=0)
    for wrong in (9, -1, "forward", None, {"move": 1}):
        with pytest.raises(SettingsError, match="an action is 0 stop"):
            env.step(wrong)
    with pytest.raises(SettingsError, match="unknown reset option 'scene'"):
        env.reset(options={"scene": "two"})
    with pytest.raises(DataError, match="there is no scene 'tow'; did you mean 'two'"):
        env.reset(options={"scene_id": "tow"})
    with pytest.raises(DataError, match="sofa can't be walked to"):
        env.reset(options={"scene_id": "two", "goal": "sofa"})
    with pytest.raises(DataError, match="has no rooms"):
        Explore([two_rooms(rooms=())], sensors=()).reset(seed=0)
    with pytest.raises(SettingsError, match="got no name"):
        Explore({"count": 3})
    pointing = replace(items()[0], gold=Direction(0.0, 0.0))
    with pytest.raises(DataError, match="can't be said in a text"):
        make(task="question", items=[pointing])


# ---------------------------------------------------------------------------------------------------------- baselines


def play(env: Explore, policy: Any, seeds: range) -> list[dict[str, Any]]:
    ends = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        policy.reset(seed)
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step(policy.act(observation))
            over = terminated or truncated
        ends.append(info)
    return ends


def least_spl(env: Explore, end: dict[str, Any]) -> float:
    """What steps and turns of fixed size may cost: zigzags of half a turn, one step too far, a cell of the map."""
    longest = end["shortest_m"] / np.cos(env.settings.turn_rad / 2) + env.settings.step_m + 0.1
    return float(end["shortest_m"] / longest)


def check_baselines(env: Explore, seeds: range) -> None:
    oracle = play(env, GeodesicFollower(env), seeds)
    assert all(end["success"] for end in oracle)
    assert all(end["spl"] >= least_spl(env, end) - 0.03 for end in oracle)
    assert np.mean([end["spl"] for end in oracle]) > 0.95
    chance = play(env, RandomNavigator(), seeds)
    assert np.mean([end["spl"] for end in chance]) < 0.1
    at_once = play(env, StopAtOnce(), seeds)
    assert not any(end["success"] for end in at_once)


@pytest.mark.parametrize("task", ["object", "point"])
def test_the_oracle_walks_shortest_ways_and_chance_does_not(task: str) -> None:
    check_baselines(Explore({"name": "procedural", "count": 6}, task=task, sensors=()), range(10))


@pytest.mark.slow
def test_finer_steps_bring_the_oracle_to_one() -> None:
    env = Explore({"name": "procedural", "count": 4}, sensors=(), step_m=0.05, turn_rad=np.pi / 30, max_steps=2000)
    ends = play(env, GeodesicFollower(env), range(2))
    assert np.mean([end["spl"] for end in ends]) > 0.98


@pytest.mark.slow
def test_five_hundred_episodes_of_object_navigation() -> None:
    check_baselines(Explore("procedural", sensors=()), range(500))


# ---------------------------------------------------------------------------------------------------------- sweeping


def test_every_cell_is_near_a_station_as_walked() -> None:
    env = make()
    env.reset(seed=0)
    floor = env._episode_now().place.floor
    for reach_m in (0.5, 1.0):
        stations = floor.stations(reach_m)
        away = floor.field(stations).distance_m
        assert away[floor.free].max() <= reach_m + 1e-9
        apart = [floor.field(_only(stations, cell)).distance_m[stations] for cell in np.argwhere(stations)]
        assert np.sort(np.array(apart), axis=1)[:, 1].min() > reach_m  # none is there in vain


def _only(mask: np.ndarray[Any, Any], cell: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    one = np.zeros_like(mask)
    one[tuple(cell)] = True
    return one


def test_the_survey_leads_everywhere_whatever_is_looked_for() -> None:
    env = make()
    trails = []
    for goal in ("chair", "table"):
        place(env, 2.0, 2.0, 0.0, goal)
        moves = []
        for _ in range(60):
            ahead = env.survey().ahead_m
            best = int(np.argmin(ahead + 1e-6 * np.arange(len(ahead))))
            moves.append(FORWARD if best == 0 else LEFT)
            env.step(moves[-1])
        trails.append(env.trail_m)
    np.testing.assert_array_equal(*trails)
    asking = Explore([two_rooms()], items=items(), task="question", sensors=())
    asking.reset(seed=0)
    with pytest.raises(SettingsError, match="a question has no place to walk to"):
        asking.survey()


@pytest.mark.slow
def test_the_sweep_finds_in_small_houses_what_chance_does_not_and_the_oracle_sooner() -> None:
    env = Explore({"name": "procedural", "rooms": (2, 3)}, sensors=())
    policies = {"random": RandomNavigator(), "sweep": FullSweep(env), "oracle": GeodesicFollower(env)}
    found = {}
    for name, policy in policies.items():
        ends = play(env, policy, range(10))
        found[name] = [float(np.mean([end[key] for end in ends])) for key in ("success", "spl", "steps")]
    assert found["sweep"][0] >= 0.9 > 0.4 > found["random"][0]
    assert found["random"][1] < found["sweep"][1] < found["oracle"][1]
    assert found["sweep"][2] > 2 * found["oracle"][2]


def test_the_question_of_an_episode_is_known_to_who_asks_the_environment() -> None:
    env = Explore([two_rooms()], items=items(), task="question", sensors=())
    env.reset(seed=0, options={"goal": "i1"})
    assert env.item is env.items[1]
    walking = make()
    walking.reset(seed=0)
    assert walking.item is None
