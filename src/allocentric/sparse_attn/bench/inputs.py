"""What is attended to: a video of frames, and queries and keys with topics, so that a choice can be good or bad.

Every stretch of 64 tokens has one of 32 topics; queries and keys of one topic like each other by 4 on average before
the softmax, others by 0. Attention then has somewhere to go, unlike between independent random vectors, where the
recall of any method is its density.

Shapes: B batch, H query heads, K key-value heads, L tokens, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.geometry import Geometry

_STRETCH, _TOPICS, _LIKING = 64, 32, 4.0


def tensors(job: Job, length: int, dtype: str) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    g = torch.Generator().manual_seed(job.seed)
    topics_TD = torch.randn(_TOPICS, job.head_dim, generator=g)
    topic_of = torch.randint(_TOPICS, (-(-length // _STRETCH),), generator=g).repeat_interleave(_STRETCH)[:length]
    # |topic|^2 is D, so the score of one topic is share^2 sqrt(D).
    share = (_LIKING / job.head_dim**0.5) ** 0.5
    common_LD = topics_TD[topic_of] * share
    made = []
    for heads, lift in ((job.heads, common_LD), (job.kv_heads, common_LD), (job.kv_heads, None)):
        noise = torch.randn(job.batch, heads, length, job.head_dim, generator=g)
        made.append((noise if lift is None else noise + lift).to(job.device, DTYPES[dtype]))
    return made[0], made[1], made[2]


def geometry(job: Job, length: int) -> Geometry:
    """A video of the job's frames, cut at `length` tokens."""
    rows, cols = job.frame
    whole = Geometry.of_video(job.batch, -(-length // (rows * cols)), rows, cols)
    return whole[:length].to(job.device)
