"""What is said about the machine, and what is not."""

from __future__ import annotations

import json

import pytest

from allocentric import __version__
from allocentric.core.environment import environment, redacted


def test_it_names_what_a_result_depends_on():
    facts = environment()
    assert facts["packages"]["allocentric"] == __version__
    assert {"numpy", "scipy"} <= facts["packages"].keys()
    assert facts["cpu_count"] >= 1
    assert facts["memory_gib"] > 0
    assert json.dumps(facts)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["eval", "r.yaml"], ["eval", "r.yaml"]),
        (["--api-key", "s3cret", "x"], ["--api-key", "***", "x"]),
        (["--token=s3cret"], ["--token=***"]),
        (["models.0.api_key=s3cret"], ["models.0.api_key=***"]),
        (["DB_PASSWORD=s3cret"], ["DB_PASSWORD=***"]),
        (["--set", "seed=1"], ["--set", "seed=1"]),
    ],
)
def test_secrets_are_left_out(arguments, shown):
    assert redacted(arguments) == shown
