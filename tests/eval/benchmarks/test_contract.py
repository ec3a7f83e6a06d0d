"""What every published benchmark keeps: its records load, the right answer is right, baselines have a score."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import numpy as np
import pytest

from allocentric.agents.models.scripted import Settings as ScriptedSettings
from allocentric.agents.models.scripted import build as scripted
from allocentric.core.catalog import BENCHMARKS
from allocentric.core.errors import UserError
from allocentric.core.types import Answer, Choice, Item, Number, Prompt, Response
from allocentric.eval.aggregation import aggregate
from allocentric.eval.benchmarks._published import PublishedBenchmark, fingerprint
from allocentric.eval.results import Bootstrap, score_row, summaries
from allocentric.eval.wording import worded

from .conftest import Open, published_modules

MODULES = published_modules()
GIBBERISH = ["", " ", "???", "lorem ipsum", "<think>", "[", "{", "\\boxed{", "`", "1e400", "nan", "-", "A" * 5000]


@pytest.fixture(params=MODULES, ids=lambda module: module.DEFINITION.name)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture
def benchmark(module: ModuleType, open_examples: Open) -> PublishedBenchmark:
    return open_examples(module)


def test_examples_load(module: ModuleType, benchmark: PublishedBenchmark) -> None:
    definition, items = module.DEFINITION, benchmark.items()
    assert len(items) >= 2
    assert not definition.cells or {item.kind for item in items} <= set(definition.cells)
    assert set(definition.counts) <= set(definition.cells)
    assert definition.name == module.__name__.rpartition(".")[2] == benchmark.name
    assert definition.license
    assert definition.citation
    for item in items:
        assert item.prompt.strip()
        assert item.scene_id
        assert len(set(item.choices)) == len(item.choices)
        if isinstance(item.gold, Choice):
            assert 0 <= item.gold.index < len(item.choices)


def test_every_profile_asks_with_the_options(benchmark: PublishedBenchmark) -> None:
    assert "@" in benchmark.profiles[0]
    for name in benchmark.profiles:
        for item in benchmark.items():
            text = benchmark.prompt_text(item, name)
            assert text.strip()
            if isinstance(item.gold, Choice) and item.choices not in {("yes", "no")}:
                assert all(choice in text for choice in item.choices)


def test_the_right_answer_scores_one(benchmark: PublishedBenchmark) -> None:
    for name in benchmark.profiles:
        profile = benchmark.profile(name)
        values = [benchmark.score(item, profile.write(item), name).value for item in benchmark.items()]
        if profile.gold_fails:
            assert profile.defects
            assert any(value != 1 for value in values)
        else:
            assert values == [1.0] * len(values), name


def test_a_wrong_answer_does_not(benchmark: PublishedBenchmark) -> None:
    for name in benchmark.profiles:
        for item in benchmark.items():
            if isinstance(item.gold, Choice) and item.choices not in {("yes", "no")}:
                wrong = chr(ord("A") + (item.gold.index + 1) % len(item.choices))
            elif isinstance(item.gold, Number):
                wrong = str(3 * abs(item.gold.value) + 7)
            else:
                continue
            assert (benchmark.score(item, wrong, name).value or 0) < 1, name


def test_no_text_raises_and_scores_stay_in_range(benchmark: PublishedBenchmark) -> None:
    for name in benchmark.profiles:
        for item in benchmark.items():
            for text in GIBBERISH:
                value = benchmark.score(item, text, name).value
                assert value is None or 0 <= value <= 1, (name, text)


def test_an_oracle_answers_in_the_words_that_every_profile_asks_for(benchmark: PublishedBenchmark) -> None:
    items = {item.id: item for item in benchmark.items()}
    for name in benchmark.profiles:
        model = scripted(ScriptedSettings(policy="oracle"), items=items, write=partial(_worded, benchmark, name))
        said = model.generate([Prompt(item_id=item_id, text="?") for item_id in items])
        answered = zip(items.values(), said, strict=True)
        values = [benchmark.score(item, response.text, name).value for item, response in answered]
        assert benchmark.profile(name).gold_fails or values == [1.0] * len(values), name


def _worded(benchmark: PublishedBenchmark, profile: str, item: Item, answer: Answer) -> str:
    return worded(benchmark, item, answer, profile)


def test_baselines_have_a_score_and_an_interval(module: ModuleType, open_examples: Open) -> None:
    benchmark = open_examples(module, partial=True)
    items = benchmark.items()
    rows = {}
    for policy in ("random", "constant", "frequency"):
        by_id, write = {item.id: item for item in items}, partial(_worded, benchmark, benchmark.profiles[-1])
        model = scripted(ScriptedSettings(policy=policy), items=by_id, write=write)
        answers = model.generate([Prompt(item_id=item.id, text="?") for item in items])
        texts = {item.id: answer for item, answer in zip(items, answers, strict=True)}
        rows[policy, benchmark.profiles[-1]] = score_row(benchmark, items, texts, benchmark.profiles[-1])
    for summary in summaries(benchmark, items, rows, Bootstrap(replicates=100)).values():
        cells = [cell["score"] for cell in summary["cells"].values() if cell["score"] is not None]
        assert cells or summary["unanswered"] == len(items)
        assert all(-100 <= score <= 100 for score in cells)


def test_all_right_is_a_hundred_percent_in_every_cell(benchmark: PublishedBenchmark) -> None:
    items = benchmark.items()
    scores = aggregate(benchmark.composite, items, np.ones(len(items)))
    assert all(np.isnan(value) or value == pytest.approx(1) for value in scores.values())
    assert {item.kind for item in items} <= set(scores)


def test_rows_are_counted_and_hashed(module: ModuleType, open_examples: Open, benchmark: PublishedBenchmark) -> None:
    found = benchmark.fingerprint()
    assert found["row_count"] == len(benchmark.items())
    assert found["sha256"] == fingerprint(open_examples(module).items())["sha256"]
    assert found["system_prompt"] == "none"
    with pytest.raises(UserError, match="SHA-256"):
        open_examples(module, sha256="0" * 64).items()
    with pytest.raises(UserError, match="expected 7654 records"):
        open_examples(module, row_count=7654).items()


def test_a_record_without_its_fields_is_named(module: ModuleType, open_examples: Open) -> None:
    if module.DEFINITION.read is not None:
        return  # read and checked with its environment: tests/envs/test_panorama_tasks.py
    with pytest.raises(UserError, match=r"record 0 ") as failure:
        open_examples(module, {"nothing": 1}).items()
    assert "\n" not in str(failure.value)


def test_unpublished_benchmarks_say_why_in_one_line() -> None:
    refused = [BENCHMARKS.load(name) for name in BENCHMARKS.names()]
    refused = [module for module in refused if hasattr(module, "REASON")]
    for module in refused:
        with pytest.raises(UserError) as failure:
            module.build(module.Settings())
        assert module.REASON in str(failure.value)
        assert "\n" not in str(failure.value)


def test_a_failed_response_is_no_score(benchmark: PublishedBenchmark) -> None:
    items = benchmark.items()[:1]
    row = score_row(benchmark, items, {items[0].id: Response(text="", error="no")}, benchmark.profiles[0])
    assert row.scores == (None,)
