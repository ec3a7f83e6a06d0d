"""Episodes of an expert: what it may know, where loss lies, and that `turns` feeds the same tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.agents.actions_text import parse_action
from allocentric.agents.actions_tools import head_action_from_call, parse_call
from allocentric.core.catalog import STAGES
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.runlog import read_samples
from allocentric.train import turns
from allocentric.train.demonstrations import IGNORED, Demonstrations, Recorder, demonstrations
from allocentric.train.episodes import episodes
from allocentric.train.playing import Player
from allocentric.train.recipe import DataSettings
from allocentric.train.run import train
from allocentric.train.work import Work, plan

SMALL = {"width_px": 64, "height_px": 36}
STEP = math.pi / 12


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def shown(folder: Path, answer: str = "short", **more: Any) -> Demonstrations:
    values = {"episodes": {"folder": str(folder), "settings": SMALL, "max_turns": 10, **more}, "answer": answer}
    return demonstrations(settings_from_mapping(DataSettings, values, where="data"), seed=0)


def recorder_of(work: Work, expert: Demonstrations) -> Recorder:
    loaded = work.checkpoint
    return Recorder(
        expert,
        loaded.processor,
        image_token=loaded.model.config.image_token_id,
        template={},
        room=work.encoder.require_room,
    )


@pytest.mark.parametrize("expert", ["sweep", "oracle"])
def test_an_expert_succeeds_in_whole_degrees(expert: str, panorama_folder: Path) -> None:
    played = shown(panorama_folder, expert=expert, version="hstar-v1")
    assert len(played.ids) == len(set(played.ids)) > 8
    lengths = [len(played.play(index).turns) for index in range(len(played.ids))]
    assert max(lengths) <= (2 if expert == "oracle" else 6)
    assert min(lengths) >= 1


def test_a_sweep_turns_to_what_it_sees_and_only_then(panorama_folder: Path) -> None:
    played = shown(panorama_folder, "rationale", expert="sweep", grid_rad=STEP)
    environment = played.environment
    for index in range(len(played.ids)):
        texts = [text for text, _, _ in played.play(index).turns]
        environment.reset(**played.episodes.rows[index])
        for text in texts:
            action = parse_action(text, "strict-v1")
            assert abs(math.remainder(action.yaw_rad, STEP)) < 1e-9
            seen = environment.env.sighted() is not None
            assert ("not in view" in text) == (not seen)
            if not seen:  # the next look of a round tells nothing of where the target is
                assert (action.kind, round(math.degrees(action.yaw_rad))) == ("rotate", 90)
            if action.kind == "submit":
                assert seen
                assert "at the cross" in text
            environment.act(text)
        assert environment.succeeded


def test_an_expert_without_enough_turns_is_named(panorama_folder: Path) -> None:
    played = shown(panorama_folder, expert="sweep", max_turns=1)
    with pytest.raises(DataError, match=r"episode 'one find the clé 180': the expert does not succeed in 1 turns"):
        played.play(2)


def test_an_expert_walks_to_its_goal() -> None:
    settings = {"scenes": {"name": "procedural", "rooms": [1, 1]}, "width_px": 32, "height_px": 24}
    values = {"environment": "explore", "settings": settings, "episodes": 1, "max_turns": 200, "protocol": "tools"}
    played = demonstrations(settings_from_mapping(DataSettings, {"episodes": values}, where="data"), seed=0)
    made = played.play(0)
    assert parse_call(made.turns[-1][0], "strict-v1").name == "stop"
    assert made.turns[-1][2] == "stop"
    assert all(isinstance(answer, list) for _, answer, _ in made.turns)


def test_wrong_settings_are_named(panorama_folder: Path, recipe_of: Any) -> None:
    with pytest.raises(SettingsError, match=r"grid_rad must be a whole part of a right angle, got 0\.7"):
        shown(panorama_folder, grid_rad=0.7)
    with pytest.raises(SettingsError, match="walks have the expert oracle"):
        shown(panorama_folder, environment="explore", episodes=1, expert="sweep")
    with pytest.raises(DataError, match="has no task number 99"):
        shown(panorama_folder, first_episode=99)
    learnt = {"episodes": {"folder": str(panorama_folder), "settings": SMALL}, "items": None, "frames": {"count": 0}}
    with pytest.raises(SettingsError, match=r"the stage grpo needs questions as `data`; episodes are for sft"):
        _ = Work(plan(recipe_of("grpo", data=learnt)), panorama_folder, None).questions
    with pytest.raises(SettingsError, match="14 held-out items are trained on"):
        plan(recipe_of("sft", data=learnt, held_out={"data": learnt, "every": 1}))
    stage = {"name": "turns", "folder": str(panorama_folder), "settings": SMALL, "episodes": 1}
    with pytest.raises(SettingsError, match="1 held-out items are trained on"):
        plan(recipe_of(stage, held_out={"data": learnt, "every": 1}))


def test_loss_lies_on_what_the_expert_writes(recipe_of: Any, panorama_folder: Path, tmp_path: Path) -> None:
    work = Work(plan(recipe_of("sft")), tmp_path, None)
    expert = shown(panorama_folder, "rationale", expert="sweep")
    recorder = recorder_of(work, expert)
    tokenizer = work.checkpoint.processor.tokenizer
    for index in (0, 2):
        example = recorder.example(index)
        learnt = example["labels"][0][example["labels"][0] != IGNORED]
        texts = [text for text, _, _ in expert.play(index).turns]
        assert tokenizer.decode(learnt) == "".join(f"{text}<|im_end|>" for text in texts)
        assert torch.equal(learnt, example["input_ids"][0][example["labels"][0] != IGNORED])
        assert len(example["image_grid_thw"]) == len(texts)  # the last turn is answered without a picture


@pytest.mark.slow
def test_a_run_learns_episodes_and_plays_held_out_ones(recipe_of: Any, panorama_folder: Path, tmp_path: Path) -> None:
    learnt = {"folder": str(panorama_folder), "settings": SMALL, "max_turns": 3, "episodes": 4}
    recipe = recipe_of(
        "sft",
        steps=2,
        data={"items": None, "episodes": learnt, "frames": {"count": 0}},
        held_out={
            "data": {"episodes": {**learnt, "first_episode": 4, "episodes": 3}},
            "every": 2,
            "batch_size": 2,
            "max_new_tokens": 4,
        },
    )
    result = train(recipe, tmp_path)
    assert [row["step"] for row in result.results["held_out"]] == [0, 2]
    assert result.results["data"]["train"]["count"] == 4
    last = result.results["held_out"][-1]
    assert last["items"] == 3
    assert last["unreadable"] == 3  # four tokens are no action
    kept = [row for key, row in read_samples(result.folder).items() if key.startswith("held_out/00000002/")]
    assert [row["turns"] for row in kept] == [3, 3, 3]
    assert {len(row["texts"]) for row in kept} == {3}


def scripted(tokenizer: Any, lines: list[list[str]], image_token: int, given: list[list[int]]) -> Any:
    """A `generate` that writes line after line for every row, told apart by the order of the batch."""
    turn = [0]

    def generate(**inputs: Any) -> torch.Tensor:
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        given.append([int((row == image_token).sum()) for row in ids])
        left = [row for row in lines if len(row) > turn[0]]
        assert len(left) == len(ids)
        said = [tokenizer.encode(f"{row[turn[0]]}<|im_end|>") for row in left]
        turn[0] += 1
        width = max(map(len, said))
        padded = [one + [tokenizer.pad_token_id] * (width - len(one)) for one in said]
        assert mask.any()
        return torch.cat([ids, torch.tensor(padded)], dim=1)

    return generate


def test_a_model_that_writes_what_the_expert_writes_succeeds(
    recipe_of: Any, panorama_folder: Path, tmp_path: Path
) -> None:
    work = Work(plan(recipe_of("sft")), tmp_path, None)
    expert = shown(panorama_folder, expert="sweep")
    lines = [[text for text, _, _ in expert.play(index).turns] for index in (0, 2, 5)]
    assert len({len(one) for one in lines}) > 1  # some end before others
    loaded = work.checkpoint
    given: list[list[int]] = []
    loaded.model.generate = scripted(loaded.processor.tokenizer, lines, loaded.model.config.image_token_id, given)
    player = Player(loaded.model, loaded.processor, expert.episodes, template={}, turn_tokens=64)
    records = player.play([expert.episodes.rows[index] for index in (0, 2, 5)])
    assert [record["texts"] for record in records] == lines
    assert all(record["success"] and record["format"] for record in records)
    assert given[1][0] == 2 * given[0][0]  # every turn brings a picture


@pytest.mark.slow
@pytest.mark.parametrize(("family", "protocol"), [("qwen2_5_vl", "text"), ("qwen3_vl", "text"), ("qwen3_vl", "tools")])
def test_a_demonstration_has_the_tokens_that_reinforcement_feeds(
    family: str, protocol: str, recipe_of: Any, panorama_folder: Path, tmp_path: Path
) -> None:
    expert = shown(panorama_folder, "rationale", expert="sweep", protocol=protocol, first_episode=2, episodes=1)
    lines = [text for text, _, _ in expert.play(0).turns]
    assert len(lines) >= 3
    read = (
        parse_action if protocol == "text" else lambda text, version: head_action_from_call(parse_call(text, version))
    )
    assert [read(text, "strict-v1").kind for text in lines][-1] == "submit"
    stage = {
        "name": "turns", "folder": str(panorama_folder), "settings": SMALL, "generations": 2, "max_new_tokens": 2000,
        "max_turns": 10, "first_episode": 2, "episodes": 1, "protocol": protocol,
    }  # fmt: skip
    work = Work(plan(recipe_of(stage, family, steps=1, batch_size=2)), tmp_path, None)
    if protocol == "tools":
        work.checkpoint.processor.chat_template = turns._tool_template()
    made = STAGES.load("turns").trainer(work, work.job.stage_settings)
    made.model.generate = scripted(made._tokenizer, [lines, lines], made.model.config.image_token_id, [])
    seen: dict[str, Any] = {}
    learn = made._compute_loss
    made._compute_loss = lambda model, inputs: (seen.update(inputs), learn(model, inputs))[1]
    made.train()
    example = recorder_of(work, expert).example(0)
    for row in range(2):
        prompt = seen["prompt_ids"][row][seen["prompt_mask"][row].bool()]
        mask = seen["completion_mask"][row].bool()
        fed = torch.cat([prompt, seen["completion_ids"][row][mask]])
        assert fed.tolist() == example["input_ids"][0].tolist()
        learnt = torch.cat([torch.zeros_like(prompt), seen["tool_mask"][row][mask]]).bool()
        assert learnt.tolist() == (example["labels"][0] != IGNORED).tolist()
    half = len(seen["pixel_values"]) // 2
    assert torch.equal(seen["pixel_values"][:half], example["pixel_values"])
    types = seen["mm_token_type_ids"][0][torch.cat([seen["prompt_mask"][0], seen["completion_mask"][0]]).bool()]
    assert types.tolist() == example["mm_token_type_ids"][0].tolist()


def test_episodes_are_drawn_alike_and_named_alike(panorama_folder: Path) -> None:
    settings = shown(panorama_folder).settings
    every, drawn = episodes(settings), episodes(settings, limit=5, seed=1)
    assert len(drawn.rows) == 5
    assert drawn == episodes(settings, limit=5, seed=1)
    assert (
        dict(zip(every.ids, every.rows, strict=True)).items() >= dict(zip(drawn.ids, drawn.rows, strict=True)).items()
    )
    assert every.record()["pictures_sha256"] != drawn.record()["pictures_sha256"]
