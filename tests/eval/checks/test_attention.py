"""Outputs of published attention code agree, a changed one does not, and bad files are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.eval.checks.attention import check, relative_error


def test_recorded_outputs_agree(shared_data: Path) -> None:
    result = check(shared_data / "attention")
    assert result.ok
    assert result.as_json["radial_block_masks.npz"] == {"n": 20, "agree": 20, "max_relative_error": 0.0}
    assert (result.as_json["moba.npz"]["n"], result.as_json["moba.npz"]["agree"]) == (3, 3)
    assert result.as_json["moba.npz"]["max_relative_error"] <= 1e-5
    assert json.loads(json.dumps(result.as_json)) == result.as_json


def test_a_changed_output_disagrees(shared_data: Path, tmp_path: Path) -> None:
    with np.load(shared_data / "attention" / "moba.npz") as arrays:
        moba = dict(arrays)
    moba["case0/out"] = moba["case0/out"] * 1.001
    np.savez(tmp_path / "moba.npz", **moba)
    with np.load(shared_data / "attention" / "radial_block_masks.npz") as arrays:
        radial = {name: array for name, array in arrays.items() if name.startswith(("case4/", "case6/"))}
    radial["case4/mask"] = radial["case4/mask"].copy()
    radial["case4/mask"][3, 5] ^= True
    np.savez(tmp_path / "radial_block_masks.npz", **radial)
    result = check(tmp_path)
    assert not result.ok
    assert (result.as_json["moba.npz"]["n"], result.as_json["moba.npz"]["agree"]) == (3, 2)
    assert result.as_json["moba.npz"]["max_relative_error"] == pytest.approx(0.001, rel=1e-2)
    assert result.as_json["radial_block_masks.npz"] == {"n": 2, "agree": 1, "max_relative_error": 1 / 30**2}


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of radial_block_masks\.npz"):
        check(tmp_path)
    (tmp_path / "moba.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"can't read .*moba\.npz"):
        check(tmp_path)
    np.savez(tmp_path / "moba.npz", **{"case0/meta": np.array('{"chunk": 4, "topk": 1}')})
    with pytest.raises(DataError, match=r"moba\.npz, case0: 'q' is missing"):
        check(tmp_path)


def test_relative_error() -> None:
    assert relative_error(np.array([3.0, 4.1]), np.array([3.0, 4.0])) == pytest.approx(0.02)
