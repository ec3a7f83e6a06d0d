"""Whole episodes under TRL: both protocols, pictures in every turn, an end, and rewards that are logged apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from allocentric.agents.actions_text import HeadAction, text_from_action
from allocentric.agents.actions_tools import call_from_head_action, text_from_call
from allocentric.core.catalog import STAGES
from allocentric.core.errors import SettingsError
from allocentric.train import turns
from allocentric.train.environments import SearchText
from allocentric.train.work import Work, plan

SMALL = {"width_px": 64, "height_px": 36}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stage(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "turns", "folder": str(folder), "settings": SMALL, "generations": 2, "max_new_tokens": 900,
        "max_turns": 3, "episodes": 1, "rewards": {"success": 1.0, "format": 0.5, "distance": 0.25}, **more,
    }  # fmt: skip


def test_a_text_is_an_action_and_one_that_cannot_be_read_spends_a_turn(panorama_folder: Path) -> None:
    env = SearchText(panorama_folder, max_turns=3, **SMALL)
    first = env.reset(task=0)
    assert [block["type"] for block in first] == ["image", "text"]
    turned = env.act("<think>a</think><answer>rotate(-30,0)</answer>")
    assert turned[0]["type"] == "image"
    assert "Not understood" in env.act("what?")[0]["text"]
    assert not env.well_formed
    assert "The episode is over" in env.act("<think></think><answer>submit(0,0)</answer>")[-1]["text"]
    assert env.succeeded
    with pytest.raises(ValueError, match="The episode is over"):
        env.act("<think></think><answer>submit(0,0)</answer>")
    env.reset(task=0)
    assert not env.succeeded
    assert not env.well_formed  # nothing is done yet
    env.act("<think></think><answer>rotate(60,0)</answer>")
    assert env.progress == pytest.approx(-60 / 180, abs=0.01)  # the target is straight ahead at first
    env.reset(task=0)
    env.act("<think></think><answer>rotate(5,0)</answer>")
    assert env.progress == pytest.approx(-5 / 180, abs=0.01)
    assert env.well_formed


def test_wrong_settings_are_named(recipe_of: Any, panorama_folder: Path) -> None:
    with pytest.raises(SettingsError, match="search needs the folder of its tasks"):
        plan(recipe_of({"name": "turns"}))
    with pytest.raises(SettingsError, match="explore needs the number of episodes"):
        plan(recipe_of({"name": "turns", "environment": "explore"}))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "protocol"), [("qwen2_5_vl", "text"), ("qwen3_vl", "text"), ("qwen3_vl", "tools")])
def test_episodes_are_played_to_their_end_and_learnt_from(
    family: str, protocol: str, recipe_of: Any, panorama_folder: Path, tmp_path: Path
) -> None:
    """The words are scripted, all else is TRL's and ours: one model turns and submits, the other babbles."""
    credit = {"by": "preplan", "factor": 2.0, "share": 0.5}
    recipe = recipe_of(
        stage(panorama_folder, protocol=protocol, credit=credit), family, steps=1, batch_size=2, data={"frames": {}}
    )
    work = Work(plan(recipe), tmp_path, None)
    if protocol == "tools":
        work.checkpoint.processor.chat_template = turns._tool_template()
    made = STAGES.load("turns").trainer(work, work.job.stage_settings)
    own_template = work.checkpoint.processor.chat_template

    def say(kind: Any, yaw_degrees: float) -> str:
        action = HeadAction(kind, yaw_degrees * torch.pi / 180, 0.0)
        return text_from_action(action) if protocol == "text" else text_from_call(call_from_head_action(action))

    good, bad = [say("rotate", 30), say("submit", 0)], ["blah"] * 3
    drawn: list[list[int]] = []
    given: list[float] = []

    def scripted(**inputs: Any) -> torch.Tensor:
        ids = inputs["input_ids"]
        given.append(float((ids == made.model.config.image_token_id).sum()) / len(ids))
        turn = len(drawn)
        # A text that can't be read spends a turn; a text without a call ends the episode.
        lines = [good, bad] if len(ids) == 2 else [bad if protocol == "text" else good]
        said = [made._tokenizer.encode(f"{line[min(turn, len(line) - 1)]}<|im_end|>") for line in lines]
        drawn.append([len(one) for one in said])
        width = max(map(len, said))
        padded = [one + [made._tokenizer.pad_token_id] * (width - len(one)) for one in said]
        return torch.cat([ids, torch.tensor(padded)], dim=1)

    made.model.generate = scripted
    seen: dict[str, Any] = {}
    learn = made._compute_loss

    def compute(model: Any, inputs: Any) -> Any:
        seen.update(inputs)
        return learn(model, inputs)

    made._compute_loss = compute
    metrics: dict[str, Any] = {}
    log = made.log
    made.log = lambda logs, *rest, **more: (log(logs, *rest, **more), metrics.update(logs))[0]
    made.train()
    assert metrics["rewards/success/mean"] == 0.5
    assert metrics["rewards/format/mean"] == 0.5
    assert abs(metrics["rewards/distance/mean"]) <= 1
    # The good one turned and submitted and was not asked again; its sequence ends with what the environment said.
    rows = [row[mask.bool()] for row, mask in zip(seen["completion_ids"], seen["completion_mask"], strict=True)]
    texts = [made._tokenizer.decode(row) for row in rows]
    (well,) = [text for text in texts if "submit" in text]
    assert "Noted. The episode is over." in well
    assert well.endswith("<|im_start|>assistant\n")
    # Loss lies on what the model wrote.
    for row, learnt in zip(seen["completion_ids"], seen["tool_mask"] * seen["completion_mask"], strict=True):
        written = made._tokenizer.decode(row[learnt.bool()])
        assert "im_start" not in written
        assert "image_pad" not in written
    # Half of those tokens, those that look back farthest, have twice the advantage.
    for advantage, learnt in zip(
        seen["advantages"], (seen["tool_mask"] * seen["completion_mask"]).bool(), strict=True
    ):
        base = advantage[~learnt].abs().max()
        assert base > 0
        doubled = (advantage[learnt].abs() / base).round(decimals=3)
        assert int((doubled == 2).sum()) == round(0.5 * int(learnt.sum()))
        assert set(doubled.tolist()) == {1.0, 2.0}
    assert seen["image_grid_thw"].shape[0] == sum(seen["num_images"])
    assert given[0] < given[1]
    assert work.checkpoint.processor.chat_template == own_template
