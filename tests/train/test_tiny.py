"""Tiny checkpoints are reproducible and load as real ones do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from allocentric.core.errors import UserError
from allocentric.train import tiny


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_same_seed_same_bytes(family: str, tmp_path: Path) -> None:
    first = digests(tiny.build(tmp_path / "a", family, seed=3))
    assert first == digests(tiny.build(tmp_path / "b", family, seed=3))
    other = digests(tiny.build(tmp_path / "c", family, seed=4))
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json"} <= set(first)


def test_seeding_leaves_the_callers_generator_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny.build(tmp_path / "a", "qwen3_vl", seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_the_tokenizer_reads_back_any_text(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.build(tmp_path / "a", "qwen2_5_vl"))
    for text in ("3.4 m, «größer» 左边 \N{HOUSE BUILDING}\n", "A. chair\nB. table", "<think>left</think> B"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert len(tokenizer("Is the lamp to my front-left?")["input_ids"]) < 15
    assert len(tokenizer("<|image_pad|><think><|im_end|>")["input_ids"]) == 3


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny.main([str(tmp_path / "a"), "--family", "qwen3_vl", "--seed", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a")
    weights = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
    assert tiny.main([str(tmp_path / "a"), "--family", "qwen3_vl", "--seed", "1"]) == 0  # it is there: nothing to do
    assert (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns == weights
    capsys.readouterr()
    assert tiny.main([str(tmp_path / "a"), "--family", "qwen3_vl"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(UserError, match="did you mean 'qwen3_vl'"):
        tiny.build(tmp_path / "b", "qwen3-vl")


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("size", tiny.SIZES)
def test_sizes_have_the_parameters_their_names_say(family: str, size: str) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    config = tiny._config(family, tiny._tokenizer(tiny.FAMILIES[family]), tiny.SIZES[size])
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(float(size.removesuffix("M")), rel=0.35)


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_larger_model_reads_a_picture_and_answers(family: str, tmp_path: Path) -> None:
    import numpy as np

    from allocentric.agents.models import hf
    from allocentric.core.types import Prompt, Sampling, View

    folder = tiny.build(tmp_path / "m", family, size="5M")
    picture = View(image=np.zeros((64, 64, 3), np.uint8))
    prompt = Prompt(item_id="a", text="What?", views=(picture,), sampling=Sampling(max_new_tokens=2))
    (response,) = hf.build(hf.Settings(path=str(folder)), items={}).generate([prompt])
    assert response.error is None
    with pytest.raises(UserError, match="unknown model size '5m'"):
        tiny.build(tmp_path / "n", family, size="5m")


def test_words_become_tokens_and_the_spread_of_the_weights_is_a_setting(tmp_path: Path) -> None:
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer

    folder = tiny.build(tmp_path / "words", "qwen3_vl", words=("red", "purple"), init_std=0.1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("red") == ["red"]
    assert len(tokenizer("is purple red", add_special_tokens=False)["input_ids"]) <= 5
    assert tokenizer.decode(tokenizer("is purple red")["input_ids"]) == "is purple red"
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith("q_proj.weight"):
            assert 0.09 < weight.std() < 0.11
    (patches,) = (weight for name, weight in weights.items() if name.endswith("patch_embed.proj.weight"))
    (places,) = (weight for name, weight in weights.items() if name.endswith("pos_embed.weight"))
    white = patches.sum(axis=(1, 2, 3, 4))  # what a white patch becomes: its place must not drown in it
    assert 0.3 < places.std() / white.std() < 3
