"""The contract of TRL's `environment_factory`, checked without TRL, and with its trainer where it is installed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image as PillowImage

from allocentric.core.errors import DataError
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.train.environments import (
    ExploreTools,
    SearchTools,
    explore_factory,
    explore_rows,
    search_factory,
    search_rows,
)

SMALL = {"width_px": 64, "height_px": 36}


def tools_of(instance: Any) -> dict[str, Any]:
    """As the trainer finds them: public functions of the class but for reset and get_reward."""
    members = inspect.getmembers(type(instance), predicate=inspect.isfunction)
    names = [name for name, _ in members if not name.startswith("_") and name not in ("reset", "get_reward")]
    return {name: getattr(instance, name) for name in names}


def pictures(blocks: list[dict[str, Any]]) -> list[PillowImage.Image]:
    return [block["image"] for block in blocks if block["type"] == "image"]


def words(blocks: list[dict[str, Any]]) -> str:
    return " ".join(block["text"] for block in blocks if block["type"] == "text")


@pytest.fixture
def search(panorama_folder: Path) -> SearchTools:
    return search_factory(panorama_folder, **SMALL)()


@pytest.mark.parametrize("cls", [SearchTools, ExploreTools])
def test_every_tool_has_types_and_a_docstring_that_names_its_arguments(cls: type) -> None:
    from transformers.utils import get_json_schema

    functions = [
        function
        for name, function in inspect.getmembers(cls, predicate=inspect.isfunction)
        if not name.startswith("_") and name not in ("reset", "get_reward")
    ]
    expected = {"rotate", "submit"} if cls is SearchTools else {"forward", "left", "right", "up", "down", "stop"}
    assert {function.__name__ for function in functions} == expected
    for function in functions:
        schema = get_json_schema(function.__get__(object()))["function"]  # raises where a word is missing
        hints = get_type_hints(function)
        assert set(schema["parameters"]["properties"]) == set(hints) - {"return"}


def test_the_schemas_agree_with_the_tools_of_the_adapters() -> None:
    from transformers.utils import get_json_schema

    from allocentric.agents.actions_tools import HEAD_TOOLS

    for tool in HEAD_TOOLS:
        ours = tool["function"]["parameters"]["properties"]
        theirs = get_json_schema(getattr(SearchTools, tool["function"]["name"]).__get__(object()))
        properties = theirs["function"]["parameters"]["properties"]
        assert {name: part["type"] for name, part in properties.items()} == {
            name: part["type"] for name, part in ours.items()
        }


def test_pictures_come_with_the_reset_and_with_every_result(search: SearchTools) -> None:
    blocks = search.reset(task=0, prompt=[{"role": "user"}], other_column=1)
    (first,) = pictures(blocks)
    assert first.size == (64, 36)
    assert words(blocks) == "Instruction: find the clé You look along yaw 0, pitch 0."
    (second,) = pictures(blocks := search.rotate(yaw=90, pitch=10.5))
    assert words(blocks) == "You look along yaw 90, pitch 10.5."
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert "Not carried out" in words(search.rotate(yaw=4000, pitch=0))
    assert pictures(search.submit(yaw=0, pitch=0)) == []


def test_calls_after_the_end_are_errors_the_model_reads(search: SearchTools) -> None:
    with pytest.raises(ValueError, match="The episode is over"):
        search.rotate(yaw=1, pitch=0)
    search.reset(task=0)
    assert "over" in words(search.submit(yaw=0, pitch=0))
    assert search.get_reward() == 1.0
    for call in (search.rotate, search.submit):
        with pytest.raises(ValueError, match="The episode is over"):
            call(yaw=0, pitch=0)
    assert search.get_reward() == 1.0


def test_turns_are_limited(panorama_folder: Path) -> None:
    tools = search_factory(panorama_folder, max_turns=2, **SMALL)()
    tools.reset(task=0)
    tools.rotate(yaw=1, pitch=0)
    assert words(tools.rotate(yaw=1, pitch=0)) == "There are no turns left. The episode is over."
    with pytest.raises(ValueError, match="over"):
        tools.submit(yaw=0, pitch=0)
    assert tools.get_reward() == 0.0


def test_arguments_that_are_no_numbers_are_errors_and_spend_no_turn(search: SearchTools) -> None:
    search.reset(task=0)
    for wrong in ("left", None, True, float("nan"), [1]):
        with pytest.raises(ValueError, match="yaw is a number of degrees"):
            search.rotate(yaw=wrong, pitch=0)
    assert "yaw 5," in words(search.rotate(yaw=5, pitch=0))


def test_nothing_is_left_of_what_was_played_before(panorama_folder: Path) -> None:
    """A pooled instance plays like a new one, and instances do not share."""
    make = search_factory(panorama_folder, **SMALL)
    used, bystander = make(), make()
    used.reset(task=9)
    used.rotate(yaw=40, pitch=20)
    used.submit(yaw=1, pitch=2)
    bystander.reset(task=3)
    bystander.rotate(yaw=7, pitch=0)
    fresh = make()
    for task in (2, 0):
        pairs = [(used.reset(task=task), fresh.reset(task=task)), (used.rotate(30, 0), fresh.rotate(30, 0))]
        for a, b in pairs:
            assert words(a) == words(b)
            np.testing.assert_array_equal(np.asarray(pictures(a)[0]), np.asarray(pictures(b)[0]))
        assert used.get_reward() == fresh.get_reward() == 0.0
    assert "yaw 284," in words(bystander.rotate(yaw=7, pitch=0))  # 270 at its start


def test_rows_name_every_task(panorama_folder: Path, search: SearchTools) -> None:
    rows = search_rows(panorama_folder, **SMALL)
    assert [row["task"] for row in rows] == list(range(len(PanoramaSearch(panorama_folder, **SMALL).tasks)))
    assert "panorama" in rows[0]["prompt"][0]["content"][0]["text"]
    assert pictures(search.reset(**rows[3]))
    with pytest.raises(DataError, match="needs the number of its `task`"):
        search.reset(prompt=[])
    assert [row["seed"] for row in explore_rows(range(2))] == [0, 1]


def test_walks_are_played_by_the_same_contract() -> None:
    make = explore_factory(scenes={"name": "procedural", "rooms": [2, 2]}, width_px=32, height_px=24, max_turns=30)
    used, fresh = make(), make()
    used.reset(seed=5)
    used.stop()
    with pytest.raises(ValueError, match="over"):
        used.forward()
    for tools in (used, fresh):
        blocks = tools.reset(**explore_rows(range(3, 4))[0])
        assert words(blocks).startswith("Instruction: Walk to the nearest")
    a, b = used.left(), fresh.left()
    np.testing.assert_array_equal(np.asarray(pictures(a)[0]), np.asarray(pictures(b)[0]))
    assert "over" in words(used.stop(answer="x"))
    with pytest.raises(DataError, match="needs the `seed`"):
        used.reset()


@pytest.mark.slow
def test_trl_takes_the_factory_and_plays(panorama_folder: Path, tmp_path: Path) -> None:
    """Two optimiser steps of a tiny model whose words are scripted: tools, pictures of results and rewards arrive."""
    pytest.importorskip("trl", reason="trl is not installed")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from allocentric.agents.actions_tools import ToolCall, text_from_call
    from allocentric.agents.models import _checkpoint
    from allocentric.train.tiny import build

    folder = build(tmp_path / "tiny", "qwen3_vl")
    checkpoint = _checkpoint.load(str(folder), revision=None, dtype="auto", device="cpu", attn_implementation=None)
    template = Path(__import__("trl").__file__).parent / "chat_templates" / "qwen3_vl.jinja"
    checkpoint.processor.chat_template = checkpoint.processor.tokenizer.chat_template = template.read_text()
    said = [
        [text_from_call(ToolCall("rotate", {"yaw": 30, "pitch": 0}))] * 2,
        [text_from_call(ToolCall("submit", {"yaw": yaw, "pitch": 0})) for yaw in (0, 120)],
        ["It is done."] * 2,
    ]
    shown: list[int] = []
    rewards: list[list[float]] = []

    class Scripted(GRPOTrainer):
        turn = 0

        def _generate_single_turn(self, prompt_ids: Any, images: Any, *rest: Any, **more: Any) -> Any:
            shown.append(sum(len(part) for part in images))
            lines = said[self.turn % 3]
            self.turn += 1
            return [self._tokenizer.encode(line + "<|im_end|>") for line in lines], None

        def _calculate_rewards(self, *given: Any, **more: Any) -> Any:
            found = super()._calculate_rewards(*given, **more)
            rewards.append(found[:, 0].tolist())
            return found

    arguments = GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=2, num_generations=2,
        max_completion_length=600, report_to="none", save_strategy="no", use_cpu=True, bf16=False,
    )  # fmt: skip
    rows = search_rows(panorama_folder, **SMALL)
    trainer = Scripted(
        model=checkpoint.model,
        processing_class=checkpoint.processor,
        args=arguments,
        train_dataset=Dataset.from_list([row for row in rows if row["task"] == 0] * 4),
        environment_factory=search_factory(panorama_folder, **SMALL),
    )
    assert {tool.__name__ for tool in trainer.tools} == {"rotate", "submit"}
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.reward_func_names == ["SearchTools"]
    assert shown == [2, 4, 4] * 2  # the first views, then one more each; a submission shows nothing new
    assert rewards == [[1.0, 0.0]] * 2
