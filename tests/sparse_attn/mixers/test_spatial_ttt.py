"""Spatial-TTT against its equations token by token, as a pretrained layer's successor, and at its limits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from attention_samples import mixed_geometry
from mixer_samples import assert_equals_reference, disturbed, tokens_and_rope, transformers_attention
from pydantic import ValidationError
from torch import Tensor, nn

from allocentric.sparse_attn.contract import Dims, dims_of
from allocentric.sparse_attn.errors import AttentionError, MissingGeometryError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers import sliding_window
from allocentric.sparse_attn.mixers.spatial_ttt import Settings, build

DIMS = Dims(width=12, heads=4, kv_heads=2, head_dim=6)
SMALL = {"window": 5, "chunk": 7, "fast_heads": 2, "frame_tokens": 4}
SCHULZ = (
    (4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037), (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)  # fmt: skip
"""Spelled out again: THU-SI/Spatial-TTT@4d6720e, `zeropower_via_newtonschulz5`."""


class WithGeometry(nn.Module):
    """A mixer and where its tokens lie."""

    def __init__(self, mixer: nn.Module, geometry: Geometry) -> None:
        super().__init__()
        self.mixer, self.geometry = mixer, geometry

    def forward(self, x: Tensor, *, rope: tuple[Tensor, Tensor]) -> Tensor:
        y: Tensor = self.mixer(x, rope=rope, geometry=self.geometry)
        return y


def video_with_text(batch: int = 2) -> Geometry:
    """Two words, three frames of 2 x 2 with a word before each, a picture of 1 x 3, two words: 22 tokens."""
    types = torch.tensor([[0, 0] + [0, 2, 2, 2, 2] * 3 + [1] * 3 + [0, 0]] * batch)
    return Geometry.from_grids(
        types,
        image_grid_thw=torch.tensor([[1, 1, 3]] * batch),
        video_grid_thw=torch.tensor([[3, 2, 2]] * batch),
        merge_size=1,
    )


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """One vector, its first channels rotated in halves."""
    r = len(cos)
    head, half = x[:r], r // 2
    return torch.cat([head * cos + torch.cat([-head[half:], head[:half]]) * sin, x[r:]])


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def convolved(weight: Tensor, x: list[Tensor], geometry: Geometry, visible: list[int]) -> list[Tensor]:
    """3 x 3 x 3 over a clip, the nearest token at its edges, a token itself for what it may not see."""
    columns = (geometry.clip_BL, geometry.t_BL, geometry.y_BL, geometry.x_BL)
    where = list(zip(*(c[0].tolist() for c in columns), strict=True))
    token_at = {place: token for token, place in enumerate(where)}
    out = list(x)
    for token, (clip, *here) in enumerate(where):
        if clip < 0:
            continue
        total = torch.zeros_like(x[0])
        for tap in itertools.product(range(3), repeat=3):
            inside = [
                min(max(c + d - 1, 0), extent - 1)
                for c, d, extent in zip(here, tap, geometry.clips[0][clip], strict=True)
            ]
            source = token_at[(clip, *inside)]
            total = total + weight[(slice(None), 0, *tap)] * x[source if source <= visible[token] else token]
        out[token] = total
    return out


class Reference:
    """Section 3 of the paper for one row, one token and one fast head at a time."""

    def __init__(self, p: dict[str, Tensor], settings: Settings, geometry: Geometry) -> None:
        self.p = {name.removeprefix("mixer."): parameter for name, parameter in p.items()}
        self.s, self.geometry = settings, geometry

    def windowed(self, q: list[Tensor], k: list[Tensor], v: list[Tensor], t: int, cos: Tensor, sin: Tensor) -> Tensor:
        heads, groups, width = DIMS.heads, DIMS.heads // DIMS.kv_heads, DIMS.head_dim
        outputs = []
        for h in range(heads):
            mine, theirs = slice(h * width, (h + 1) * width), slice(h // groups * width, (h // groups + 1) * width)
            reach = range(max(0, t - self.s.window + 1), t + 1)
            query = turned(q[t][mine], cos[t], sin[t])
            scores = torch.stack([query @ turned(k[j][theirs], cos[j], sin[j]) for j in reach]) / width**0.5
            weights = torch.exp(scores) / torch.exp(scores).sum()
            outputs.append(sum((w * v[j][theirs] for w, j in zip(weights, reach, strict=True)), torch.zeros(width)))
        return torch.cat(outputs)

    def fast_head(self, x: Tensor, f: int, cos: Tensor, sin: Tensor) -> Tensor:
        width = len(x) // self.s.fast_heads
        part = x[f * width : (f + 1) * width]
        part = part * sigmoid(part)
        return turned(part / (part.norm() + 1e-5), cos, sin)

    def row(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        p, s, length = self.p, self.s, len(x)
        q, k, v = ([p[f"attention.{n}_proj.weight"] @ token for token in x] for n in "qkv")
        repeat = [h // (DIMS.heads // DIMS.kv_heads) for h in range(DIMS.heads)]
        wide = [[t.view(DIMS.kv_heads, -1)[repeat].flatten() for t in tokens] for tokens in (k, v)]
        far_q = [t * p["q_scale"] + p["q_offset"] for t in q]
        far_k, far_v = [t * p["k_scale"] + p["k_offset"] for t in wide[0]], wide[1]
        if s.conv != "off":
            ends = [min(length, (t // s.chunk + 1) * s.chunk) - 1 for t in range(length)]
            whole = [length] * length
            own = list(range(length))
            far_q = convolved(p["conv_q.weight"], far_q, self.geometry, whole if s.conv == "centred" else own)
            limit = whole if s.conv == "centred" else ends
            far_k, far_v = (
                convolved(p[f"conv_{n}.weight"], t, self.geometry, limit) for n, t in (("k", far_k), ("v", far_v))
            )
        read = [self.learned(f, x, far_q, far_k, far_v, cos, sin) for f in range(s.fast_heads)]
        outputs = []
        for t in range(length):
            gates = p["gate_proj.weight"] @ x[t] + p["gate_proj.bias"]
            far = torch.cat([
                o[t] / (o[t].square().mean() + 1e-5).sqrt() * p["norm.weight"] * gates[f] * sigmoid(gates[f])
                for f, o in enumerate(read)
            ])  # fmt: skip
            outputs.append(p["attention.o_proj.weight"] @ (self.windowed(q, k, v, t, cos, sin) + far))
        return torch.stack(outputs)

    def learned(
        self, f: int, x: Tensor, q: list[Tensor], k: list[Tensor], v: list[Tensor], cos: Tensor, sin: Tensor
    ) -> list[Tensor]:
        """What a fast head reads at every token."""
        p, s = self.p, self.s
        begun = [p[f"w{n}"][f] for n in range(3)]
        read, master = list(begun), list(begun)
        last: list[Any] = [0.0, 0.0, 0.0]
        outputs = []
        for t in range(len(x)):
            query = self.fast_head(q[t], f, cos[t], sin[t])
            gate = read[0] @ query
            outputs.append(read[1] @ (gate * sigmoid(gate) * (read[2] @ query)))
            if (t + 1) % s.chunk:
                continue
            span = range(t + 1 - s.chunk, t + 1)
            step = self.step(read, f, x, span, k, v, cos, sin)
            if s.momentum:
                shares = [sigmoid(p["momentum_proj.weight"][f] @ x[i] + p["momentum_proj.bias"][f]) for i in span]
                step = last = [d + m * sum(shares) / s.chunk for d, m in zip(step, last, strict=True)]
            if s.muon != "off":
                step = [self.orthogonal(d) for d in step]
            master = [w + d for w, d in zip(master if s.prenorm else read, step, strict=True)]
            read = [
                w / (w.norm(dim=1, keepdim=True) + 1e-5) * b.norm(dim=1, keepdim=True)
                for w, b in zip(master, begun, strict=True)
            ]
        return outputs

    def step(
        self,
        w: list[Tensor],
        f: int,
        x: Tensor,
        span: range,
        k: list[Tensor],
        v: list[Tensor],
        cos: Tensor,
        sin: Tensor,
    ) -> list[Tensor]:
        """Outer products of section 3, token by token."""
        total: list[Any] = [0.0, 0.0, 0.0]
        for i in span:
            key = self.fast_head(k[i], f, cos[i], sin[i])
            width = len(key)
            value = v[i][f * width : (f + 1) * width]
            value = value * sigmoid(value)
            raw = self.p["rate_proj.weight"] @ x[i] + self.p["rate_proj.bias"]
            inverse = torch.log(torch.expm1(torch.tensor(self.s.base_rate, dtype=x.dtype)))
            rates = torch.log1p(torch.exp(raw[3 * f : 3 * f + 3] + inverse))
            a, b = w[0] @ key, w[2] @ key
            dh = w[1].T @ value
            da = dh * b * sigmoid(a) * (1 + a * (1 - sigmoid(a)))
            total[0] = total[0] + rates[0] * torch.outer(da, key)
            total[1] = total[1] + rates[1] * torch.outer(value, a * sigmoid(a) * b)
            total[2] = total[2] + rates[2] * torch.outer(dh * a * sigmoid(a), key)
        return total

    @staticmethod
    def orthogonal(g: Tensor) -> Tensor:
        x = (g.T if g.shape[0] > g.shape[1] else g) / (g.norm() + 1e-7)
        for a, b, c in SCHULZ:
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return x.T if g.shape[0] > g.shape[1] else x

    def __call__(self, parameters: dict[str, Tensor], x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        self.p = {name.removeprefix("mixer."): parameter for name, parameter in parameters.items()}
        return torch.stack([self.row(*one) for one in zip(x, *rope, strict=True)])


@pytest.mark.parametrize(
    "settings",
    [
        Settings(**SMALL, muon="full", base_rate=0.1),
        pytest.param(Settings(**SMALL, muon="off", base_rate=0.1, prenorm=True), marks=pytest.mark.slow),
        pytest.param(
            Settings(**SMALL, muon="full", momentum=False, conv="centred", hidden_ratio=0.5), marks=pytest.mark.slow
        ),
        Settings(**SMALL, muon="off", conv="off", base_rate=0.1, hidden_ratio=1.5),
    ],
    ids=["stream", "prenorm", "centred", "plain"],
)
def test_output_and_gradients_are_those_of_the_equations(settings: Settings) -> None:
    torch.manual_seed(0)
    geometry = video_with_text(1)
    mixer = WithGeometry(disturbed(build(settings, DIMS)), geometry)
    x, rope = tokens_and_rope(DIMS, batch=1, length=geometry.length)
    assert_equals_reference(mixer, Reference({}, settings, geometry), x, rope)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_a_layer_taken_over_begins_as_windowed_attention_exactly(family: str) -> None:
    attention, rotary = transformers_attention(family)
    dims = dims_of(attention)
    settings = Settings(window=9, chunk=6, fast_heads=2)
    mixer, peer = build(settings, dims), sliding_window.build(sliding_window.Settings(window=9), dims)
    mixer.adopt(attention)
    peer.adopt(attention)
    geometry = mixed_geometry(2)[:60]
    x = torch.randn(2, 60, dims.width, generator=torch.Generator().manual_seed(1))
    rope = rotary(x, torch.arange(60).expand(3, 2, -1))
    with torch.no_grad():
        assert torch.equal(mixer(x, rope=rope, geometry=geometry), peer(x, rope=rope))
        within = [t[:, :9] for t in rope]
        causal = torch.full((9, 9), float("-inf")).triu(1).expand(2, 1, 9, 9)
        full, _ = attention(x[:, :9], position_embeddings=tuple(within), attention_mask=causal)
        ours = mixer(x[:, :9], rope=(within[0], within[1]), geometry=geometry[:9])
    torch.testing.assert_close(ours, full)


def test_a_closed_gate_learns_to_open() -> None:
    torch.manual_seed(0)
    geometry = video_with_text()
    mixer = build(Settings(**SMALL), DIMS)
    x, rope = tokens_and_rope(DIMS, length=geometry.length)
    mixer.double()(x, rope=rope, geometry=geometry).square().sum().backward()
    assert mixer.gate_proj.weight.grad is not None
    assert mixer.gate_proj.weight.grad.abs().max() > 0


def test_a_clip_that_comes_whole_looks_one_frame_ahead_however_calls_are_cut() -> None:
    geometry = video_with_text()
    torch.manual_seed(0)
    mixer = disturbed(build(Settings(**SMALL, muon="full", conv="centred"), DIMS))
    assert not mixer.streams
    x, rope = tokens_and_rope(DIMS, length=geometry.length)
    with torch.no_grad():
        whole = mixer(x, rope=rope, geometry=geometry)
        state, parts = mixer.initial_state(2, device="cpu", dtype=x.dtype), []
        for start, stop in ((0, 2), (2, 17), (17, 20), (20, 21), (21, 22)):
            turn = (rope[0][:, start:stop], rope[1][:, start:stop])
            parts.append(mixer(x[:, start:stop], rope=turn, geometry=geometry[start:stop], state=state))
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-9)
        changed = x.clone()
        changed[:, 13:17] += 1  # the last frame
        moved = (mixer(changed, rope=rope, geometry=geometry) - whole).abs().amax((0, 2)) > 1e-9
    assert moved[8:12].all(), "the frame before sees it"
    assert not moved[:8].any(), "what lies farther back doesn't"


def test_what_it_cannot_serve_is_refused_before_anything_is_computed() -> None:
    geometry = video_with_text()
    x, rope = tokens_and_rope(DIMS, length=geometry.length)
    centred = build(Settings(**SMALL, conv="centred"), DIMS).double()
    with pytest.raises(AttentionError, match=r"8 of the 12 tokens of clip 0 .*'causal' streams"):
        centred(x[:, :12], rope=(rope[0][:, :12], rope[1][:, :12]), geometry=geometry[:12])
    narrow = build(Settings(**SMALL | {"frame_tokens": 3}), DIMS).double()
    state = narrow.initial_state(2, device="cpu", dtype=torch.double)
    before = state.snapshot()
    with pytest.raises(AttentionError, match=r"a frame of 4 tokens came, and frame_tokens is 3"):
        narrow(x, rope=rope, geometry=geometry, state=state)
    assert state.seen == [0, 0]
    assert all(torch.equal(state.tensors[name], tensor) for name, tensor in before.tensors.items())
    with pytest.raises(AttentionError, match=r"fast_heads 3 must divide the layer's 4 attention heads"):
        build(Settings(fast_heads=3), DIMS)
    with pytest.raises(MissingGeometryError, match="spatial_ttt"):
        narrow(x, rope=rope)
    with pytest.raises(ValidationError):
        Settings(chunk=0)
    assert build(Settings(**SMALL, conv="off"), DIMS).double()(x, rope=rope).isfinite().all()


def test_the_published_layer_carries_the_published_bytes() -> None:
    """3 x 4 x 512 x 512 floats: 12.6 MB of fast weights for a layer of Qwen3-VL-2B, and as much momentum."""
    dims = Dims(width=2048, heads=16, kv_heads=8, head_dim=128, qk_norm=True)
    with torch.device("meta"):
        state = build(Settings(), dims).initial_state(1, device="meta", dtype=torch.bfloat16)
    found = state.nbytes()
    assert sum(found[f"fast_w{n}"] for n in range(3)) == 12_582_912
    assert sum(found[f"momentum_w{n}"] for n in range(3)) == 12_582_912
    assert found["window_k"] == 8 * (2648 - 1) * 128 * 2
