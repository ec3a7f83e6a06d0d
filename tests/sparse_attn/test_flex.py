"""flex_attention: lists built from plans mean what the plans mean; the compiled kernel equals the oracle."""

from __future__ import annotations

import pytest
import torch
from attention_block_plans import plans, tensors
from attention_samples import DIMS, call_of, mixed_geometry, modes, video_geometry
from attention_samples import tensors as sample_tensors

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn import executors
from allocentric.sparse_attn.errors import ExecutorError
from allocentric.sparse_attn.executors import dense, flex
from allocentric.sparse_attn.executors._lists import lists_of
from allocentric.sparse_attn.plan import Band, Blocks, Dense, Extent, Gather, Plan, indices


def listed(num: torch.Tensor, index: torch.Tensor, key_blocks: int) -> torch.Tensor:
    """(B, H, Q, key blocks) bool."""
    width = torch.arange(index.shape[-1])
    out = torch.zeros(*index.shape[:3], key_blocks + 1, dtype=torch.bool)
    return out.scatter(3, torch.where(width < num[..., None], index.long(), key_blocks), True)[..., :key_blocks]


def pairs(blocks: torch.Tensor, q_block: int, k_block: int, e: Extent) -> torch.Tensor:
    """Blocks spelled out as pairs of tokens."""
    wide = blocks.repeat_interleave(q_block, 2)[:, :, : e.q_len].repeat_interleave(k_block, 3)[..., : e.kv_len]
    return wide.expand(e.batch, e.heads, -1, -1)


def in_plan_order(plan: Plan, mask: torch.Tensor) -> torch.Tensor:
    """The dense mask with rows and columns where the plan's blocks have them."""
    if isinstance(plan, Blocks):
        if plan.q_order_BHL is not None:
            order = plan.q_order_BHL.expand(*mask.shape[:2], -1)[..., None].expand_as(mask)
            mask = torch.gather(mask, 2, order)
        if plan.k_order_BHS is not None:
            order = plan.k_order_BHS.expand(*mask.shape[:2], -1)[:, :, None].expand_as(mask)
            mask = torch.gather(mask, 3, order)
    return mask


def assert_means_the_same(plan: Plan) -> None:
    """What flex would compute, full blocks unchecked and others under the mask function, is the plan's mask."""
    e = plan.extent
    block_mask = flex.prepare(plan, torch.zeros(1, 1, 1, 16), training=True)
    q_block, k_block = block_mask.BLOCK_SIZE
    count = -(-e.kv_len // k_block)
    full = pairs(listed(block_mask.full_kv_num_blocks, block_mask.full_kv_indices, count), q_block, k_block, e)
    partial = pairs(listed(block_mask.kv_num_blocks, block_mask.kv_indices, count), q_block, k_block, e)
    assert not (full & partial).any()
    b, h, _, k = indices(e, slice(0, e.q_len))
    checked = block_mask.mask_mod(b, h, torch.arange(e.q_len).view(1, 1, -1, 1), k)
    wanted = in_plan_order(plan, plan.dense_mask())
    assert torch.equal(full | (partial & checked), wanted)
    # The backward pass walks the same blocks turned round.
    turned = listed(block_mask.q_num_blocks, block_mask.q_indices, block_mask.kv_num_blocks.shape[-1])
    assert torch.equal(pairs(turned.transpose(2, 3), q_block, k_block, e), partial)


@pytest.mark.parametrize("name", plans())
def test_lists_and_mask_function_mean_what_the_plan_means(name: str) -> None:
    assert_means_the_same(plans()[name])


@pytest.mark.parametrize("name", METHODS.names())
def test_lists_of_every_method(name: str) -> None:
    module = METHODS.load(name)
    method = module.build(module.EXAMPLE, DIMS).double()
    for causal in modes(method):
        geometry = mixed_geometry() if causal else video_geometry()
        q, k, v = sample_tensors(1, geometry.length)
        with torch.no_grad():
            plan = method.plan(q, k, v, call_of(geometry, causal=causal))
        if not isinstance(plan, Gather):
            assert_means_the_same(plan)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("length", "kv_len"), [(200, 200), (64, 201), (130, 70)])
@pytest.mark.parametrize(("window", "sinks"), [(1, 0), (17, 3), (64, 40), (500, 0), (33, 150)])
def test_lists_of_windows_are_the_blocks_that_a_search_finds(
    causal: bool, length: int, kv_len: int, window: int, sinks: int
) -> None:
    if causal and length > kv_len:
        pytest.skip("a causal call has its queries among its keys")
    e = Extent(batch=1, heads=1, q_len=length, kv_len=kv_len, causal=causal, device=torch.device("cpu"))
    plan = Band(extent=e, window=window, sinks=sinks)
    lists = lists_of(plan, q_block=32, k_block=16)
    count = -(-kv_len // 16)
    found = listed(lists.num_BHQ, lists.index_BHQN, count)
    mask = torch.nn.functional.pad(plan.dense_mask(), (0, -kv_len % 16, 0, -length % 32))
    tiles = mask.unflatten(2, (-1, 32)).unflatten(4, (-1, 16))
    assert torch.equal(found, tiles.any(5).any(3))
    full = listed(lists.full_BHQ, lists.index_BHQN, count)
    beyond = torch.arange(length + -length % 32).view(1, 1, -1, 32, 1, 1) >= length
    assert torch.equal(full, (tiles | beyond).all(5).all(3))


def test_lists_of_a_long_window_look_at_no_pairs() -> None:
    e = Extent(batch=1, heads=8, q_len=1 << 20, kv_len=1 << 20, causal=True, device=torch.device("cpu"))
    lists = lists_of(Band(extent=e, window=4096, sinks=4))
    assert lists.index_BHQN.shape == (1, 1, 8192, 34)
    # A window of 32 blocks reaches into 33, of which the first and the last are cut; sinks are one block more.
    assert int(lists.num_BHQ[0, 0, -1]) == 34
    assert int(lists.full_BHQ[0, 0, -1]) == 31


def test_what_it_cannot_run_is_refused_with_one_that_can() -> None:
    e = Extent(batch=1, heads=2, q_len=64, kv_len=64, causal=True, device=torch.device("cpu"))
    q, k, v = torch.zeros(1, 2, 64, 16, requires_grad=True), torch.zeros(1, 2, 64, 16), torch.zeros(1, 2, 64, 16)
    band = Band(extent=e, window=8)
    with pytest.raises(ExecutorError, match=r"no backward on the CPU; 'band' would"):
        executors.attend(band, q, k, v, scale=1.0, executor="flex", training=True)
    gather = Gather(extent=e, index_BHLN=torch.zeros(1, 1, 64, 1, dtype=torch.int64))
    with pytest.raises(ExecutorError, match=r"single keys; 'gather' would"):
        executors.attend(gather, q, k, v, scale=1.0, executor="flex")
    with pytest.raises(ExecutorError, match=r"not float64; 'band' would"):
        executors.attend(band, q.double(), k.double(), v.double(), scale=1.0, executor="flex")
    with pytest.raises(ExecutorError, match=r"head width of 16 or more, got 8; 'band' would"):
        executors.attend(band, q[..., :8], k[..., :8], v[..., :8], scale=1.0, executor="flex")


COMPILED = {
    "window with sinks": torch.float32,
    "window of a later chunk": torch.bfloat16,
    "one query": torch.float32,
    "causal blocks, some queries see nothing": torch.float32,
    "chosen by every query": torch.float16,
    "permuted per head": torch.float32,
    "permuted alike, with a rule": torch.float32,
}
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_forward_equals_the_oracle(name: str) -> None:
    plan = plans()[name]
    dtype = COMPILED[name]
    q, k, v, _ = tensors(plan, width=32, dtype=dtype)
    with torch.no_grad():
        out = executors.attend(plan, q, k, v, scale=0.2, executor="flex")
    wanted = dense.attend(plan, q.double(), k.double(), v.double(), scale=0.2)
    assert float((out.double() - wanted).abs().max() / wanted.abs().max()) <= TOLERANCE[dtype]


@pytest.mark.slow
def test_compiled_change_of_scores() -> None:
    e = Extent(batch=2, heads=2, q_len=40, kv_len=75, causal=True, device=torch.device("cpu"))
    bias_BHS = torch.randn(2, 2, 75, generator=torch.Generator().manual_seed(0))
    plan = Dense(extent=e, score=lambda s, b, h, q, k: s + bias_BHS[b, h, k] - 0.05 * (q - k))
    q, k, v, _ = tensors(plan, width=16)
    with torch.no_grad():
        out = executors.attend(plan, q, k, v, scale=0.25, executor="flex")
    wanted = dense.attend(plan, q.double(), k.double(), v.double(), scale=0.25)
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=2e-6)
