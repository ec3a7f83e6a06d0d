"""Windows on stretches equal the fp64 oracle, however queries, keys, window and sinks lie."""

from __future__ import annotations

import pytest
import torch

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.executors import band
from allocentric.sparse_attn.plan import Band, Extent

HEADS, WIDTH = 4, 4


def plan_and_tensors(
    *, q_len: int, kv_len: int, causal: bool, window: int, sinks: int, kv_heads: int
) -> tuple[Band, list[torch.Tensor]]:
    g = torch.Generator().manual_seed(q_len * 1000 + kv_len)
    extent = Extent(batch=2, heads=HEADS, q_len=q_len, kv_len=kv_len, causal=causal, device=torch.device("cpu"))
    shapes = [(2, HEADS, q_len, WIDTH), (2, kv_heads, kv_len, WIDTH), (2, kv_heads, kv_len, WIDTH)]
    made = [torch.randn(shape, generator=g, dtype=torch.double).requires_grad_() for shape in shapes]
    return Band(extent=extent, window=window, sinks=sinks), made


@pytest.mark.parametrize("seed", range(30))
def test_bands_of_any_extent_equal_the_oracle_with_every_gradient(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)

    def pick(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=g))]

    causal, kv_len = bool(pick(0, 1)), pick(1, 5, 64, 65, 129, 200, 333)
    q_len = min(pick(1, 2, 63, 64, 128, 190, 400), kv_len if causal else 400)
    plan, tensors = plan_and_tensors(
        q_len=q_len,
        kv_len=kv_len,
        causal=causal,
        window=pick(1, 2, 7, 64, 100, 130, 300, 600),
        sinks=pick(0, 0, 1, 5, 70, 500),
        kv_heads=pick(1, 2, 4),
    )
    out, wanted = (executors.attend(plan, *tensors, scale=0.5, executor=name) for name in ("band", "dense"))
    torch.testing.assert_close(out, wanted)
    sent = torch.randn(out.shape, generator=g, dtype=torch.double)
    found, right = (torch.autograd.grad(y, tensors, sent) for y in (out, wanted))
    for what, ours, theirs in zip("qkv", found, right, strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda m, w=what: f"d{w}: {m}")


def test_a_chunk_size_is_a_matter_of_speed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, tensors = plan_and_tensors(q_len=150, kv_len=170, causal=True, window=40, sinks=3, kv_heads=2)
    outputs = []
    for chunk in (1, 16, 33, 512):
        monkeypatch.setattr(band, "SMALLEST_CHUNK", chunk)
        monkeypatch.setattr(band, "LARGEST_CHUNK", chunk)
        outputs.append(executors.attend(plan, *tensors, scale=0.5, executor="band"))
    for out in outputs[1:]:
        torch.testing.assert_close(out, outputs[0])


def test_chunks_that_lie_alike_share_their_mask() -> None:
    """Masks cost memory and time for the ends of a sequence, not for its length."""
    counts = []
    for length in (1024, 4096):
        extent = Extent(batch=1, heads=1, q_len=length, kv_len=length, causal=True, device=torch.device("cpu"))
        masks = band._Masks(Band(extent=extent, window=128, sinks=4), 1)
        keys = band._Stretches.of(masks.plan, torch.zeros(1, 1, length, 1), 64)
        for start in range(0, length, 64):
            begin, k = keys.between(*band._reach(masks.plan, start, start + 64))
            masks.of(start, start + 64, begin, k.shape[2])
        counts.append(len(masks.made))
    assert counts[0] == counts[1] <= 4
