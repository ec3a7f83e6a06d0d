"""Methods that choose by the queries of a call also serve calls that continue a stream: chunks and single steps."""

from __future__ import annotations

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.core.catalog import METHODS
from allocentric.sparse_attn import executors
from allocentric.sparse_attn.executors import dense

SCALE = HEAD_DIM**-0.5


@pytest.mark.parametrize("q_len", [1, 33])
@pytest.mark.parametrize("name", ["anchor", "dma", "landmark", "minference", "mminference", "moba", "seer"])
def test_executors_equal_the_oracle_and_no_query_sees_nothing(name: str, q_len: int) -> None:
    module = METHODS.load(name)
    torch.manual_seed(0)
    method = module.build(module.EXAMPLE, DIMS).double()
    geometry = mixed_geometry(2)
    q, k, v = tensors(2, geometry.length, q_len=q_len)
    plan = method.plan(q, k, v, call_of(geometry, causal=True, q_len=q_len))
    mask = plan.dense_mask()
    assert mask.any(-1).all(), "a query sees nothing"
    place = torch.arange(q_len)
    if name not in ("dma", "landmark", "minference"):
        assert mask[:, :, place, place + geometry.length - q_len].all()
    wanted = dense.attend(plan, q, k, v, scale=SCALE)
    for executor in executors.able(plan, q, training=False):
        out = executors.attend(plan, q, k, v, scale=SCALE, executor=executor)
        torch.testing.assert_close(out, wanted, msg=lambda m, e=executor: f"{e}: {m}")
