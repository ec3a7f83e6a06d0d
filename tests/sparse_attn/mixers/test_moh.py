"""MoH against every head for every token with weights, and heads really left out."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import Rope, assert_equals_reference, disturbed, tokens_and_rope, transformers_attention
from torch import Tensor

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Dims, dims_of
from allocentric.sparse_attn.mixers import moh
from allocentric.sparse_attn.mixers.moh import Settings, build

DIMS = Dims(width=12, heads=6, kv_heads=3, head_dim=4)


def by_masking(p: dict[str, Tensor], x: Tensor, rope: Rope, settings: Settings) -> Tensor:
    """Equations 5 to 7 of arXiv 2410.11842 with the factors of SkyworkAI/MoH@66bb340: all heads, then weights."""
    shared, top_k, window = settings.shared or 0, settings.top_k or 0, settings.window or 99

    def heads_of(name: str, token: Tensor, b: int, t: int, count: int) -> list[Tensor]:
        heads = (p[f"attention.{name}.weight"] @ token).split(4)
        assert len(heads) == count
        if name == "v_proj":
            return list(heads)
        return [h * rope[0][b, t] + torch.cat([-h[2:], h[:2]]) * rope[1][b, t] for h in heads]

    rows = []
    for b, row in enumerate(x):
        keys = [heads_of("k_proj", token, b, t, 3) for t, token in enumerate(row)]
        values = [heads_of("v_proj", token, b, t, 3) for t, token in enumerate(row)]
        outputs = []
        for t, token in enumerate(row):
            queries = heads_of("q_proj", token, b, t, 6)
            if settings.router == "query_norm":
                share = torch.stack([q.dot(q).sqrt() for q in queries[shared:]])
                chosen = share.argsort(descending=True)[:top_k]
                weights = [torch.ones((), dtype=x.dtype)] * shared + [
                    torch.tensor(float(h in chosen), dtype=x.dtype) for h in range(6 - shared)
                ]
            else:
                share = torch.softmax(p["route.weight"] @ token, dim=0)
                chosen = share.argsort(descending=True)[:top_k]
                both = torch.softmax(p["weigh_groups.weight"] @ token, dim=0) if shared else torch.tensor([0, 0.5])
                common = torch.softmax(p["weigh_shared.weight"] @ token, dim=0) if shared > 1 else torch.ones(1)
                weights = [2 * both[0] * shared * common[h] for h in range(shared)] + [
                    2 * both[1] * top_k * share[h] / share[chosen].sum() if h in chosen else share.new_zeros(())
                    for h in range(6 - shared)
                ]
            merged = []
            for h in range(6):
                seen = range(max(0, t - window + 1), t + 1)
                scores = torch.softmax(torch.stack([queries[h] @ keys[s][h // 2] for s in seen]) / 2, dim=0)
                merged.append(weights[h] * sum(w * values[s][h // 2] for w, s in zip(scores, seen, strict=True)))
            outputs.append(p["attention.o_proj.weight"] @ torch.cat(merged))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(shared=2, top_k=2),
        Settings(shared=1, top_k=1, window=4),
        Settings(shared=0, top_k=3),
        Settings(shared=3, top_k=2, router="query_norm"),
    ],
    ids=["two shared", "one shared in a window", "none shared", "by length"],
)
def test_output_and_gradients_are_those_of_all_heads_with_weights(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moh, "_QUERIES_AT_ONCE", 3)
    torch.manual_seed(0)
    x, rope = tokens_and_rope(DIMS, batch=2, length=6)
    mixer = disturbed(build(settings, DIMS))
    assert_equals_reference(mixer, lambda p, x, r: by_masking(p, x, r, settings), x, rope)


def test_heads_that_are_not_chosen_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = build(Settings(shared=2, top_k=1), DIMS)
    computed = []
    plain = moh.scaled_dot_product_attention

    def counted(q: Tensor, *rest: Tensor, **options: object) -> Tensor:
        computed.append(q.shape[-2])
        return plain(q, *rest, **options)

    monkeypatch.setattr(moh, "scaled_dot_product_attention", counted)
    mixer(torch.randn(2, 50, 12))
    assert sum(computed) == 2 * 50 * 1
    all_heads = build(Settings(shared=2, top_k=4), DIMS)
    scores = [m.cost(100).forward_flops - m.attention.flops(100) for m in (mixer, all_heads)]
    assert scores[1] - scores[0] == 3 * 4 * 4 * (100 * 101 // 2)


@pytest.mark.parametrize("router", ["linear", "query_norm"])
def test_a_layer_taken_over_with_all_heads_is_unchanged(router: str) -> None:
    attention, rotary = transformers_attention("qwen2_5_vl" if router == "query_norm" else "qwen3_vl")
    ours = build(Settings(shared=1, top_k=3, router=router), dims_of(attention))
    ours.adopt(attention)
    x = torch.randn(2, 9, 32)
    rope = rotary(x, torch.arange(9).expand(3, 2, 9))
    mask = torch.full((9, 9), float("-inf")).triu(1)[None, None]
    wanted = attention(x, position_embeddings=rope, attention_mask=mask)[0]
    torch.testing.assert_close(ours(x, rope=rope), wanted)


def test_balance_loss_prefers_heads_used_alike() -> None:
    mixer = build(Settings(shared=2, top_k=1), DIMS)
    x = torch.eye(4).repeat(1, 25, 3)
    with torch.no_grad():
        mixer.route.weight.copy_(20 * torch.eye(4).repeat(1, 3))
        alike = mixer.balance_loss(x)
        mixer.route.weight.copy_(torch.tensor([[20.0], [0], [0], [0]]).expand(4, 12))
        one = mixer.balance_loss(x)
    torch.testing.assert_close(alike, torch.tensor(1.0))
    torch.testing.assert_close(one, torch.tensor(4.0))


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(SettingsError, match="leave 2 to route, so top_k=3"):
        build(Settings(shared=4, top_k=3), DIMS)
    with pytest.raises(SettingsError, match="use router 'linear'"):
        build(Settings(router="query_norm"), Dims(width=12, heads=6, kv_heads=3, head_dim=4, qk_norm=True))
    with pytest.raises(SettingsError, match="no probabilities to balance"):
        build(Settings(router="query_norm"), DIMS).balance_loss(torch.randn(1, 2, 12))
