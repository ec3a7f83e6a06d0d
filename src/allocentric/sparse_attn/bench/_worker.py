"""Runs a job (JSON on stdin) on the package that PYTHONPATH names, with the bench that lies beside this file.

An older package may have another bench or none; what is compared must be measured by the same code.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path


def main() -> None:
    """Write the result to the file named on the command line."""
    # Python puts the script's own folder first, where `inputs` or `report` would shadow modules of others.
    sys.path.pop(0)
    here = Path(__file__).resolve().parent
    name = "allocentric.sparse_attn.bench"
    parent = importlib.import_module("allocentric.sparse_attn")
    spec = importlib.util.spec_from_file_location(name, here / "__init__.py", submodule_search_locations=[str(here)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent.bench = module  # type: ignore[attr-defined]

    from allocentric.core.errors import UserError
    from allocentric.sparse_attn.bench.job import Job
    from allocentric.sparse_attn.bench.run import run

    try:
        result = run(Job.model_validate_json(sys.stdin.read()))
    except UserError as error:
        sys.exit(str(error))
    Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
