"""MoH: every token uses the shared heads and the few routed heads it chooses; the others aren't computed for it.

Jin et al., Mixture-of-Head attention, arXiv 2410.11842; SkyworkAI/MoH@66bb340. With router "linear" (its ViT and DiT)
a routed head's output is weighted by its share among the chosen heads' softmax times their number, a shared head's by
its softmax among the shared ones times their number, and both groups by a softmax of two, times two; so all weights
are 1 where the router's are 0. With router "query_norm" (its LLaMA3) the heads with the longest queries are chosen,
with weight 1 and no parameters of their own. Keys and values are kept for all heads.

Shapes: B batch, L queries, S keys, E model width, H query heads, K key-value heads, R routed heads, D head width,
M tokens that chose a head.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn import executors
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._projections import Projections
from allocentric.sparse_attn.mixers._window import Everything, Window

_QUERIES_AT_ONCE = 512
"""Tokens of one head whose mask is spelled out together; keys after the last of them are left out."""


class Settings(config.Settings):
    """Heads, and who chooses them. The published LLaMA3 has half of its heads shared and uses half of the others."""

    shared: int | None = Field(default=None, ge=0)
    """First heads, which every token uses. None: half of the layer's."""
    top_k: int | None = Field(default=None, ge=1)
    """Routed heads that a token uses. None: half of those that aren't shared."""
    router: Literal["linear", "query_norm"] = "linear"
    """A learned projection of the token, or the length of its query in every head."""
    window: int | None = Field(default=None, ge=1)
    """Keys that a query sees, its own included; the state then stops growing. None: all."""


EXAMPLE = Settings(shared=1, top_k=2)
VARIANTS = (Settings(shared=2, top_k=1, window=16), Settings(shared=0, top_k=2, router="query_norm"))


class MixtureOfHeads(Mixer):
    """One layer."""

    name = "moh"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings, self.dims = settings, dims
        self.shared = dims.heads // 2 if settings.shared is None else settings.shared
        self.routed = dims.heads - self.shared
        self.top_k = settings.top_k or max(1, self.routed // 2)
        if not 0 < self.top_k <= self.routed:
            raise SettingsError(
                f"moh: {dims.heads} heads of which {self.shared} are shared leave {self.routed} to route, so "
                f"top_k={self.top_k} can't be chosen"
            )
        if settings.router == "query_norm" and dims.qk_norm:
            raise SettingsError(
                "moh: router 'query_norm' tells heads apart by the length of queries, and this layer's are normed; "
                "use router 'linear'"
            )
        self.attention = Projections(dims)
        if settings.router == "linear":
            self.route = nn.Linear(dims.width, self.routed, bias=False)
            if self.shared > 1:
                self.weigh_shared = nn.Linear(dims.width, self.shared, bias=False)
            if self.shared > 0:
                self.weigh_groups = nn.Linear(dims.width, 2, bias=False)
        self.memory = Everything() if settings.window is None else Window(size=settings.window)
        self.growth = "linear" if settings.window is None else "constant"

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """No keys."""
        tensors = self.memory.initial(batch, self.dims.kv_heads, self.dims.head_dim, device=device, dtype=dtype)
        return MixerState(tensors=tensors, seen=[0] * batch, growing=self.memory.growing)

    def phase(self, seen: int) -> int:
        """How many keys there are."""
        return self.memory.filled(seen)

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """Shared heads for all tokens, each routed head for those that chose it."""
        q_BHLD, k_BKLD, v_BKLD, gate_BLC = self.attention(x_BLE, rope)
        weights_BLH, chosen_BLR = self.choose(x_BLE, q_BHLD)
        k_BKSD, v_BKSD = self.memory.extend(k_BKLD, v_BKLD, state)
        routed = self._routed_heads(q_BHLD[:, self.shared :], k_BKSD, v_BKSD, chosen_BLR)
        heads = torch.cat([self._shared_heads(q_BHLD[:, : self.shared], k_BKSD, v_BKSD), routed], dim=1)
        return self.attention.out(heads * weights_BLH.transpose(1, 2)[..., None], gate_BLC)

    def choose(self, x_BLE: Tensor, q_BHLD: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of all heads, (B, L, H), 0 where a head isn't used, and the routed heads used, (B, L, R) bool."""
        if self.settings.router == "query_norm":
            length_BLR = q_BHLD[:, self.shared :].norm(dim=-1).transpose(1, 2)
            chosen_BLR = _largest(length_BLR, self.top_k)
            shared = x_BLE.new_ones(*x_BLE.shape[:2], self.shared)
            return torch.cat([shared, chosen_BLR.to(x_BLE.dtype)], dim=-1), chosen_BLR
        gates_BLR = torch.softmax(self.route(x_BLE), dim=-1)
        chosen_BLR = _largest(gates_BLR, self.top_k)
        kept = gates_BLR * chosen_BLR
        routed = kept / kept.sum(-1, keepdim=True) * self.top_k
        if not self.shared:
            return routed, chosen_BLR
        if self.shared > 1:
            shared = torch.softmax(self.weigh_shared(x_BLE), dim=-1) * self.shared
        else:
            shared = torch.ones_like(routed[..., :1])
        groups = torch.softmax(self.weigh_groups(x_BLE), dim=-1) * 2
        return torch.cat([shared * groups[..., :1], routed * groups[..., 1:]], dim=-1), chosen_BLR

    def balance_loss(self, x_BLE: Tensor) -> Tensor:
        """To be added to a training loss: 1 where all routed heads are used alike, more where some are preferred.

        The sum over routed heads of the share of tokens that choose a head times its mean probability, times their
        number, as section 3.2 of the paper has it, over `top_k`.
        """
        if self.settings.router != "linear":
            raise SettingsError("moh: router 'query_norm' has no probabilities to balance; use router 'linear'")
        gates_BLR = torch.softmax(self.route(x_BLE), dim=-1)
        share_R = _largest(gates_BLR, self.top_k).to(gates_BLR.dtype).mean((0, 1))
        return (share_R * gates_BLR.mean((0, 1))).sum() * self.routed / self.top_k

    def _shared_heads(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor) -> Tensor:
        if not self.shared:
            return q_BHLD
        own = torch.arange(self.shared, device=q_BHLD.device) // (self.dims.heads // self.dims.kv_heads)
        plan = self.memory.plan(q_BHLD, k_BKSD.shape[2])
        training = torch.is_grad_enabled() and any(t.requires_grad for t in (q_BHLD, k_BKSD, v_BKSD))
        scale = self.dims.head_dim**-0.5
        return executors.attend(plan, q_BHLD, k_BKSD[:, own], v_BKSD[:, own], scale=scale, training=training)

    def _routed_heads(self, q_BRLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, chosen_BLR: Tensor) -> Tensor:
        """(B, R, L, D), 0 where a token didn't choose a head; only chosen pairs of token and head are computed."""
        batch, routed, length, width = q_BRLD.shape
        groups = self.dims.heads // self.dims.kv_heads
        outputs, places = [], []
        for row in range(batch):
            for head in range(routed):
                place_M = torch.nonzero(chosen_BLR[row, :, head]).flatten()
                if not len(place_M):
                    continue
                own = (self.shared + head) // groups
                q_MD = q_BRLD[row, head, place_M]
                outputs.append(self._few_queries(q_MD, k_BKSD[row, own], v_BKSD[row, own], place_M, length))
                places.append(place_M + (row * routed + head) * length)
        flat = q_BRLD.new_zeros(batch * routed * length, width)
        return flat.index_copy(0, torch.cat(places), torch.cat(outputs)).view(batch, routed, length, width)

    def _few_queries(self, q_MD: Tensor, k_SD: Tensor, v_SD: Tensor, place_M: Tensor, length: int) -> Tensor:
        """(M, D): attention of one head's queries, which stand at `place_M` of the last `length` keys."""
        position_M = place_M + (k_SD.shape[0] - length)
        outputs = []
        for q, position in zip(q_MD.split(_QUERIES_AT_ONCE), position_M.split(_QUERIES_AT_ONCE), strict=True):
            window = k_SD.shape[0] if self.settings.window is None else self.settings.window
            first, last = max(0, int(position[0]) - window + 1), int(position[-1])
            distance = position[:, None] - torch.arange(first, last + 1, device=q.device)
            seen = (distance >= 0) & (distance < window)
            k, v = k_SD[None, first : last + 1], v_SD[None, first : last + 1]
            scale = self.dims.head_dim**-0.5
            outputs.append(scaled_dot_product_attention(q[None], k, v, attn_mask=seen[None], scale=scale)[0])
        return torch.cat(outputs)

    def cost(self, length: int) -> Cost:
        """Projections, and scores and sums of the heads that tokens use: how many is known, whichever they are."""
        d = self.dims
        used = self.shared + self.top_k
        linear = [m for m in self.children() if isinstance(m, nn.Linear)]
        products = self.attention.flops(length) + self.memory.flops(length, used, d.head_dim)
        products += 2 * length * sum(m.in_features * m.out_features for m in linear)
        state = self.initial_state(1, device="cpu", dtype=self.attention.o_proj.weight.dtype)
        per_token = 2 * d.kv_heads * d.head_dim * self.attention.o_proj.weight.element_size()
        grown = length * per_token if self.growth == "linear" else 0
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()) + grown)

    @torch.no_grad()
    def adopt(self, attention: nn.Module) -> None:
        """All weights of an attention layer; the router begins at 0, where every head used has weight 1."""
        self.attention.adopt(attention)
        for module in self.children():
            if isinstance(module, nn.Linear):
                module.weight.zero_()


def _largest(x_BLR: Tensor, count: int) -> Tensor:
    """bool: the `count` largest of the last axis."""
    index = x_BLR.topk(count, dim=-1).indices
    return torch.zeros_like(x_BLR, dtype=torch.bool).scatter(-1, index, value=True)


def build(settings: Settings, dims: Dims) -> MixtureOfHeads:
    """A freshly initialised layer."""
    return MixtureOfHeads(settings, dims)
