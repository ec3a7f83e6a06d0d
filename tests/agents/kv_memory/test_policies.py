"""What layers keep and read: the published equations of Cambrian-S against a direct transcription; ReKV; windows."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from allocentric.agents.kv_memory import kv_retrieval, sink_window, surprise
from allocentric.agents.kv_memory.contract import BLOCK_BYTES, KVBlock, Layout

HEADS, KEY_HEADS, WIDTH, SIDE = 4, 2, 8, 6
TOKENS = SIDE * (SIDE + 1)  # a row of the published grid ends with a token of its own
TOKEN_BYTES = 2 * KEY_HEADS * WIDTH * 8
SYSTEM = 5


def block(generator: Any, score: float, time_s: float | None, tokens: int = TOKENS) -> KVBlock:
    keys, values = torch.randn(2, KEY_HEADS, tokens, WIDTH, generator=generator, dtype=torch.float64)
    layout = Layout(rows=SIDE, columns=SIDE + 1) if time_s is not None else Layout(before=tokens)
    times = () if time_s is None else (time_s,)
    return KVBlock(keys_KTD=keys, values_KTD=values, layout=layout, surprise=score, times_s=times)


class Published:
    """The loop of cambrians_vsr.py for one layer: lists of tensors in parallel, the text first."""

    def __init__(self, window: int, threshold: float, method: str, top_k: int, budget: int) -> None:
        self.window, self.threshold, self.method, self.top_k, self.budget = window, threshold, method, top_k, budget
        self.runtime: list[list[Any]] = []
        self.memory: list[list[Any]] = []

    def begin(self, k: Any, v: Any) -> None:
        self.runtime = [[k, v, 1.0]]
        self.memory = [[k, v, 1.0]]

    def frame(self, k: Any, v: Any, score: float) -> None:
        self.runtime.append([k, v, score])
        if len(self.runtime) > self.window + 1:
            self.leave(self.runtime.pop(1))

    def leave(self, entry: list[Any]) -> None:
        k, v, score = entry
        if score < self.threshold:
            k, v = self.small(k), self.small(v)
        self.memory.append([k, v, score])
        if self.used() > self.budget:
            self.consolidate()

    def used(self) -> int:
        return sum(entry[0].shape[1] for entry in self.memory)

    def small(self, x: Any) -> Any:
        grid = x.reshape(KEY_HEADS, SIDE, SIDE + 1, WIDTH)
        rows = [
            grid[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((1, 2))
            for r in range(SIDE // 2)
            for c in range((SIDE + 1) // 2)
        ]
        return torch.stack(rows, dim=1)

    def merge(self, at: int) -> None:
        first, second = self.memory[at], self.memory[at + 1]
        self.memory[at : at + 2] = [[(a + b) / 2 for a, b in zip(first, second, strict=True)]]

    def both(self, at: int) -> bool:
        return self.memory[at][2] >= self.threshold and self.memory[at + 1][2] >= self.threshold

    def consolidate(self) -> None:
        if self.method == "drop_merge":
            at = 1
            while at < len(self.memory) - 1:
                if self.both(at):
                    self.merge(at)
                else:
                    at += 1
        while True:
            scores = [entry[2] for entry in self.memory[1:]]
            at = scores.index(min(scores))
            self.memory.pop(at + 1)
            if self.method == "drop_merge" and 0 < at < len(self.memory) - 1 and self.both(at):
                self.merge(at)
            if self.used() < self.budget or len(self.memory) == 1:
                break

    def ask(self, query: Any) -> list[list[Any]]:
        """What the question reads of a copy, after the window has moved."""
        kept = [list(entry) for entry in self.memory]
        for entry in self.runtime[1:]:
            self.leave(list(entry))
        after, self.memory = self.memory, kept
        frames = after[1:]
        asked = query.mean(1).flatten()
        scores = []
        for k, _, _ in frames:
            mean = k.repeat_interleave(HEADS // KEY_HEADS, 0).mean(1).flatten()
            scores.append(float(asked @ mean / (asked.norm() * mean.norm())))
        best = sorted(sorted(range(len(frames)), key=lambda i: -scores[i])[: self.top_k])
        return [frames[i] for i in best]


@pytest.mark.parametrize("method", ["drop", "drop_merge"])
@pytest.mark.parametrize("seed", range(6))
def test_surprise_is_the_published_loop(method: str, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    window, threshold, top_k, budget = 3, 0.5, 4, 6 * TOKENS
    published = Published(window, threshold, method, top_k, budget)
    settings = surprise.Settings(window=window, threshold=threshold, consolidation=method, top_k=top_k, budget_bytes=1)
    (layer,) = surprise.build(settings, 1).layers
    text = block(g, 1.0, None, SYSTEM)
    layer.system = text
    # limits in bytes hold what limits in tokens hold, as the records' bytes are taken out
    layer._limit = lambda store: _token_limit(store, budget)
    published.begin(text.keys_KTD, text.values_KTD)
    scores = torch.rand(60, generator=g).tolist()
    pooled = merged = 0
    for k, score in enumerate(scores):
        made = block(g, score, float(k))
        layer.add(made)
        published.frame(made.keys_KTD, made.values_KTD, score)
        _same(layer.runtime(), published.runtime[1:])
        _same(layer._store.memory, published.memory[1:])
        pooled += sum(one.layout.rows == SIDE // 2 for one in layer._store.memory)
        merged += sum(len(one.times_s) > 1 for one in layer._store.memory)
        if k % 7 == 6:
            query = torch.randn(HEADS, 9, WIDTH, generator=g, dtype=torch.float64)
            _same(layer.select(query), published.ask(query))
            _same(layer._store.memory, published.memory[1:])  # asking leaves no trace
    assert pooled > 0
    assert (merged > 0) == (method == "drop_merge")


def _token_limit(store: Any, budget: int) -> int:
    """The bytes a memory may have so that its tokens and the text's are within a budget."""
    records = len(store.memory) * BLOCK_BYTES
    return (budget - SYSTEM) * TOKEN_BYTES + records


def _same(found: list[KVBlock], wanted: list[list[Any]]) -> None:
    assert len(found) == len(wanted)
    for one, (keys, values, score) in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.keys_KTD, keys, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.values_KTD, values, rtol=1e-12, atol=1e-12)
        assert one.surprise == pytest.approx(score, abs=1e-12)
        assert one.layout.tokens == one.tokens


def test_retrieval_takes_the_highest_products_in_order_of_time() -> None:
    g = torch.Generator().manual_seed(0)
    (layer,) = kv_retrieval.build(kv_retrieval.Settings(top_k=3, window=2), 1).layers
    made = [block(g, 1.0, float(k)) for k in range(9)]
    for one in made:
        layer.add(one)
    assert [one.times_s[0] for one in layer.runtime()] == [7.0, 8.0]
    query = torch.randn(HEADS, 4, WIDTH, generator=g, dtype=torch.float64)
    products = []
    for one in made:
        total = 0.0
        for head in range(HEADS):
            total += float(query[head].mean(0) @ one.keys_KTD[head // (HEADS // KEY_HEADS)].mean(0))
        products.append(total)
    best = sorted(sorted(range(9), key=lambda k: -products[k])[:3])
    assert [one.times_s[0] for one in layer.select(query)] == [float(k) for k in best]


def test_windows_keep_the_last_seconds_and_words() -> None:
    g = torch.Generator().manual_seed(0)
    (layer,) = sink_window.build(sink_window.Settings(video_s=3.0, text_tokens=10), 1).layers
    for k in range(6):
        layer.add(block(g, 1.0, float(k)))
        layer.said(block(g, 1.0, None, 4))
    times = [one.times_s[0] for one in layer.blocks() if one.times_s]
    assert times == [3.0, 4.0, 5.0]
    assert sum(one.tokens for one in layer.blocks() if not one.times_s) == 8
    assert layer.blocks() == layer.runtime() == layer.select(torch.zeros(HEADS, 1, WIDTH))


def test_pooling_leaves_words_and_positions_shrink_with_the_picture() -> None:
    keys = torch.arange(2 * 18 * 3, dtype=torch.float64).reshape(2, 18, 3)
    layout = Layout(before=1, rows=4, columns=4, after=1)
    one = KVBlock(keys_KTD=keys, values_KTD=-keys, layout=layout, surprise=0.1, times_s=(0.0,))
    small = one.pooled()
    assert small.layout == Layout(before=1, rows=2, columns=2, after=1)
    assert torch.equal(small.keys_KTD[:, [0, -1]], keys[:, [0, -1]])
    torch.testing.assert_close(small.keys_KTD[:, 1], keys[:, [1, 2, 5, 6]].mean(1))
    assert small.layout.extent == 4
    assert small.layout.positions().tolist() == [[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    single = KVBlock(keys_KTD=keys[:, :3], values_KTD=keys[:, :3], layout=Layout(before=1, rows=1, columns=1, after=1))
    assert single.pooled() is single
