"""Suites hold benchmarks that exist and make recipes that plan."""

from __future__ import annotations

import pytest
import yaml

from allocentric.core.catalog import BENCHMARKS
from allocentric.core.config import load_recipe
from allocentric.core.errors import UserError
from allocentric.eval.recipe import EvalRecipe
from allocentric.eval.suites import GROUPS, SUITES, groups_of, recipes, suite, write_recipes


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.yaml"
    shared = {"models": [{"name": "scripted", "policy": "oracle"}], "frames": {"count": 8, "as_video": True}}
    path.write_text(yaml.safe_dump({**shared, "benchmarks": {"vsr": {"dataset": "elsewhere"}}}))
    return path


@pytest.mark.parametrize("name", sorted(SUITES))
def test_members_exist_once(name):
    members = [member.benchmark for member in SUITES[name].members]
    assert set(members) <= set(BENCHMARKS.names())
    assert len(set(members)) == len(members)


def test_easi8_is_the_published_list():
    """EASI@0c1a41e, docs/Support_bench_models.md."""
    assert {member.benchmark for member in suite("easi8").members} == {
        "vsi_bench", "mmsi_bench", "mindcube_tiny", "viewspatial",
        "site_bench", "blink", "threedsrbench", "embspatial",
    }  # fmt: skip


def test_spatial_all_is_every_benchmark_that_can_be_asked():
    refused = []
    for name in BENCHMARKS.names():
        module = BENCHMARKS.load(name)
        try:
            module.build(module.Settings())
        except UserError:
            refused.append(name)
    assert {member.benchmark for member in suite("spatial-all").members} == set(BENCHMARKS.names()) - set(refused)


def test_groups_name_benchmarks_that_exist():
    assert {name for members in GROUPS.values() for name in members} <= set(BENCHMARKS.names())
    assert groups_of("vsi_bench") == ["easi8", "spatial-all", "quick", "indoor video"]


def test_recipes_keep_what_is_shared_and_fixed(base, tmp_path):
    data = tmp_path / "data"
    (data / "viewspatial").mkdir(parents=True)
    made = {
        recipe.benchmark["name"]: recipe for recipe in recipes("quick", base, data=data, overrides=["batch_size=2"])
    }
    assert made["vsi_bench"].frames.count == 16  # the suite's
    assert made["vsi_bench"].frames.as_video  # ours
    assert made["viewspatial"].frames.count == 8
    assert made["viewspatial"].benchmark["dataset"] == str(data / "viewspatial")
    assert made["vsr"].benchmark["dataset"] == "elsewhere"
    assert {recipe.limit for recipe in made.values()} == {200}
    assert {recipe.batch_size for recipe in made.values()} == {2}
    for path in write_recipes(list(made.values()), tmp_path / "recipes"):
        assert load_recipe(path, EvalRecipe) in made.values()


def test_wrong_names_are_one_line(base):
    with pytest.raises(UserError, match="unknown suite 'easi'; did you mean 'easi8'"):
        suite("easi")
    with pytest.raises(UserError, match="easi8 has no 'vsr'"):
        recipes("easi8", base)
    base.write_text("name: x\nmodels: []\n")
    with pytest.raises(UserError, match="has no `name` and no `benchmark`"):
        recipes("quick", base)
