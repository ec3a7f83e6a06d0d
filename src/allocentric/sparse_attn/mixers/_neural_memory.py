"""The memory of Titans: a small network per head that learns keys and values of the stream while reading it.

    S_t = eta_t S_{t-1} - theta_t grad |M(k_t) - v_t|^2,   M_t = (1 - alpha_t) M_{t-1} + S_t,   y_t = M_t(q_t)

Behrouz et al., arXiv 2501.00663, equations 8 to 15. Gradients of a chunk are taken at the weights the chunk begins
with (its section 3.2). They are products of one vector of backward and one of forward, so the weights of single tokens
needn't be spelled out: what a chunk has learnt so far acts on a query like attention without a softmax, with
coefficients from both recurrences over time.

Shapes: B batch, H heads, L tokens, D head width, I inputs and O outputs of a layer of the network, E model width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from allocentric.sparse_attn.contract import MixerState
from allocentric.sparse_attn.mixers._window import CausalConv


class Memory(NamedTuple):
    """Weights of all layers, each (B, H, O, I)."""

    start: tuple[Tensor, ...]
    """Where the current chunk began: gradients are taken here."""
    now: tuple[Tensor, ...]
    """After the last token."""
    momentum: tuple[Tensor, ...]
    """S after the last token."""


class Tokens(NamedTuple):
    """What a stretch of tokens asks and teaches."""

    q_BHLD: Tensor
    k_BHLD: Tensor
    v_BHLD: Tensor
    step_BHL: Tensor
    """theta."""
    log_momentum_BHL: Tensor
    """log eta."""
    log_keep_BHL: Tensor
    """log (1 - alpha)."""

    def part(self, start: int, stop: int) -> Tokens:
        """Some of them."""
        return Tokens(*(tensor[:, :, start:stop] for tensor in self))


def read(q_BHLD: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """The network's answers."""
    x = q_BHLD
    for place, w_BHOI in enumerate(weights):
        x = x @ w_BHOI.transpose(-1, -2)
        x = x if place == len(weights) - 1 else silu(x)
    return x


def learn(tokens: Tokens, memory: Memory) -> tuple[Tensor, Memory]:
    """Answers of tokens of one chunk, each after learning from it, and the memory after them."""
    forward, backward = _surprise(tokens.k_BHLD, tokens.v_BHLD, memory.start)
    momentum_BHLL, momentum_BHL = _products(tokens.log_momentum_BHL)
    keep_BHLL, keep_BHL = _products(tokens.log_keep_BHL)
    # M_t = keep_t M_0 + carry_t S_0 - sum over s <= t of learnt_ts grad_s.
    carry_BHL = (keep_BHLL @ momentum_BHL[..., None])[..., 0]
    learnt_BHLL = (keep_BHLL @ momentum_BHLL) * tokens.step_BHL[..., None, :]
    pushed_BHL = momentum_BHLL[..., -1, :] * tokens.step_BHL
    x, now, momentum = tokens.q_BHLD, [], []
    for place, (w, s, u_BHLI, d_BHLO) in enumerate(zip(memory.now, memory.momentum, forward, backward, strict=True)):
        own = ((x @ u_BHLI.transpose(-1, -2)) * learnt_BHLL) @ d_BHLO
        past = keep_BHL[..., None] * (x @ w.transpose(-1, -2)) + carry_BHL[..., None] * (x @ s.transpose(-1, -2))
        x = past - own if place == len(forward) - 1 else silu(past - own)
        last = (slice(None), slice(None), -1, None, None)
        taught = (d_BHLO * learnt_BHLL[..., -1, :, None]).transpose(-1, -2) @ u_BHLI
        now.append(keep_BHL[last] * w + carry_BHL[last] * s - taught)
        pushed = (d_BHLO * pushed_BHL[..., None]).transpose(-1, -2) @ u_BHLI
        momentum.append(momentum_BHL[last] * s - pushed)
    return x, Memory(memory.start, tuple(now), tuple(momentum))


def _surprise(k_BHLD: Tensor, v_BHLD: Tensor, weights: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Per layer, the vectors whose outer product is the gradient of |M(k) - v|^2: inputs, and what comes backward."""
    inputs, sums = [k_BHLD], []
    for w_BHOI in weights:
        sums.append(inputs[-1] @ w_BHOI.transpose(-1, -2))
        inputs.append(silu(sums[-1]))
    backward = [2 * (sums[-1] - v_BHLD)]
    for w_BHOI, z in zip(reversed(weights[1:]), reversed(sums[:-1]), strict=True):
        s = torch.sigmoid(z)
        backward.append((backward[-1] @ w_BHOI) * (s * (1 + z * (1 - s))))
    return inputs[:-1], backward[::-1]


def _products(log_BHL: Tensor) -> tuple[Tensor, Tensor]:
    """Products of factors after s up to t, (.., t, s), 0 for s > t; and of all up to t, (.., t)."""
    total = log_BHL.cumsum(-1)
    after = torch.ones(*total.shape[-1:] * 2, dtype=torch.bool, device=total.device).triu(1)
    between = (total[..., :, None] - total[..., None, :]).masked_fill(after, float("-inf")).exp()
    return between, total.exp()


class NeuralMemory(nn.Module):
    """Projections, gates and initial weights of the memories of one layer, and how they move along a stream."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        *,
        depth: int,
        expansion: int,
        chunk: int,
        taps: int,
        max_step: float,
    ) -> None:
        super().__init__()
        self.heads, self.head_dim, self.depth, self.chunk, self.max_step = heads, head_dim, depth, chunk, max_step
        inner = heads * head_dim
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.convs = nn.ModuleDict({name: CausalConv(inner, taps) for name in "qkv"} if taps else {})
        self.gates = nn.Linear(width, 3 * heads)
        with torch.no_grad():
            # A token forgets 2 % at first; half a step and half the momentum.
            self.gates.bias.zero_()
            self.gates.bias[2 * heads :] = -4.0
        sizes = [head_dim, *[expansion * head_dim] * (depth - 1), head_dim]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(heads, outputs, inputs) / inputs**0.5) for inputs, outputs in pairwise(sizes)
        )

    def initial(
        self, batch: int, *, device: torch.device | str, dtype: torch.dtype, retrieves: bool
    ) -> dict[str, Tensor]:
        """Tensors for `MixerState.tensors`; `begin` fills them in when a stream begins."""
        wide = torch.promote_types(dtype, torch.float32)
        tensors = {
            f"{kind}_{place}": torch.zeros(batch, *weight.shape, device=device, dtype=wide)
            for kind in Memory._fields
            for place, weight in enumerate(self.weights)
        }
        for name, conv in self._convs().items():
            tensors[f"conv_{name}"] = conv.initial(batch, device=device, dtype=dtype)
        if retrieves and self.convs:
            tensors["conv_retrieve"] = self._convs()["q"].initial(batch, device=device, dtype=dtype)
        return tensors

    def _convs(self) -> dict[str, CausalConv]:
        return {name: conv for name, conv in self.convs.items() if isinstance(conv, CausalConv)}

    def begin(self, state: MixerState) -> None:
        """The weights that training found; nothing came before."""
        for name, tensor in state.tensors.items():
            if name.startswith("conv_"):
                state.tensors[name] = torch.zeros_like(tensor)
        shape = state.tensors["start_0"]
        weights = tuple(w.to(shape.dtype).expand(shape.shape[0], *w.shape).clone() for w in self.weights)
        self._store(state, Memory(weights, weights, tuple(torch.zeros_like(w) for w in weights)))

    def tokens(self, x_BLE: Tensor, state: MixerState) -> Tokens:
        """What tokens ask and teach; moves the convolutions on."""
        q, k, v = (
            self._projected(name, projection, x_BLE, state, f"conv_{name}")
            for name, projection in (("q", self.q_proj), ("k", self.k_proj), ("v", self.v_proj))
        )
        wide = q.dtype
        step, momentum, forget = self.gates(x_BLE).to(wide).transpose(1, 2).chunk(3, dim=1)
        return Tokens(
            _unit(q), _unit(k), v, self.max_step * torch.sigmoid(step), logsigmoid(momentum), logsigmoid(-forget)
        )

    def turn_page(self, state: MixerState) -> None:
        """A chunk begins: gradients are taken at the weights reached so far."""
        memory = self._stored(state)
        self._store(state, memory._replace(start=memory.now))

    def retrieve(self, x_BLE: Tensor, state: MixerState) -> Tensor:
        """(B, H, L, D): answers by the weights at the start of the chunk; nothing is learnt."""
        q = self._projected("q", self.q_proj, x_BLE, state, "conv_retrieve")
        return read(_unit(q), self._stored(state).start)

    def run(self, tokens: Tokens, state: MixerState, seen: int) -> Tensor:
        """(B, H, L, D): answers of tokens that follow `seen` others; chunks are counted from the first of these."""
        memory, length, outputs, start = self._stored(state), tokens.q_BHLD.shape[2], [], 0
        while start < length:
            place = (seen + start) % self.chunk
            if place == 0:
                memory = memory._replace(start=memory.now)
            stop = min(length, start + self.chunk - place)
            out, memory = learn(tokens.part(start, stop), memory)
            outputs.append(out)
            start = stop
        self._store(state, memory)
        return torch.cat(outputs, dim=2)

    def _projected(self, name: str, projection: nn.Linear, x_BLE: Tensor, state: MixerState, past: str) -> Tensor:
        """(B, H, L, D) in the memory's dtype, after convolution and SiLU."""
        y = projection(x_BLE)
        if self.convs:
            y, state.tensors[past] = self.convs[name](y, state.tensors[past])
        heads: Tensor = silu(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return heads.to(state.tensors["now_0"].dtype)

    def _stored(self, state: MixerState) -> Memory:
        return Memory(*(tuple(state.tensors[f"{kind}_{p}"] for p in range(self.depth)) for kind in Memory._fields))

    def _store(self, state: MixerState, memory: Memory) -> None:
        for kind, weights in zip(Memory._fields, memory, strict=True):
            for place, weight in enumerate(weights):
                state.tensors[f"{kind}_{place}"] = weight

    def flops(self, length: int) -> int:
        """Multiplications and additions of `tokens` and `run` for a stream of `length` tokens from its start."""
        whole, rest = divmod(length, self.chunk)
        inner = self.heads * self.head_dim
        taps = sum(conv.weight.numel() for conv in self._convs().values())
        projections = 2 * length * (self.gates.in_features * (3 * inner + 3 * self.heads) + taps)
        return projections + self.heads * (whole * self._chunk_flops(self.chunk) + self._chunk_flops(rest))

    def retrieve_flops(self, length: int) -> int:
        """The same of `retrieve`."""
        inner = self.heads * self.head_dim
        taps = self._convs()["q"].weight.numel() if self.convs else 0
        return 2 * length * (self.q_proj.in_features * inner + taps + sum(int(w.numel()) for w in self.weights))

    def _chunk_flops(self, size: int) -> int:
        sizes = [int(weight[0].numel()) for weight in self.weights]
        sides = sum(int(weight.shape[1] + weight.shape[2]) for weight in self.weights)
        # Forward, two reads, two updates; backward through all but the first layer.
        layers = 2 * size * (5 * sum(sizes) + sum(sizes[1:]))
        return layers + 2 * size * size * sides + 2 * int(size**3) + 2 * size * size


def _unit(x: Tensor) -> Tensor:
    """Length 1 along the last axis."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
