from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# The tests of this folder share scenes; the importlib import mode puts no folder on the path.
_FILE = Path(__file__).parent / "scenes.py"
_SPEC = importlib.util.spec_from_file_location("render_test_scenes", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["render_test_scenes"] = _MODULE
_SPEC.loader.exec_module(_MODULE)
