"""Titans against its recurrences, token by token, with the gradients of the memory's loss taken by autograd."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import Rope, assert_equals_reference, disturbed, tokens_and_rope, transformers_attention
from torch import Tensor
from torch.nn.functional import silu

from allocentric.sparse_attn.contract import Dims, MixerState, dims_of
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers.titans import Settings, Titans, build

DIMS = Dims(width=8, heads=2, kv_heads=1, head_dim=4)
CASES = {
    "gate": Settings(window=3, chunk=4, persistent=2, depth=2, expansion=2, taps=2, max_step=0.2),
    "residual gate": Settings(gate="residual", window=4, chunk=4, persistent=0, depth=1, taps=0, max_step=0.2),
    "context": Settings(variant="mac", chunk=4, persistent=2, depth=2, expansion=1, taps=3, max_step=0.2),
    "layer": Settings(variant="mal", window=3, chunk=5, persistent=1, depth=3, expansion=1, taps=2, max_step=0.2),
}


class MemoryByTokens:
    """M and S of every head of one sequence; S = eta S - theta grad, M = (1 - alpha) M + S."""

    def __init__(self, p: dict[str, Tensor], settings: Settings) -> None:
        self.p, self.s, self.heads, self.width = p, settings, DIMS.heads, DIMS.head_dim
        weights = [p[f"memory.weights.{layer}"] for layer in range(settings.depth)]
        self.now = [[w[h] for w in weights] for h in range(self.heads)]
        self.momentum = [[torch.zeros_like(w[h]) for w in weights] for h in range(self.heads)]
        self.start = self.now
        self.past: dict[str, list[Tensor]] = {}

    def network(self, weights: list[Tensor], x: Tensor) -> Tensor:
        for place, w in enumerate(weights):
            x = w @ x if place == len(weights) - 1 else silu(w @ x)
        return x

    def projected(self, name: str, token: Tensor, stream: str) -> list[Tensor]:
        """Projection, convolution over this stream, SiLU, heads."""
        y = self.p[f"memory.{name}_proj.weight"] @ token
        if self.s.taps:
            seen = self.past.setdefault(stream, [])
            seen.append(y)
            taps = self.p[f"memory.convs.{name}.weight"]
            y = sum(taps[:, -1 - back] * seen[-1 - back] for back in range(min(self.s.taps, len(seen))))
        return list(silu(y).split(self.width))

    def new_chunk(self) -> None:
        self.start = [list(weights) for weights in self.now]

    def retrieve(self, token: Tensor) -> list[Tensor]:
        return [self.network(self.start[h], unit(q)) for h, q in enumerate(self.projected("q", token, "retrieve"))]

    def learn_and_answer(self, token: Tensor) -> list[Tensor]:
        q, k, v = (self.projected(name, token, name) for name in "qkv")
        gates = (self.p["memory.gates.weight"] @ token + self.p["memory.gates.bias"]).view(3, self.heads)
        answers = []
        for h in range(self.heads):
            theta = self.s.max_step / (1 + torch.exp(-gates[0, h]))
            eta, alpha = 1 / (1 + torch.exp(-gates[1, h])), 1 / (1 + torch.exp(-gates[2, h]))
            # Copies: where k depends on the weights (memory as context), the gradient isn't taken through k.
            start = [w.clone() for w in self.start[h]]
            loss = (self.network(start, unit(k[h])) - v[h]).square().sum()
            gradient = torch.autograd.grad(loss, start, create_graph=True)
            self.momentum[h] = [eta * s - theta * g for s, g in zip(self.momentum[h], gradient, strict=True)]
            self.now[h] = [(1 - alpha) * w + s for w, s in zip(self.now[h], self.momentum[h], strict=True)]
            answers.append(self.network(self.now[h], unit(q[h])))
        return answers


def unit(x: Tensor) -> Tensor:
    return x / (x.dot(x) + 1e-6).sqrt()


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean() + 1e-6).sqrt() * weight


def turned(x: Tensor, rope: Rope, b: int, t: int | None) -> Tensor:
    if t is None:
        return x
    return x * rope[0][b, t] + torch.cat([-x[2:], x[:2]]) * rope[1][b, t]


def softmax_over(q: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    weights = torch.softmax(torch.stack([q @ k for k in keys]) / DIMS.head_dim**0.5, dim=0)
    return sum(w * v for w, v in zip(weights, values, strict=True))


def by_tokens(p: dict[str, Tensor], x: Tensor, rope: Rope, s: Settings) -> Tensor:
    rows = []
    for b, row in enumerate(x):
        memory = MemoryByTokens(p, s)
        form = context_by_tokens if s.variant == "mac" else window_by_tokens
        rows.append(form(p, row, rope, b, s, memory))
    return torch.stack(rows)


def normed(p: dict[str, Tensor], answers: list[Tensor]) -> Tensor:
    return torch.cat([rms(answer, p["memory_norm.weight"]) for answer in answers])


def meet(p: dict[str, Tensor], near: Tensor, far: Tensor, s: Settings) -> Tensor:
    if s.gate == "residual":
        return near + p["gate"] * far
    return rms(near, p["near_norm.weight"]) * silu(far)


def window_by_tokens(
    p: dict[str, Tensor], row: Tensor, rope: Rope, b: int, s: Settings, memory: MemoryByTokens
) -> Tensor:
    """MAG and MAL."""
    tokens = [*p["persistent"], *row] if s.persistent else list(row)
    keys, values, outputs = [], [], []
    for place, token in enumerate(tokens):
        t = place - s.persistent
        if place == 0 or (t >= 0 and t % s.chunk == 0):
            memory.new_chunk()
        far = normed(p, memory.learn_and_answer(token))
        seen = p["memory_out.weight"] @ far if s.variant == "mal" else token
        at = t if t >= 0 else None
        keys.append(turned(p["attention.k_proj.weight"] @ seen, rope, b, at))
        values.append(p["attention.v_proj.weight"] @ seen)
        if t < 0:
            continue
        near = [j for j in range(place + 1) if place - j < s.window or j < s.persistent]
        heads = [
            softmax_over(turned(q, rope, b, t), [keys[j] for j in near], [values[j] for j in near])
            for q in (p["attention.q_proj.weight"] @ seen).split(DIMS.head_dim)
        ]
        met = torch.cat(heads) if s.variant == "mal" else meet(p, torch.cat(heads), far, s)
        outputs.append(p["attention.o_proj.weight"] @ met)
    return torch.stack(outputs)


def context_by_tokens(
    p: dict[str, Tensor], row: Tensor, rope: Rope, b: int, s: Settings, memory: MemoryByTokens
) -> Tensor:
    """MAC."""
    outputs = []
    for t, token in enumerate(row):
        if t % s.chunk == 0:
            memory.new_chunk()
            keys = [p["attention.k_proj.weight"] @ one for one in p["persistent"]]
            values = [p["attention.v_proj.weight"] @ one for one in p["persistent"]]
        context = p["memory_out.weight"] @ normed(p, memory.retrieve(token))
        for one in (context, token):
            keys.append(turned(p["attention.k_proj.weight"] @ one, rope, b, t))
            values.append(p["attention.v_proj.weight"] @ one)
        queries = (p["attention.q_proj.weight"] @ token).split(DIMS.head_dim)
        heads = [softmax_over(turned(q, rope, b, t), keys, values) for q in queries]
        y = p["attention.o_proj.weight"] @ torch.cat(heads)
        far = p["memory_out.weight"] @ normed(p, memory.learn_and_answer(y))
        outputs.append(meet(p, y, far, s))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    "case",
    ["gate", "context", *(pytest.param(case, marks=pytest.mark.slow) for case in ("residual gate", "layer"))],
)
def test_output_and_gradients_are_those_of_the_recurrence(case: str) -> None:
    settings = CASES[case]
    torch.manual_seed(0)
    mixer = disturbed(build(settings, DIMS))
    x, rope = tokens_and_rope(DIMS, batch=1, length=9)
    assert_equals_reference(mixer, lambda p, x, r: by_tokens(p, x, r, settings), x, rope)


def test_a_layer_taken_over_is_at_first_itself_in_a_window() -> None:
    attention, rotary = transformers_attention("qwen3_vl")
    ours = build(Settings(gate="residual", window=5, persistent=0, chunk=4), dims_of(attention))
    ours.adopt(attention)
    x = torch.randn(2, 12, 32)
    rope = rotary(x, torch.arange(12).expand(3, 2, 12))
    distance = torch.arange(12)[:, None] - torch.arange(12)
    mask = torch.zeros(12, 12).masked_fill((distance < 0) | (distance >= 5), float("-inf"))[None, None]
    wanted = attention(x, position_embeddings=rope, attention_mask=mask)[0]
    torch.testing.assert_close(ours(x, rope=rope), wanted)
    torch.testing.assert_close(ours.memory.q_proj.weight, attention.q_proj.weight)
    repeated = attention.v_proj.weight.unflatten(0, (2, 8))[[0, 0, 1, 1]].flatten(0, 1)
    assert torch.equal(ours.memory.v_proj.weight, repeated)
    with pytest.raises(AttentionError, match="build with dims_of"):
        build(Settings(), DIMS).adopt(attention)


def test_memory_recalls_what_the_window_has_forgotten() -> None:
    """Pairs of key and value are read once; asked with the key alone, memory answers with the value."""
    torch.manual_seed(0)
    dims = Dims(width=32, heads=1, kv_heads=1, head_dim=16)
    memory = build(Settings(depth=1, chunk=8, taps=0, persistent=0, max_step=0.5), dims).double().memory
    with torch.no_grad():
        memory.q_proj.weight.copy_(torch.cat([torch.eye(16), torch.zeros(16, 16)], dim=1))
        memory.k_proj.weight.copy_(memory.q_proj.weight)
        memory.v_proj.weight.copy_(torch.cat([torch.zeros(16, 16), torch.eye(16)], dim=1))
        memory.gates.weight.zero_()
        memory.gates.bias.copy_(torch.tensor([30.0, -30.0, -30.0]))  # full steps, no momentum, no forgetting
        memory.weights[0].zero_()
    keys, values = 10 * torch.eye(16), torch.randn(16, 16)
    state = MixerState(tensors=memory.initial(1, device="cpu", dtype=torch.float64, retrieves=False), seen=[0])
    memory.begin(state)
    with torch.no_grad():
        for start in (0, 8):
            pairs = torch.cat([keys, values], dim=1)[None, start : start + 8].double()
            memory.run(memory.tokens(pairs, state), state, start)
        asked = torch.cat([keys, torch.zeros(16, 16)], dim=1)[None].double()
        memory.turn_page(state)
        answers = memory.retrieve(asked, state)[0, 0]
    # Orthogonal keys and step 1/2: one gradient step per pair stores its (activated) value exactly.
    torch.testing.assert_close(answers, silu(values).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gate", "context", "layer"])
def test_cost_is_the_count_of_products(case: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    mixer = build(CASES[case], DIMS)
    with FlopCounterMode(display=False) as counter:
        mixer(torch.randn(1, 43, 8))
    counts = counter.get_flop_counts()["Global"]
    attention = sum(count for op, count in counts.items() if "attention" in str(op))
    assert mixer.cost(43).forward_flops - attention_pairs(mixer) == counter.get_total_flops() - attention


def attention_pairs(mixer: Titans, length: int = 43) -> int:
    """Products of scores and sums of the pairs that count, one by one."""
    s = mixer.settings
    if s.variant == "mac":
        pairs = sum(s.persistent + 2 * (t % s.chunk + 1) for t in range(length))
    else:
        pairs = sum(s.persistent + min(t + 1, s.window) for t in range(length))
    return 4 * DIMS.head_dim * DIMS.heads * pairs
