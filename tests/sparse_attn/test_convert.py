"""Hybrids: what they say before training, in caches, in batches, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("transformers")

import vlm_samples
from transformers import AutoModelForImageTextToText, DynamicCache, StaticCache
from vlm_samples import FAMILIES, LAYERS, inputs_of, model_of

from allocentric.cli import app
from allocentric.core.config import load_recipe, settings_from_mapping
from allocentric.core.errors import UserError
from allocentric.sparse_attn import cache as caches
from allocentric.sparse_attn import register
from allocentric.sparse_attn.convert import become, convert
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.recipe import ConversionRecipe

SPATIAL_TTT: dict[str, Any] = {
    "mixer": "spatial_ttt",
    "layers": "0::4, 1::4, 2::4",
    "settings": {"window": 200, "chunk": 16, "fast_heads": 2, "muon": "full", "frame_tokens": 24},
}
OTHERS = [family for family in FAMILIES if family != "qwen3_vl"]
HYBRIDS: dict[str, list[dict[str, Any]]] = {
    "spatial_ttt": [SPATIAL_TTT],
    "infinitevl": [
        {"mixer": "sliding_window", "layers": "0::4", "settings": {"window": 24}},
        {"mixer": "gated_deltanet", "layers": "1::4, 2::4, 3::4", "settings": {"chunk": 8}},
    ],
    "titans_mag": [
        {
            "mixer": "titans",
            "layers": "1::2",
            "settings": {"variant": "mag", "gate": "residual", "window": 24, "chunk": 8, "persistent": 0},
        }
    ],
}


def recipe(mixers: list[dict[str, Any]], **more: Any) -> ConversionRecipe:
    return settings_from_mapping(ConversionRecipe, {"mixers": mixers, **more}, where="test")


def hybrid(family: str, kind: str) -> Any:
    """With gates opened, so that what lies behind them matters."""
    model = model_of(family)
    become(model, recipe(HYBRIDS[kind]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate_proj" in name and "mixer" in name:
                parameter.add_(0.5)
    return model.eval()


@torch.no_grad()
def logits(model: Any, x: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
    return model(**x, **more).logits[x["attention_mask"].bool()]


@torch.no_grad()
def in_chunks(model: Any, x: dict[str, torch.Tensor], sizes: list[int], cache: Any) -> torch.Tensor:
    """The prompt's last tokens in chunks, with the positions of the whole."""
    parts, start = [], 0
    position_ids = model._prepare_position_ids_for_generation(x["input_ids"], dict(x))
    for size in [x["input_ids"].shape[1] - sum(sizes), *sizes]:
        stop = start + size
        chunk: dict[str, Any] = dict(x) if start == 0 else {}
        chunk |= {key: x[key][:, start:stop] for key in ("input_ids", "mm_token_type_ids")}
        chunk |= {"attention_mask": x["attention_mask"][:, :stop], "position_ids": position_ids[..., start:stop]}
        parts.append(model(**chunk, past_key_values=cache, use_cache=True).logits)
        start = stop
    return torch.cat(parts, 1)[x["attention_mask"].bool()]


@pytest.mark.parametrize("family", ["qwen3_vl", *(pytest.param(f, marks=pytest.mark.slow) for f in OTHERS)])
def test_within_the_window_an_untrained_spatial_ttt_hybrid_is_the_original(family: str) -> None:
    model, x = model_of(family), inputs_of(family, rows=2, pad=5)
    wanted, text = logits(model, x), model.generate(**x, max_new_tokens=5)
    mixers = [{**SPATIAL_TTT, "layers": [1] if family == "qwen3_5" else SPATIAL_TTT["layers"]}]
    names, state_bytes = become(model, recipe(mixers))
    assert "spatial_ttt" in names
    assert state_bytes > 0
    torch.testing.assert_close(logits(model, x), wanted, atol=2e-3, rtol=1e-3)
    assert torch.equal(model.generate(**x, max_new_tokens=5), text)


def test_an_untrained_titans_gate_hybrid_within_its_window_is_the_original() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    wanted = logits(model, x)
    entry = HYBRIDS["titans_mag"][0]
    become(model, recipe([{**entry, "settings": {**entry["settings"], "window": 200}}]))
    torch.testing.assert_close(logits(model, x), wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param("qwen3_vl", "spatial_ttt", marks=pytest.mark.slow),
        pytest.param("qwen2_5_vl", "spatial_ttt", marks=pytest.mark.slow),
        ("qwen2_5_vl", "infinitevl"),
        pytest.param("qwen3_vl", "infinitevl", marks=pytest.mark.slow),
        pytest.param("qwen3_vl", "titans_mag", marks=pytest.mark.slow),
        pytest.param("qwen3_5", "titans_mag", marks=pytest.mark.slow),
    ],
)
def test_one_call_equals_chunks_and_steps_and_rows_ignore_their_neighbours(family: str, kind: str) -> None:
    model, x = hybrid(family, kind).double(), inputs_of(family, rows=2, pad=3)
    x = {key: t.double() if t.is_floating_point() else t for key, t in x.items()}
    whole = logits(model, x, use_cache=False)
    close = {"atol": 2e-3, "rtol": 1e-2} if family == "qwen3_5" else {"atol": 1e-6, "rtol": 1e-6}
    config = model.config.get_text_config()
    for sizes in ([6, 1, 4], [1] * 5):
        torch.testing.assert_close(in_chunks(model, x, sizes, DynamicCache(config=config)), whole, **close)
    torch.testing.assert_close(
        in_chunks(model, x, [5, 1], StaticCache(config=config, max_cache_len=130)), whole, **close
    )
    alone = {key: t for key, t in inputs_of(family, rows=1).items() if "pixel" not in key}
    alone |= {key: x[key][: len(x[key]) // 2] for key in ("pixel_values", "pixel_values_videos")}
    torch.testing.assert_close(whole[: alone["input_ids"].shape[1]], logits(model, alone, use_cache=False), **close)


@pytest.mark.parametrize(
    "kind", ["infinitevl", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("spatial_ttt", "titans_mag"))]
)
def test_a_hybrid_is_saved_loaded_and_generates(kind: str, tmp_path: Path) -> None:
    family = "qwen3_vl"
    source = vlm_samples.save(family, tmp_path / "source")
    made = convert(str(source), recipe(HYBRIDS[kind]), tmp_path / "hybrid")
    assert made.layers.count("full_attention") == LAYERS - sum("full" not in name for name in made.layers)
    assert list((made.folder).glob("*.safetensors"))
    loaded, report = AutoModelForImageTextToText.from_pretrained(made.folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    direct = AutoModelForImageTextToText.from_pretrained(source)
    become(direct, recipe(HYBRIDS[kind]))
    x = inputs_of(family, rows=2, pad=4)
    torch.testing.assert_close(logits(loaded.eval(), x), logits(direct.eval(), x))
    text = loaded.generate(**x, max_new_tokens=4, do_sample=False)
    again = loaded.generate(**x, max_new_tokens=4, do_sample=False, use_cache=False)
    assert torch.equal(text, again)
    beams = loaded.generate(**x, max_new_tokens=3, num_beams=2, do_sample=False)
    assert torch.equal(beams, loaded.generate(**x, max_new_tokens=3, num_beams=2, do_sample=False, use_cache=False))


def test_speculative_tokens_are_rolled_back_and_cropping_says_how() -> None:
    model, x = hybrid("qwen3_vl", "spatial_ttt"), inputs_of("qwen3_vl")
    past = model(**x, use_cache=True).past_key_values
    taken = caches.snapshot(past)
    guess, right = torch.tensor([[7, 8, 9, 10]]), torch.tensor([[11, 12]])
    wanted = model(input_ids=right, past_key_values=past).logits
    for _ in range(2):
        caches.restore(past, taken)
        model(input_ids=guess, past_key_values=past)
    caches.restore(past, taken)
    assert past.get_seq_length() == x["input_ids"].shape[1]
    torch.testing.assert_close(model(input_ids=right, past_key_values=past).logits, wanted)
    with pytest.raises(AttentionError, match=r"can't be cropped; take cache\.snapshot"):
        past.crop(-1)


def test_the_state_is_as_large_as_it_is_whatever_was_seen() -> None:
    model, x = hybrid("qwen2_5_vl", "infinitevl"), inputs_of("qwen2_5_vl")
    past = model(**x, use_cache=True).past_key_values
    sizes = [layer.nbytes() for layer in past.layers]
    assert all(sum(size.values()) > 0 for size in sizes)
    model(input_ids=torch.full((1, 40), 5), past_key_values=past)
    assert [layer.nbytes() for layer in past.layers] == sizes


def test_gradients_reach_the_mixers() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    become(model, recipe(HYBRIDS["spatial_ttt"]))
    model.train()(**x, labels=x["input_ids"]).loss.backward()
    gate = model.model.language_model.layers[0].self_attn.mixer.gate_proj.weight
    assert gate.grad is not None
    assert gate.grad.abs().sum() > 0


def test_other_implementations_are_sent_back() -> None:
    model, x = hybrid("qwen3_vl", "spatial_ttt"), inputs_of("qwen3_vl", rows=2, pad=3)
    model.set_attn_implementation("eager")
    with pytest.raises(AttentionError, match="allocentric:layers"):
        model(**x)


def test_mixers_and_methods_share_a_model() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    text = [{"method": "sliding_window", "settings": {"window": 300, "sinks": 0}}]
    names, _ = become(model, recipe([SPATIAL_TTT], text=text))
    assert names == ["spatial_ttt"] * 3 + ["sliding_window"]
    torch.testing.assert_close(logits(model, x), logits(model_of("qwen3_vl"), x), atol=2e-3, rtol=1e-3)
    with pytest.raises(AttentionError, match="layer 0 has no full attention to replace; those with it are 3"):
        register.use(model, {"text": [{"layers": [0], "method": "moba"}]})


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command_converts(tmp_path: Path, repository: Path) -> None:
    source = vlm_samples.save("qwen3_vl", tmp_path / "source")
    (source / "chat_template.jinja").write_text("{{ messages }}")
    out = tmp_path / "hybrid"
    arguments = ["convert", str(source), str(repository / "configs/convert/spatial_ttt.yaml"), "--out", str(out)]
    small = ["window=64", "chunk=32", "fast_heads=2"]
    arguments += [part for value in small for part in ("--set", f"mixers.0.settings.{value}")]
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["layers"] == ["spatial_ttt"] * 3 + ["full_attention"]
    assert printed["new_parameters"] > 0
    assert (out / "chat_template.jinja").read_text() == "{{ messages }}"
    with pytest.raises(UserError, match="is there already"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_recipes_of_the_repository_are_valid(repository: Path) -> None:
    for path in sorted((repository / "configs/convert").glob("*.yaml")):
        assert load_recipe(path, ConversionRecipe).mixers


def test_bad_recipes_leave_nothing_behind(tmp_path: Path) -> None:
    source = vlm_samples.save("qwen3_5", tmp_path / "source")
    with pytest.raises(AttentionError, match="layer 0 has no full attention"):
        convert(str(source), recipe([{**SPATIAL_TTT, "layers": [0]}]), tmp_path / "out")
    with pytest.raises(UserError, match="changes nothing"):
        convert(str(source), recipe([]), tmp_path / "out")
    with pytest.raises(UserError, match="cannot load"):
        convert(str(tmp_path / "none"), recipe([SPATIAL_TTT]), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
