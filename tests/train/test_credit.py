"""Attention-guided credit: measures and weights of hand-made attention against loops, and a step of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allocentric.core.errors import SettingsError
from allocentric.core.runlog import read_samples
from allocentric.train import credit
from allocentric.train.credit import CreditSettings, Measures

HAND = CreditSettings(window=3, horizon=(1, 2), share=0.34, heads=0.5, factor=2.0, reach=2)


def causal(heads: int, tokens: int, length: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    attention = rng.random((heads, tokens, length))
    for t in range(tokens):
        attention[:, t, length - tokens + t + 1 :] = 0
    return attention / attention.sum(-1, keepdims=True)


def test_the_measures_are_those_of_a_loop() -> None:
    heads, tokens, length = 3, 7, 11
    attention = causal(heads, tokens, length)
    settings = CreditSettings(window=4, horizon=(2, 4))
    got = credit.measured(torch.tensor(attention), torch.arange(length - tokens, length), settings)
    for h in range(heads):
        distances = []
        for t in range(tokens):
            at = length - tokens + t
            distances.append(sum(attention[h, t, s] * (at - s) for s in range(at + 1)))
            near = sum(attention[h, t, s] * min(at - s, 4) for s in range(at + 1))
            assert got.waad_HT[h, t].item() == pytest.approx(near, rel=1e-5)
            later = [attention[h, u, at] for u in range(tokens) if 2 <= u - t <= 4]
            paid = sum(later) / len(later) if later else 0.0
            assert got.fai_HT[h, t].item() == pytest.approx(paid, rel=1e-5, abs=1e-9)
        assert got.distance_H[h].item() == pytest.approx(np.mean(distances), rel=1e-5)


def test_what_an_environment_said_between_is_looked_over_and_not_chosen() -> None:
    """Tokens at 3, 4 and 7, 8 of 9 are a model's: their measures are a loop's over their places."""
    attention, places = causal(2, 9, 9), [3, 4, 7, 8]
    settings = CreditSettings(window=4, horizon=(1, 4))
    got = credit.measured(torch.tensor(attention[:, places]), torch.tensor(places), settings)
    for h in range(2):
        for t, at in enumerate(places):
            near = sum(attention[h, at, s] * min(at - s, 4) for s in range(at + 1))
            assert got.waad_HT[h, t].item() == pytest.approx(near, rel=1e-5)
            later = [attention[h, u, at] for u in places if 1 <= u - at <= 4]
            paid = sum(later) / len(later) if later else 0.0
            assert got.fai_HT[h, t].item() == pytest.approx(paid, rel=1e-5, abs=1e-9)


def hand(waad: list[float], fai: list[float]) -> Measures:
    """Two heads: the first is local and plans as said, the second global and pays as said."""
    zeros = [0.0] * len(waad)
    return Measures(
        distance_H=torch.tensor([1.0, 5.0]), waad_HT=torch.tensor([waad, zeros]), fai_HT=torch.tensor([zeros, fai])
    )


def test_tokens_are_chosen_by_local_and_global_heads() -> None:
    measures = hand([0.0, 3.0, 0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.9, 0.0, 0.8, 0.0])
    by = {kind: credit.weights(measures, HAND.model_copy(update={"by": kind})).tolist() for kind in
          ("preplan", "anchor", "both", "coupled")}  # fmt: skip
    assert by["preplan"] == [1, 2, 1, 1, 2, 1]
    assert by["anchor"] == [1, 1, 2, 1, 2, 1]
    assert by["both"] == [1, 2, 2, 1, 2, 1]
    # Token 2 was planned by token 1 and shares with it; token 4 is planned by itself and keeps its credit.
    assert by["coupled"] == [1, 1.5, 1.5, 1, 2, 1]


def test_an_anchor_out_of_reach_of_its_plan_keeps_its_credit_and_none_is_made_up() -> None:
    far = hand([3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.7])
    assert credit.weights(far, HAND).tolist() == [1, 1, 1, 2]
    assert credit.weights(hand([1.0, 0.0], [0.0, 0.0]), HAND).tolist() == [1, 1]  # nothing later: no anchor


@pytest.mark.slow
def test_a_run_weighs_tokens_and_leaves_the_attention_as_it_was(recipe_of: Any, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from allocentric.train import grpo
    from allocentric.train.run import train
    from allocentric.train.work import Work, plan

    torch.set_num_threads(1)
    stage = {"name": "grpo", "generations": 4, "max_new_tokens": 6, "rewards": {"length": 0.5, "free_tokens": 1,
             "most_tokens": 6}, "credit": {"horizon": [1, 4], "by": "preplan"}}  # fmt: skip
    recipe = recipe_of(stage, batch_size=8, steps=2)
    result = train(recipe, tmp_path)
    rows = [row for key, row in read_samples(result.folder).items() if key.startswith("metrics/")]
    # A share of 0.4 of 1 to 6 tokens, at least one, times 1.5: between 1 + 0.5 * 2 / 6 and 1.5.
    assert all(1.15 <= row["credit/mean_weight"] <= 1.5 for row in rows)
    work = Work(plan(recipe), tmp_path, None)
    made = grpo.trainer(work, work.job.stage_settings)  # type: ignore[arg-type]
    tower = made.model.model.language_model
    before = tower.config._attn_implementation
    batch = made._generate_and_score_completions(next(iter(made.get_train_dataloader())))
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert tower.config._attn_implementation == before
    # Against the model's own report of its attention, row by row without padding.
    settings = CreditSettings(horizon=(1, 4), by="preplan")
    tower.set_attn_implementation("eager")
    start = 0
    for row in range(len(batch["prompt_ids"])):
        kept = batch["prompt_mask"][row].bool(), batch["completion_mask"][row].bool()
        ids = torch.cat([batch["prompt_ids"][row][kept[0]], batch["completion_ids"][row][kept[1]]])[None]
        grids = batch["image_grid_thw"][2 * row : 2 * row + 2]
        patches = int(grids.prod(1).sum())
        types = (ids == made.model.config.image_token_id).int()
        with torch.no_grad():
            out = made.model(
                input_ids=ids, attention_mask=torch.ones_like(ids), image_grid_thw=grids, mm_token_type_ids=types,
                pixel_values=batch["pixel_values"][start : start + patches], output_attentions=True, use_cache=False,
            )  # fmt: skip
        start += patches
        tokens = int(kept[1].sum())
        attention_HTL = torch.cat([layer[0, :, -tokens:] for layer in out.attentions])
        wanted = credit.weights(
            credit.measured(attention_HTL, torch.arange(ids.shape[1] - tokens, ids.shape[1]), settings), settings
        )
        advantage = batch["advantages"][row]
        base = advantage[kept[1]].abs().min()
        if base > 0:
            torch.testing.assert_close(advantage[kept[1]].abs() / base, wanted / wanted.min())


def test_attention_that_is_not_computed_cannot_be_looked_at(recipe_of: Any, tmp_path: Path) -> None:
    from allocentric.train.work import Work, plan

    work = Work(plan(recipe_of("sft", model={"attn_implementation": "allocentric:moba"})), tmp_path, None)
    with pytest.raises(SettingsError, match="credit looks at dense attention"):
        credit.require_attention(work)
