"""What mixers remember of the last few tokens: keys and values of a window, and the taps of a causal convolution.

Shapes: B batch, H query heads, K key-value heads, L new tokens, W window, T sinks, D head width, C channels, J taps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.contract import MixerState
from allocentric.sparse_attn.plan import Band, Dense, Extent, Plan


@dataclass(frozen=True, kw_only=True)
class Window:
    """Sliding-window attention over a stream, with sinks; keys stay rotated as they came.

    The state holds the first T tokens as sinks and the last W - 1 of the others, whatever was seen; places not filled
    yet are 0 and lie at the end of the sinks and at the start of the window.
    """

    size: int
    """W: keys at or before a query that it sees, itself included."""
    sinks: int = 0
    """T: keys at the start of the stream that every query sees."""

    def initial(
        self, batch: int, kv_heads: int, head_dim: int, *, device: torch.device | str, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Tensors for `MixerState.tensors`, (B, K, W - 1 or T, D)."""
        extents = {"window": self.size - 1} | ({"sink": self.sinks} if self.sinks else {})
        return {
            f"{place}_{what}": torch.zeros(batch, kv_heads, extent, head_dim, device=device, dtype=dtype)
            for place, extent in extents.items()
            for what in "kv"
        }

    def filled(self, seen: int) -> int:
        """Keys that the state holds after `seen` tokens; rows with equal counts run together."""
        return min(seen, self.sinks + self.size - 1)

    @property
    def growing(self) -> frozenset[str]:
        """For `MixerState.growing`: nothing grows."""
        return frozenset()

    def attend(
        self,
        q_BHLD: Tensor,
        k_BKLD: Tensor,
        v_BKLD: Tensor,
        *,
        state: MixerState,
        scale: float,
        seen: int | None = None,
    ) -> Tensor:
        """(B, H, L, D): attention of new tokens on what is remembered and themselves; the state moves on.

        Args:
            q_BHLD: Of the new tokens.
            k_BKLD: Of the new tokens, rotated.
            v_BKLD: Of the new tokens.
            state: Holds `initial`'s tensors; its rows are equally filled.
            scale: Factor of the scores.
            seen: Tokens the window has had, where it has other ones than the mixer. None: `state.seen`.
        """
        k_BKSD, v_BKSD = self.extend(k_BKLD, v_BKLD, state, seen=seen)
        return _attended(self.plan(q_BHLD, k_BKSD.shape[2]), q_BHLD, k_BKSD, v_BKSD, scale)

    def extend(
        self, k_BKLD: Tensor, v_BKLD: Tensor, state: MixerState, *, seen: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Keys and values at hand, the new ones last; the state moves on."""
        seen = state.seen[0] if seen is None else seen
        k_BKSD = torch.cat([*self._remembered(state, "k", seen), k_BKLD], dim=2)
        v_BKSD = torch.cat([*self._remembered(state, "v", seen), v_BKLD], dim=2)
        self._move_on(state, "k", k_BKLD, seen)
        self._move_on(state, "v", v_BKLD, seen)
        return k_BKSD, v_BKSD

    def plan(self, q_BHLD: Tensor, kv_len: int) -> Plan:
        """Pairs of the new queries and the keys at hand, which are the sinks, the window and the new ones.

        What was forgotten lay between sinks and window, and no window reaches it, so places count as if it had never
        been.
        """
        batch, heads, q_len, _ = q_BHLD.shape
        extent = Extent(batch=batch, heads=heads, q_len=q_len, kv_len=kv_len, causal=True, device=q_BHLD.device)
        if kv_len <= self.size:
            return Dense(extent=extent)
        return Band(extent=extent, window=self.size, sinks=self.sinks)

    def _remembered(self, state: MixerState, what: str, seen: int) -> list[Tensor]:
        """Sinks and window as far as they are filled."""
        window = state.tensors[f"window_{what}"]
        count = min(max(seen - self.sinks, 0), self.size - 1)
        parts = [window[:, :, window.shape[2] - count :]]
        return [state.tensors[f"sink_{what}"][:, :, :seen], *parts] if self.sinks else parts

    def _move_on(self, state: MixerState, what: str, new_BKLD: Tensor, seen: int) -> None:
        """The first of the new tokens become sinks as long as there is room, the last of the others the window."""
        room = min(max(self.sinks - seen, 0), new_BKLD.shape[2])
        if room:
            sink = state.tensors[f"sink_{what}"]
            state.tensors[f"sink_{what}"] = torch.cat(
                [sink[:, :, :seen], new_BKLD[:, :, :room].to(sink.dtype), sink[:, :, seen + room :]], dim=2
            )
        window = state.tensors[f"window_{what}"]
        state.tensors[f"window_{what}"] = last_of(window, new_BKLD[:, :, room:], dim=2)

    def flops(self, length: int, heads: int, head_dim: int) -> int:
        """Multiplications and additions of scores and sums for a stream of `length` tokens from its start."""
        extent = Extent(batch=1, heads=heads, q_len=length, kv_len=length, causal=True, device=torch.device("cpu"))
        return 4 * head_dim * Band(extent=extent, window=self.size, sinks=self.sinks).kept_pairs()


@dataclass(frozen=True, kw_only=True)
class Everything:
    """Attention over the whole stream, in the form of `Window`: the state grows by a key and a value per token."""

    size: None = None
    sinks: int = 0

    def initial(
        self, batch: int, kv_heads: int, head_dim: int, *, device: torch.device | str, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Tensors for `MixerState.tensors`, (B, K, 0, D)."""
        return {
            name: torch.zeros(batch, kv_heads, 0, head_dim, device=device, dtype=dtype) for name in ("keys", "values")
        }

    @property
    def growing(self) -> frozenset[str]:
        """For `MixerState.growing`."""
        return frozenset({"keys", "values"})

    def filled(self, seen: int) -> int:
        """Keys that the state holds after `seen` tokens; rows with equal counts run together."""
        return seen

    def attend(self, q_BHLD: Tensor, k_BKLD: Tensor, v_BKLD: Tensor, *, state: MixerState, scale: float) -> Tensor:
        """As `Window.attend`."""
        k_BKSD, v_BKSD = self.extend(k_BKLD, v_BKLD, state)
        return _attended(self.plan(q_BHLD, k_BKSD.shape[2]), q_BHLD, k_BKSD, v_BKSD, scale)

    def extend(self, k_BKLD: Tensor, v_BKLD: Tensor, state: MixerState) -> tuple[Tensor, Tensor]:
        """Keys and values at hand, the new ones last; the state moves on."""
        for name, new_BKLD in (("keys", k_BKLD), ("values", v_BKLD)):
            state.tensors[name] = torch.cat([state.tensors[name], new_BKLD.to(state.tensors[name].dtype)], dim=2)
        return state.tensors["keys"].to(k_BKLD.dtype), state.tensors["values"].to(v_BKLD.dtype)

    def plan(self, q_BHLD: Tensor, kv_len: int) -> Plan:
        """All pairs that causality allows."""
        batch, heads, q_len, _ = q_BHLD.shape
        return Dense(
            extent=Extent(batch=batch, heads=heads, q_len=q_len, kv_len=kv_len, causal=True, device=q_BHLD.device)
        )

    def flops(self, length: int, heads: int, head_dim: int) -> int:
        """Multiplications and additions of scores and sums for a stream of `length` tokens from its start."""
        return 4 * head_dim * heads * (length * (length + 1) // 2)


def _attended(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, scale: float) -> Tensor:
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (q_BHLD, k_BKSD, v_BKSD))
    return executors.attend(plan, q_BHLD, k_BKSD, v_BKSD, scale=scale, training=training)


class CausalConv(nn.Module):
    """Depthwise causal convolution over time; its state is the last J - 1 inputs."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, taps))
        """(C, J); the last tap is the token's own."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def initial(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """(B, C, J - 1) zeros: nothing came before."""
        channels, taps = self.weight.shape
        return torch.zeros(batch, channels, taps - 1, device=device, dtype=dtype)

    def forward(self, x_BLC: Tensor, past_BCJ: Tensor) -> tuple[Tensor, Tensor]:
        """y_BLC, and the past after these tokens."""
        joined_BCL = torch.cat([past_BCJ.to(x_BLC.dtype), x_BLC.transpose(1, 2)], dim=2)
        y_BCL = conv1d(joined_BCL, self.weight[:, None], groups=self.weight.shape[0])
        return y_BCL.transpose(1, 2), last_of(past_BCJ, x_BLC.transpose(1, 2), dim=2)


def last_of(past: Tensor, new: Tensor, *, dim: int) -> Tensor:
    """The last entries along `dim` of `past` followed by `new`, as many as `past` has; holds on to nothing else."""
    extent, count = past.shape[dim], new.shape[dim]
    if count >= extent:
        return new.narrow(dim, count - extent, extent).to(past.dtype).clone(memory_format=torch.contiguous_format)
    return torch.cat([past.narrow(dim, count, extent - count), new.to(past.dtype)], dim=dim)
