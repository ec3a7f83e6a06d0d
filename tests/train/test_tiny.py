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
