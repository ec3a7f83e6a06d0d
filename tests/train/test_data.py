"""What trainers are fed: the prompt evaluation asks, loss on the answer alone, pictures that match their tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from allocentric.agents.models import hf
from allocentric.core.errors import DataError
from allocentric.core.types import Prompt
from allocentric.train import tiny
from allocentric.train.data import IGNORED, Collator, PictureCheck, batch_of
from allocentric.train.work import Work, freeze, part_of, plan


@pytest.fixture
def work_of(recipe_of: Any, tmp_path: Path) -> Any:
    """The function that plans and opens a recipe: as `recipe_of`."""
    return lambda *given, **settings: Work(plan(recipe_of(*given, **settings)), tmp_path, None)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_evaluation_supervision_and_reinforcement_ask_with_the_same_tokens(work_of: Any, family: str) -> None:
    """The three paths of one question with two pictures: the hf backend, the collator's example, TRL's tokenizer."""
    work = work_of("sft", family, model={"system": "Look closely."})
    asked = work.questions
    prompt = asked.prompt(asked.items[5])
    backend = hf.build(hf.Settings(path=work.recipe.model.path, system="Look closely."), items={})
    evaluated = backend.encode([backend._prepare(prompt)])
    example = work.encoder.example(prompt, asked.answer(asked.items[5]))
    length = evaluated["input_ids"].shape[1]
    assert example["input_ids"][0, :length].tolist() == evaluated["input_ids"][0].tolist()
    assert torch.equal(example["pixel_values"], evaluated["pixel_values"])
    assert len(prompt.views) == 2 == len(example["image_grid_thw"])
    conversation = hf.conversation_of(prompt, work.model_settings).conversation
    # As `GRPOTrainer._tokenize_prompts` calls it.
    reinforced = work.checkpoint.processor.apply_chat_template(
        conversation=[conversation], tools=None, chat_template=None, add_generation_prompt=True, tokenize=True,
        return_dict=True,
    )  # fmt: skip
    assert reinforced["input_ids"][0] == evaluated["input_ids"][0].tolist()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_only_the_answer_and_its_end_carry_loss(work_of: Any, family: str) -> None:
    work = work_of("sft", family)
    asked = work.questions
    tokenizer = work.checkpoint.processor.tokenizer
    for item in asked.items:
        example = work.encoder.example(asked.prompt(item), asked.answer(item))
        learnt = example["labels"][0] != IGNORED
        assert tokenizer.decode(example["labels"][0][learnt]) == asked.answer(item) + "<|im_end|>"
        assert torch.equal(example["input_ids"][0][learnt], example["labels"][0][learnt])
        assert learnt.nonzero().flatten().tolist() == list(range(len(learnt) - int(learnt.sum()), len(learnt)))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_a_video_is_one_native_video(work_of: Any, family: str) -> None:
    work = work_of("sft", family, data={"frames": {"count": 2, "as_video": True}})
    asked = work.questions
    examples = [work.encoder.example(asked.prompt(item), asked.answer(item)) for item in asked.items[:2]]
    batch = batch_of(examples, pad_token_id=0)
    assert "pixel_values" not in batch
    assert len(batch["video_grid_thw"]) == 2
    PictureCheck(work.checkpoint.model)
    assert torch.isfinite(work.checkpoint.model(**batch).loss)


def test_a_batch_says_what_its_rows_say_alone(work_of: Any) -> None:
    """Loss of a padded batch = mean over the answer tokens of its rows, as the model alone gives it."""
    work = work_of("sft", "qwen3_vl")
    asked, model = work.questions, work.checkpoint.model
    encoded = [work.encoder.example(asked.prompt(item), asked.answer(item)) for item in asked.items[3:6]]
    encoded.append(work.encoder.example(replace(asked.prompt(asked.items[0]), views=()), "a longer answer"))
    with torch.no_grad():
        together = model(**batch_of(encoded, pad_token_id=0)).loss
        alone = [(model(**one).loss, int((one["labels"] != IGNORED).sum())) for one in encoded]
    total = sum(count for _, count in alone)
    assert float(together) == pytest.approx(float(sum(loss * n for loss, n in alone) / total), rel=1e-5)


def test_cut_text_and_lost_pictures_are_named_before_the_forward_pass(work_of: Any) -> None:
    work = work_of("sft")
    asked, model = work.questions, work.checkpoint.model
    batch = batch_of([work.encoder.example(asked.prompt(i), "A") for i in asked.items[:3]], pad_token_id=0)
    check = PictureCheck(model)
    check.item_ids = ["x", "y", "z"]
    image = model.config.image_token_id
    place = int((batch["input_ids"][1] == image).nonzero()[0])
    cut = {**batch, "input_ids": batch["input_ids"].clone()}
    cut["input_ids"][1, place] = 5
    with pytest.raises(DataError, match="item y: 7 image tokens for 8 image features"):
        model(**cut)
    lost = {name: value for name, value in batch.items() if name not in ("pixel_values", "image_grid_thw")}
    with pytest.raises(DataError, match="item x: 8 image tokens for 0 image features"):
        model(**lost)
    check.item_ids = []
    swapped = {**batch, "image_grid_thw": batch["image_grid_thw"][:5], "pixel_values": batch["pixel_values"][:80]}
    with pytest.raises(DataError, match="one of the batch"):
        model(**swapped)
    model(**batch)


def test_generation_is_checked_too_and_runs_through(work_of: Any) -> None:
    work = work_of("sft")
    asked, model = work.questions, work.checkpoint.model
    PictureCheck(model)
    inputs = work.encoder.prompt(asked.prompt(asked.items[0]))
    assert model.generate(**inputs, max_new_tokens=3).shape[1] == inputs["input_ids"].shape[1] + 3


def test_skipped_rows_leave_the_batch_and_an_empty_batch_is_an_error() -> None:
    def example(index: int) -> dict[str, Any]:
        if index != 1:
            raise DataError(f"{index} is bad")
        return {"input_ids": torch.ones(1, 4, dtype=torch.long), "labels": torch.ones(1, 4, dtype=torch.long)}

    collator = Collator(example, ids=["a", "b"], pad_token_id=0, on_bad="skip")
    batch = collator([{"index": 0}, {"index": 1}])
    assert batch["item_ids"] == ["b"]
    assert batch["skipped"] == {"a": "0 is bad"}
    with pytest.raises(DataError, match="every item of a batch"):
        collator([{"index": 0}])
    with pytest.raises(DataError, match="0 is bad"):
        Collator(example, ids=["a", "b"], pad_token_id=0, on_bad="stop")([{"index": 0}, {"index": 1}])


def test_rationales_are_asked_for_learnt_and_scored(work_of: Any) -> None:
    asked = work_of("sft", data={"answer": "rationale"}).questions
    item = asked.items[4]
    assert "between <think> and </think>" in asked.wording(item)
    assert asked.answer(item) == "<think></think><answer>4</answer>"
    assert asked.score(item, "<think>perhaps 7</think><answer>4</answer>").value == 1.0
    assert asked.score(item, "<think>on and on").value == 0.0


def test_a_benchmark_words_and_scores_as_it_is_evaluated(tmp_path: Path) -> None:
    from allocentric.eval.benchmarks import vsi_bench
    from allocentric.train.data import questions
    from allocentric.train.recipe import DataSettings

    record = {
        "id": 1, "dataset": "scannet", "scene_name": "s", "question_type": "object_counting",
        "question": "How many chairs are there?", "options": None, "ground_truth": "4",
    }  # fmt: skip
    file = tmp_path / "records.jsonl"
    file.write_text(__import__("json").dumps(record) + "\n")
    named = {"name": "vsi_bench", "dataset": str(file)}
    found = questions(DataSettings(benchmark=named, frames={"count": 0}), seed=0)
    benchmark = vsi_bench.build(vsi_bench.Settings(dataset=str(file)))
    (item,) = found.items
    assert found.wording(item) == benchmark.prompt_text(item, benchmark.profiles[0])
    assert found.prompt(item) == Prompt(item_id=item.id, text=found.wording(item))
    for text in ("4", "5", "none"):
        assert found.score(item, text) == benchmark.score(item, text, benchmark.profiles[0])


def test_parts_are_told_apart_by_name_and_frozen(work_of: Any) -> None:
    model = work_of("sft", "qwen3_vl").checkpoint.model
    assert {part_of(name) for name, _ in model.named_parameters()} >= {"vision", "merger", "embeddings", "language"}
    freeze(model, ("vision", "merger"))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (part_of(name) not in ("vision", "merger"))
