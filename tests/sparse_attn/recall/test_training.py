"""The small model: reach of a stack of windows, density, and that recall is learned where it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.recall import mqar, training
from allocentric.sparse_attn.recall.model import Settings, SmallModel

WINDOW = {"name": "sliding_window", "window": 8, "sinks": 0}
DENSE = {"name": "dense"}
SMALL = mqar.Settings(length=64, pairs=3, queries=4, words=8, power=1.0)


@pytest.mark.parametrize("layers", [(WINDOW, WINDOW), (WINDOW, DENSE)])
def test_a_stack_of_windows_sees_as_far_as_its_reach(layers: tuple[dict[str, object], ...]) -> None:
    torch.manual_seed(0)
    model = SmallModel(Settings(layers=layers), SMALL.vocabulary).double()
    drawn = mqar.draw(SMALL, 1, np.random.default_rng(0))
    embedded = model.embedding(torch.from_numpy(drawn.tokens_NL)).detach().requires_grad_()
    model.embedding.register_forward_hook(lambda *_: embedded)
    last = model(torch.from_numpy(drawn.tokens_NL), drawn.geometry)[0, -1].sum()
    (gradient,) = torch.autograd.grad(last, embedded)
    seen = (gradient[0].abs().sum(-1) > 0).nonzero().flatten()
    reach = 2 * (8 - 1 + 2)
    assert 63 - int(seen.min()) == (reach if layers[1] is WINDOW else 63)


def test_density_is_the_mean_over_layers() -> None:
    model = SmallModel(Settings(layers=(WINDOW, DENSE)), SMALL.vocabulary)
    drawn = mqar.draw(SMALL, 2, np.random.default_rng(0))
    window = (8 * 9 / 2 + 56 * 8) / (64 * 65 / 2)
    assert model.density(torch.from_numpy(drawn.tokens_NL), drawn.geometry) == pytest.approx((window + 1) / 2)


@pytest.mark.parametrize(
    ("mixer", "density"),
    [
        ({"name": "gated_deltanet", "chunk": 16}, 0.0),
        ({"name": "spatial_ttt", "window": 8, "chunk": 16, "frame_tokens": 8}, (8 * 9 / 2 + 56 * 8) / (64 * 65 / 2)),
    ],
)
def test_density_of_a_mixer_is_that_of_its_window(mixer: dict[str, object], density: float) -> None:
    model = SmallModel(Settings(layers=(mixer,)), SMALL.vocabulary)
    drawn = mqar.draw(SMALL, 2, np.random.default_rng(0))
    assert model.density(torch.from_numpy(drawn.tokens_NL), drawn.geometry) == pytest.approx(density)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'sliding_window'"):
        SmallModel(Settings(layers=({"name": "sliding_windo"},)), 10)


@pytest.mark.slow
def test_full_attention_learns_recall_and_windows_only_within_reach() -> None:
    found = {
        name: training.train(
            mqar,
            [training.Stage(600, 32, SMALL)],
            Settings(layers=layers, width=48, heads=3),
            training.Settings(test=256, learning_rate=5e-3),
        )
        for name, layers in {"window": (WINDOW, WINDOW), "anchor": (DENSE, WINDOW)}.items()
    }  # seeds 0, 1, 2: an anchor below is right 1.00 times far away; one above takes longer, 0.38 to 0.45
    far = found["anchor"].exercises.gap_NA > 2 * (8 - 1 + 2)
    assert found["anchor"].accuracy(far) > 0.9
    assert found["window"].accuracy(far) < 0.4
