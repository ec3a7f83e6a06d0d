"""What is attended to: a video of frames, and queries and keys with topics, so that a choice can be good or bad.

Every stretch of 64 tokens has one of 32 topics; queries and keys of one topic like each other by 4 on average before
the softmax, others by 0. Attention then has somewhere to go, unlike between independent random vectors, where the
recall of any method is its density.

Shapes: L tokens, T topics, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from allocentric.sparse_attn.bench.job import DTYPES, Job
from allocentric.sparse_attn.geometry import Geometry

_STRETCH, _TOPICS, _LIKING = 64, 32, 4.0


def tensors(job: Job, length: int, dtype: str) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    g = torch.Generator(device=job.device).manual_seed(job.seed)
    topic_L, vectors_TD = topics(job, length, g)
    # |topic|^2 is D, so the score of one topic is share^2 sqrt(D).
    common_LD = vectors_TD[topic_L] * (_LIKING / job.head_dim**0.5) ** 0.5

    def random(heads: int) -> Tensor:
        return torch.randn(job.batch, heads, length, job.head_dim, generator=g, device=job.device)

    q, k, v = random(job.heads) + common_LD, random(job.kv_heads) + common_LD, random(job.kv_heads)
    return q.to(DTYPES[dtype]), k.to(DTYPES[dtype]), v.to(DTYPES[dtype])


def topics(job: Job, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The topic of every token, and the vectors of the topics."""
    stretches = -(-length // _STRETCH)
    topic_L = torch.randint(_TOPICS, (stretches,), generator=generator, device=job.device).repeat_interleave(_STRETCH)
    vectors_TD = torch.randn(_TOPICS, job.head_dim, generator=generator, device=job.device)
    return topic_L[:length], vectors_TD


def geometry(job: Job, length: int) -> Geometry:
    """A video of the job's frames, cut at `length` tokens."""
    rows, cols = job.frame
    whole = Geometry.of_video(job.batch, -(-length // (rows * cols)), rows, cols)
    return whole[:length].to(job.device)
