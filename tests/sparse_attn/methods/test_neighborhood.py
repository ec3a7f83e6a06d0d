"""Neighbourhood attention against loops over coordinates, as NATTEN defines windows."""

from __future__ import annotations

import pytest
import torch
from attention_loops import MIXED, Token, assert_lists_are_tight, assert_pairs, method_of, plan_of, sequence
from pydantic import ValidationError

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods.neighborhood import Settings


def window(at: int, size: int, kernel: int, stride: int, dilation: int, causal: bool) -> list[int]:
    """Coordinates that the query at `at` sees on an axis of `size`."""
    group = [i for i in range(size) if i % dilation == at % dilation]  # a dilation group is an axis of its own
    n, i = len(group), at // dilation
    kernel = min(kernel, n)
    queries = [j for j in range(n) if j // stride == i // stride]  # they share a window
    if causal:
        leader = min(queries[0] + stride - 1, n - 1)
        return [group[j] for j in range(n) if leader - kernel < j <= i]
    leader = min(queries[0] + stride // 2, n - 1)
    start = min(max(leader - kernel // 2, 0), n - kernel)
    return [group[j] for j in range(start, start + kernel)]


def rule_of(s: Settings, causal_call: bool):
    axes = len(s.kernel)

    def rule(q: Token, k: Token) -> bool:
        if causal_call and k.place > q.place:
            return False
        if q.text or k.text:
            return True
        if (q.clip, q.frame)[axes == 2] != (k.clip, k.frame)[axes == 2]:
            return s.others
        at = list(zip((q.t, q.y, q.x), (k.t, k.y, k.x), (q.frames, q.rows, q.cols), strict=True))[3 - axes :]
        stride, dilation, ends = s.stride or (1,) * axes, s.dilation or (1,) * axes, s.causal or (False,) * axes
        return all(b in window(a, n, s.kernel[i], stride[i], dilation[i], ends[i]) for i, (a, b, n) in enumerate(at))

    return rule


@pytest.mark.parametrize(
    "settings",
    [
        Settings(kernel=(3, 3, 3), block=8),
        Settings(kernel=(2, 4, 3), stride=(2, 3, 1), block=5),
        Settings(kernel=(2, 2, 2), dilation=(1, 2, 3), block=8),
        Settings(kernel=(3, 3, 3), stride=(1, 2, 3), dilation=(2, 1, 2), causal=(True, False, True), block=8),
        Settings(kernel=(5, 3), block=8),
        Settings(kernel=(3, 2), stride=(3, 2), dilation=(1, 2), causal=(False, True), others=True, block=8),
    ],
)
@pytest.mark.parametrize("causal", [True, False])
def test_windows_in_pictures(settings: Settings, causal: bool) -> None:
    method = method_of("neighborhood", settings)
    for pieces in MIXED:
        tokens, geometry = sequence(pieces)
        assert_pairs(plan_of(method, geometry, causal=causal), tokens, rule_of(settings, causal))


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "ends"), [(5, 1, 1, True), (4, 3, 1, False), (3, 2, 4, True)]
)
@pytest.mark.parametrize("causal", [True, False])
def test_windows_along_a_sequence(kernel: int, stride: int, dilation: int, ends: bool, causal: bool) -> None:
    settings = Settings(kernel=(kernel,), stride=(stride,), dilation=(dilation,), causal=(ends,), block=4)
    method = method_of("neighborhood", settings)
    assert not method.needs_geometry
    assert method.streams == (ends and stride == 1)
    length = 37
    tokens = [Token(i) for i in range(length)]

    def rule(q: Token, k: Token) -> bool:
        seen = k.place in window(q.place, length, kernel, stride, dilation, ends)
        return seen and (k.place <= q.place or not causal)

    plan = plan_of(method, Geometry.of_text(2, length), causal=causal)
    assert_pairs(plan, tokens, rule, row=1)


def test_a_causal_line_is_a_sliding_window() -> None:
    geometry = Geometry.of_text(1, 40)
    ours = plan_of(method_of("neighborhood", Settings(kernel=(6,), causal=(True,), block=4)), geometry, causal=True)
    band = plan_of(method_of("sliding_window", _window(6)), geometry, causal=True)
    assert ours.dense_mask().equal(band.dense_mask())


def _window(size: int):
    from allocentric.sparse_attn.methods.sliding_window import Settings as WindowSettings

    return WindowSettings(window=size, sinks=0)


def test_every_token_has_a_full_window_wherever_it_lies() -> None:
    """Windows shift at edges; the number of keys is the kernel's everywhere."""
    plan = plan_of(
        method_of("neighborhood", Settings(kernel=(3, 5, 4), block=16)), Geometry.of_video(1, 4, 7, 6), causal=False
    )
    assert (plan.dense_mask().sum(-1) == 3 * 5 * 4).all()


def test_lists_hold_no_block_in_vain() -> None:
    plan = plan_of(
        method_of("neighborhood", Settings(kernel=(1, 3, 3), block=8)), Geometry.of_video(1, 3, 8, 8), causal=False
    )
    assert_lists_are_tight(plan)
    assert torch.equal(plan.num_BHQ[0, 0, :8], torch.tensor([3, 3, 3, 3, 3, 3, 3, 3], dtype=torch.int32))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel": (3, 3), "stride": (1,)}, "stride has 1 axes and kernel 2"),
        ({"kernel": (3, 3), "stride": (1, 4)}, "stride lies between 1 and kernel"),
        ({"kernel": (3, 3, 3, 3)}, "one to three axes, got 4"),
        ({"kernel": (0,)}, "at least 1"),
    ],
)
def test_settings_that_make_no_window_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**values)
