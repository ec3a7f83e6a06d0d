"""Eviction: bounded keys whose rotation is that of the positions they are meant to have; snapshots of every layer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from transformers import DynamicCache, StaticCache
from vlm_samples import FAMILIES, inputs_of, model_of

from allocentric.sparse_attn import cache as caches
from allocentric.sparse_attn import register
from allocentric.sparse_attn.cache import EvictingCache
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers._projections import rotated

SINKS, WINDOW = 3, 12
OTHERS = [family for family in FAMILIES if family != "qwen3_vl"]


def stream_positions(family: str) -> torch.Tensor:
    """(3, 1, L): the positions a model gives to text, a picture, a video and text."""
    model, x = model_of(family), inputs_of(family)
    position_ids = model._prepare_position_ids_for_generation(x["input_ids"], dict(x))
    return position_ids[-3:]


def assigned(positions: torch.Tensor, stop: int, policy: str) -> tuple[list[int], torch.Tensor]:
    """Which of `stop` tokens are kept and where they lie, one token at a time, by lists."""
    kept = [i for i in range(stop) if i < SINKS or i >= max(stop - WINDOW, SINKS)]
    where = {i: [int(positions[axis, 0, i]) for axis in range(3)] for i in kept}
    evicted = stop > SINKS + WINDOW
    if policy != "kept" and evicted:
        for axis in range(3):
            first = min(where[i][axis] for i in kept if i >= SINKS)
            last = max(where[i][axis] for i in range(SINKS))
            for i in range(SINKS):
                where[i][axis] += first - 1 - last
    return kept, torch.tensor([[where[i][axis] for i in kept] for axis in range(3)])[:, None]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", ["kept", "rerotated", "unrotated"])
def test_kept_keys_are_those_rotated_from_scratch(family: str, policy: Any) -> None:
    model = model_of(family)
    rotary = model.model.language_model.rotary_emb
    positions = stream_positions(family)
    length = positions.shape[-1]
    g = torch.Generator().manual_seed(0)
    raw, values = torch.randn(2, 1, 2, length, 16, generator=g, dtype=torch.float64)
    cache = EvictingCache(model.config, sinks=SINKS, window=WINDOW, positions=policy)
    layer = cache.layers[-1]
    start = 0
    for size in (30, 1, 1, 7, 25, 1, 1, 50):
        stop = min(start + size, length)
        cache.announce(positions[..., start:stop], rotary, stop - start, raw.device)
        new = rotated(raw[:, :, start:stop], rotary(raw, positions[..., start:stop]))
        kept, where = assigned(positions, start, policy)
        keys, found = layer.update(new, values[:, :, start:stop])
        index = [*kept, *range(start, stop)]
        where = torch.cat([where.view(3, 1, -1), positions[..., start:stop]], -1)
        torch.testing.assert_close(keys, rotated(raw[:, :, index], rotary(raw, where)), atol=2e-5, rtol=1e-5)
        assert torch.equal(found, values[:, :, index])
        start = stop
    assert layer.keys.shape[2] == SINKS + WINDOW
    assert layer.get_seq_length() == length


@torch.no_grad()
def steps(model: Any, x: dict[str, torch.Tensor], cache: Any, count: int = 24) -> torch.Tensor:
    """Logits of single steps after one token, text only."""
    ids = x["input_ids"][:, :count]
    return torch.cat([model(input_ids=ids[:, i : i + 1], past_key_values=cache).logits for i in range(count)], 1)


@pytest.mark.parametrize("family", ["qwen3_vl", *(pytest.param(f, marks=pytest.mark.slow) for f in OTHERS)])
def test_keys_left_in_place_are_a_window_with_sinks(family: str) -> None:
    model, x = model_of(family), {"input_ids": torch.arange(20, 44)[None]}
    model.set_attn_implementation("eager")
    evicting = steps(model, x, EvictingCache(model.config, sinks=SINKS, window=WINDOW))
    settings = {"window": WINDOW + 1, "sinks": SINKS}
    register.use(model, {"text": [{"method": "sliding_window", "settings": settings}]})
    wanted = steps(model, x, DynamicCache(config=model.config.get_text_config()))
    torch.testing.assert_close(evicting, wanted, atol=2e-3, rtol=1e-3)
    ours = steps(model, x, EvictingCache(model.config, sinks=SINKS, window=WINDOW))
    torch.testing.assert_close(ours, wanted, atol=2e-3, rtol=1e-3)


def test_turned_and_unrotated_keys_say_the_same_and_gaps_say_something_else() -> None:
    model, x = model_of("qwen3_vl"), {"input_ids": torch.arange(20, 60)[None]}
    out = {
        policy: steps(model, x, EvictingCache(model.config, sinks=SINKS, window=WINDOW, positions=policy), 40)
        for policy in ("kept", "rerotated", "unrotated")
    }
    torch.testing.assert_close(out["rerotated"], out["unrotated"], atol=5e-3, rtol=1e-3)
    assert (out["kept"] - out["unrotated"]).abs().max() > 0.1


def test_generate_takes_an_evicting_cache_and_its_bytes_stay() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    register.use(model, {"text": [{"method": "sliding_window"}]})
    cache = EvictingCache(model.config, sinks=SINKS, window=WINDOW, positions="unrotated")
    model.generate(**x, past_key_values=cache, max_new_tokens=3)
    before = cache.nbytes()
    assert before == dict.fromkeys(("keys", "values"), 4 * 2 * (SINKS + WINDOW) * 16 * 4)
    model(input_ids=torch.full((1, 9), 5), past_key_values=cache)
    assert cache.nbytes() == before


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("qwen3_vl", "evicting"),
        ("qwen3_5", "dynamic"),
        ("qwen2_5_vl", "static"),
        *(pytest.param("qwen3_5", kind, marks=pytest.mark.slow) for kind in ("static", "evicting")),
    ],
)
def test_a_snapshot_brings_every_layer_back(family: str, kind: str) -> None:
    model, x = model_of(family), inputs_of(family)
    config = model.config.get_text_config()
    make = {
        "dynamic": lambda: DynamicCache(config=config),
        "static": lambda: StaticCache(config=config, max_cache_len=130),
        "evicting": lambda: EvictingCache(config, sinks=SINKS, window=WINDOW, positions="rerotated"),
    }[kind]
    with torch.no_grad():
        past = model(**x, past_key_values=make()).past_key_values
        undisturbed = copy.deepcopy(past)
        taken = caches.snapshot(past)
        right = torch.tensor([[11, 12]])
        wanted = model(input_ids=right, past_key_values=undisturbed).logits
        for _ in range(2):
            model(input_ids=torch.tensor([[7, 8, 9]]), past_key_values=past)
            caches.restore(past, taken)
        assert int(past.get_seq_length()) == x["input_ids"].shape[1]
        torch.testing.assert_close(model(input_ids=right, past_key_values=past).logits, wanted)


def test_what_an_evicting_cache_cannot_do_is_said() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl", rows=2, pad=4)
    with pytest.raises(AttentionError, match="window >= 1"):
        EvictingCache(model.config, sinks=0, window=0)
    with pytest.raises(AttentionError, match="kept, rerotated or unrotated"):
        EvictingCache(model.config, sinks=0, window=4, positions="moved")  # type: ignore[arg-type]
    cache = EvictingCache(model.config, sinks=2, window=20)
    register.use(model, {"text": []})
    past = model(**x, past_key_values=cache).past_key_values
    mask = torch.cat([x["attention_mask"], torch.ones(2, 1, dtype=torch.long)], 1)
    with pytest.raises(AttentionError, match="rows can't be padded"):
        model(input_ids=x["input_ids"][:, :1], attention_mask=mask, past_key_values=past)
    with pytest.raises(AttentionError, match=r"evicted keys are gone; take cache\.snapshot"):
        past.crop(-1)
