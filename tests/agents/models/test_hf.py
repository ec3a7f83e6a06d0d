"""The hf backend says what transformers says, loses no prompt, and explains what is wrong with a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from allocentric.agents.models import _qwen_video, hf
from allocentric.core.errors import UserError
from allocentric.core.types import Prompt, Sampling, View

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]
Checkpoints = Callable[[str], Path]
Ask = Callable[..., Prompt]


def load(folder: Path, **settings: Any) -> Any:
    return hf.build(hf.Settings(path=str(folder), **settings), items={})


def by_hand(folder: Path, prompt: Prompt, text: str) -> dict[str, Any]:
    """Model inputs from the parts: image processor, tokenizer, and the conversation spelt out."""
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = [PillowImage.fromarray(view.image) for view in prompt.views]
    vision = AutoImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    for grid in vision["image_grid_thw"]:
        text = text.replace("IMAGE", "<|image_pad|>" * (int(grid.prod()) // 4), 1)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    kinds = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).long()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds, **vision}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_text_are_those_of_transformers(family: str, checkpoints: Checkpoints, ask: Ask) -> None:
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    prompt = ask("a", "How many chairs are in this room?", pictures=2)
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" if family == "qwen2_5_vl" else ""
    picture = "<|vision_start|>IMAGE<|vision_end|>"
    text = f"{system}<|im_start|>user\n{2 * picture}{prompt.text}<|im_end|>\n<|im_start|>assistant\n"
    expected = by_hand(checkpoints(family), prompt, text)
    reference = AutoModelForImageTextToText.from_pretrained(checkpoints(family)).eval()
    model = load(checkpoints(family))
    inputs = model.encode([model._prepare(prompt)])
    assert inputs["input_ids"].tolist() == expected["input_ids"].tolist()
    with torch.inference_mode():
        assert torch.equal(model._model(**inputs).logits, reference(**expected).logits)
        tokens = reference.generate(**expected, max_new_tokens=8, do_sample=False)[0, expected["input_ids"].shape[1] :]
    response = model.generate([prompt])[0]
    assert response.text == AutoTokenizer.from_pretrained(checkpoints(family)).decode(tokens, skip_special_tokens=True)
    assert (response.prompt_tokens, response.completion_tokens) == (expected["input_ids"].shape[1], len(tokens))


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_5"])
def test_a_batch_says_what_single_prompts_say(family: str, checkpoints: Checkpoints, ask: Ask) -> None:
    prompts = [
        ask("a", "Is the lamp to my left?", 1),
        ask("b", "What is the distance between the sofa and the table in meters? " * 3, 3, as_video=True),
        ask("c", "Which room is this?", 0),
        ask("d", "How many chairs are in this kitchen?", 4),
        ask("e", "Is the bed behind me?", 5, as_video=True),
        ask("f", "Name a thing.", 2, temperature=1.0),
        ask("g", "Name another thing in this bathroom.", 3, temperature=1.0),
    ]
    batched = load(checkpoints(family), batch_size=4).generate(prompts)
    alone = load(checkpoints(family), batch_size=1)
    assert [response.text for response in batched] == [alone.generate([prompt])[0].text for prompt in prompts]
    assert not any(response.error for response in batched)
    assert len({response.text for response in batched}) > 3


def test_sampling_follows_the_softmax_and_the_seed(checkpoints: Checkpoints, ask: Ask) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).repeat(6000, 1)
    drawn = hf._GumbelNoise(Sampling(temperature=2.0), [str(k) for k in range(6000)])(None, logits).argmax(1)
    shares = torch.bincount(drawn, minlength=4) / 6000
    assert torch.allclose(shares, torch.softmax(logits[0] / 2.0, 0), atol=0.02)

    model = load(checkpoints("qwen3_vl"))
    prompt = ask("a", "Name a thing.", 0, temperature=1.0)
    other = dataclasses.replace(prompt, sampling=dataclasses.replace(prompt.sampling, seed=1))
    first, again, changed = (response.text for response in model.generate([prompt, prompt, other]))
    assert first == again != changed


def test_closing_lets_the_weights_go(checkpoints: Checkpoints) -> None:
    model = load(checkpoints("qwen2_5_vl"))
    weights = weakref.ref(model._model)
    model.close()
    assert weights() is None


def test_finish_reason_and_token_count(checkpoints: Checkpoints, ask: Ask) -> None:
    model = load(checkpoints("qwen3_vl"), batch_size=2)
    prompts = [ask("a", "Is the lamp to my left?", 1), ask("b", "Which room is this?", 0)]
    cut = model.generate(prompts)
    assert [(one.finish_reason, one.completion_tokens) for one in cut] == [("length", 8), ("length", 8)]
    first, second = (model._model.generate(**model.encode([model._prepare(one)]), max_new_tokens=8) for one in prompts)
    end = first[0, -6].item()  # the third token of one answer, and not in the other
    assert end not in second[0, -8:]
    model._model.generation_config.eos_token_id = end
    model._ends = {end}
    stopped, other = model.generate(prompts)
    assert (stopped.finish_reason, stopped.completion_tokens) == ("stop", 3)
    assert cut[0].text.startswith(stopped.text.rstrip("\N{REPLACEMENT CHARACTER}"))
    assert other == dataclasses.replace(cut[1], seconds=other.seconds)


def test_one_bad_prompt_costs_only_itself(checkpoints: Checkpoints, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    good = [ask("a", "Is the lamp to my left?", 1), ask("b", "Which room is this? Answer.", 2)]
    bad = [
        (View(image=tmp_path / "missing.jpg"), "no such picture"),
        (View(image=tmp_path / "text.jpg"), "is not a picture"),
        (View(image=tmp_path / "cut.png"), "picture"),
        (View(), "without a picture"),
        (View(image=np.zeros((4, 4), np.uint8)), "expected a uint8 picture"),
        (View(image=np.zeros((1, 900, 3), np.uint8)), "aspect ratio"),
    ]
    prompts = [good[0], *(Prompt(item_id="x", text="?", views=(view,)) for view, _ in bad), good[1]]
    prompts = [dataclasses.replace(prompt, sampling=Sampling(max_new_tokens=8)) for prompt in prompts]
    model = load(checkpoints("qwen3_vl"), batch_size=8)
    first, *failed, last = model.generate(prompts)
    assert [first.text, last.text] == [model.generate([prompt])[0].text for prompt in good]
    for response, (_, reason) in zip(failed, bad, strict=True):
        assert (response.finish_reason, response.text) == ("error", "")
        assert response.error is not None
        assert reason in response.error
        assert "\n" not in response.error


def test_a_batch_that_does_not_fit_is_split(checkpoints: Checkpoints, ask: Ask, monkeypatch: Any) -> None:
    model = load(checkpoints("qwen3_vl"), batch_size=8)
    prompts = [ask(str(k), "Is it near? " * (k + 1), 1) for k in range(7)]
    expected = [response.text for response in model.generate(prompts)]
    generate, sizes = model._model.generate, []

    def with_little_memory(limit: int) -> Any:
        def run(**inputs: Any) -> Any:
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return generate(**inputs)

        return run

    monkeypatch.setattr(model._model, "generate", with_little_memory(2))
    assert [response.text for response in model.generate(prompts)] == expected
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    monkeypatch.setattr(model._model, "generate", with_little_memory(0))
    assert all("out of memory" in str(response.error) for response in model.generate(prompts[:3]))


def test_pixel_limits_set_the_tokens_of_a_picture(checkpoints: Checkpoints, ask: Ask, views: Any) -> None:
    prompt = Prompt(item_id="a", text="?", views=views(1, 128, 192), sampling=Sampling(max_new_tokens=1))
    small = load(checkpoints("qwen3_vl"), max_pixels=64 * 64).generate([prompt])[0]
    large = load(checkpoints("qwen3_vl"), max_pixels=128 * 192).generate([prompt])[0]
    assert large.prompt_tokens - small.prompt_tokens == (128 * 192 - 32 * 64) // 32**2
    clip = dataclasses.replace(prompt, views=views(4, 128, 192), as_video=True)
    small = load(checkpoints("qwen3_vl"), video_max_pixels=4 * 64 * 64).generate([clip])[0]
    large = load(checkpoints("qwen3_vl"), video_max_pixels=4 * 128 * 192).generate([clip])[0]
    assert large.prompt_tokens - small.prompt_tokens == 2 * (128 * 192 - 32 * 64) // 32**2


def test_a_prompt_beyond_the_models_positions_is_an_error(checkpoints: Checkpoints, ask: Ask) -> None:
    model = load(checkpoints("qwen3_vl"), batch_size=2)
    model._model.config.get_text_config().max_position_embeddings = 60
    good, bad = model.generate([ask("a", "Near?", 1), ask("b", "Near? " * 20, 1)])
    assert good.error is None
    assert "exceed the 60 positions of the model" in str(bad.error)


def test_a_checkpoint_saved_again_stays_whole(checkpoints: Checkpoints, ask: Ask, tmp_path: Path) -> None:
    model = load(checkpoints("qwen3_vl"))
    model._model.save_pretrained(tmp_path)
    model._processor.save_pretrained(tmp_path)  # as a trainer does
    prompts = [ask("a", "Near?", 2), ask("b", "Near?", 3, as_video=True)]
    expected = [response.text for response in model.generate(prompts)]
    assert [response.text for response in load(tmp_path).generate(prompts)] == expected
    file = tmp_path / "processor_config.json"
    saved = json.loads(file.read_text())
    assert saved["video_processor"]["video_processor_type"] == "Qwen3VLVideoProcessor"
    if model.video_preparation == "allocentric":  # one saved without video settings still sees pictures
        file.write_text(json.dumps({key: value for key, value in saved.items() if key != "video_processor"}))
        assert load(tmp_path).generate(prompts[:1])[0].text == expected[0]
        with pytest.raises(UserError, match="no video settings"):
            load(tmp_path).generate(prompts)


def test_settings_reach_the_conversation(checkpoints: Checkpoints, ask: Ask) -> None:
    model = load(checkpoints("qwen3_vl"), system="Be brief.", as_video=True)
    ids = model.encode([model._prepare(ask("a", "What is this?", 3))])["input_ids"][0]
    text = model._processor.tokenizer.decode(ids)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|vision_start|>")
    assert text.endswith("What is this?<|im_end|>\n<|im_start|>assistant\n")
    assert "<|video_pad|>" in text
    assert "<|image_pad|>" not in text


def damaged(folder: Path, where: Path, *, without: tuple[str, ...] = ()) -> Path:
    shutil.copytree(folder, where)
    for name in without:
        (where / name).unlink()
    return where


def test_what_is_wrong_with_a_checkpoint_is_said(checkpoints: Checkpoints, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = checkpoints("qwen3_vl")
    with pytest.raises(UserError, match="no such model folder: /nowhere/model"):
        load(Path("/nowhere/model"))
    with pytest.raises(UserError, match="there is no folder of that name"):
        load(Path("nobody/nothing"))
    with pytest.raises(UserError, match=r"has no config\.json"):
        load(tmp_path)
    with pytest.raises(UserError, match="has no processor"):
        load(damaged(whole, tmp_path / "a", without=("preprocessor_config.json",)))
    with pytest.raises(UserError, match="has no chat template"):
        load(damaged(whole, tmp_path / "b", without=("chat_template.jinja",)))
    with pytest.raises(UserError, match="cannot load its weights"):
        load(damaged(whole, tmp_path / "c", without=("model.safetensors",)))
    with pytest.raises(UserError, match="has no variable 'enable_thinking'"):
        load(whole, chat_template={"enable_thinking": False})
    with pytest.raises(UserError, match="attn"):
        load(whole, attn_implementation="nonsense")

    folder = damaged(whole, tmp_path / "d")
    weights = load_file(folder / "model.safetensors")
    save_file(dict(list(weights.items())[1:]), folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="1 weights are missing"):
        load(folder)
    (folder / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot load its weights"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot load its config\.json") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = damaged(checkpoints("qwen3_vl"), tmp_path / "a")
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot load its weights"):
        load(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_an_absent_gpu_is_an_error(checkpoints: Checkpoints) -> None:
    for device in ("cuda", "cuda:1", "auto"):
        with pytest.raises(UserError, match="no GPU; set device: cpu"):
            load(checkpoints("qwen3_vl"), device=device)
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        load(checkpoints("qwen3_vl"), device="gpu")


def test_families_without_a_way_to_videos_say_so(checkpoints: Checkpoints, ask: Ask, monkeypatch: Any) -> None:
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        pytest.skip("torchvision is installed")
    monkeypatch.setattr(_qwen_video, "FAMILIES", frozenset())
    with pytest.raises(UserError, match="pip install torchvision; or set as_video: false"):
        load(checkpoints("qwen3_vl"), as_video=True)
    model = load(checkpoints("qwen3_vl"))
    assert model.generate([ask("a", "?", 1)])[0].error is None
    with pytest.raises(UserError, match="torchvision"):
        model.generate([ask("a", "?", 3, as_video=True)])


def test_a_refusing_chat_template_is_a_user_error(checkpoints: Checkpoints, ask: Ask, tmp_path: Path) -> None:
    folder = damaged(checkpoints("qwen3_vl"), tmp_path / "a")
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}x"
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match="refuses the conversation: no system messages"):
        load(folder, system="Be brief.").generate([ask("a", "?", 0)])


def test_tokenizer_settings_of_a_real_checkpoint_are_read(checkpoints: Checkpoints) -> None:
    config = json.loads((checkpoints("qwen2_5_vl") / "config.json").read_text())
    model = load(checkpoints("qwen2_5_vl"), attn_implementation="eager", dtype="bfloat16")
    assert model._processor.tokenizer.convert_tokens_to_ids("<|image_pad|>") == config["image_token_id"]
    assert model._model.dtype == torch.bfloat16
    assert model._model.config._attn_implementation == "eager"


def test_checkpoints_with_our_attention_and_hybrids_are_loaded(
    checkpoints: Checkpoints, ask: Ask, tmp_path: Path
) -> None:
    from allocentric.core.config import settings_from_mapping
    from allocentric.sparse_attn.convert import convert
    from allocentric.sparse_attn.recipe import ConversionRecipe

    prompt = ask("a", "How many chairs are in this room?", pictures=1)
    folder = checkpoints("qwen3_vl")
    wanted = load(folder).generate([prompt])[0].text
    assert load(folder, attn_implementation="allocentric:sliding_window").generate([prompt])[0].text == wanted
    mixers = [{"mixer": "sliding_window", "layers": [0]}]  # a window wider than the prompt
    recipe = settings_from_mapping(ConversionRecipe, {"mixers": mixers}, where="test")
    hybrid = load(convert(str(folder), recipe, tmp_path / "hybrid").folder)
    assert type(hybrid._model.model.language_model.layers[0].self_attn).__name__ == "MixedLayer"
    assert hybrid.generate([prompt])[0].text == wanted
