"""Self-contained pages: templates filled in with everything escaped, and a policy that allows no script but ours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A6761D")
"""Of models; they keep apart for the colour-blind (Okabe and Ito, and two more)."""
BASELINE_COLOR = "var(--baseline, #9aa0a6)"


def colors_of(models: Sequence[tuple[str, bool]]) -> dict[str, str]:
    """A colour for each (label, whether a baseline); baselines are grey."""
    chosen = [label for label, baseline in models if not baseline]
    colors = {label: COLORS[index % len(COLORS)] for index, label in enumerate(dict.fromkeys(chosen))}
    return {label: colors.get(label, BASELINE_COLOR) for label, _ in models}


def render(template: str, *, scripts: Sequence[str] = ("page.js",), **values: Any) -> str:
    """The page of a template of this package, with `scripts` of the same folder inside."""
    import jinja2

    loader = jinja2.PackageLoader("allocentric.eval", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    script = "".join(loader.get_source(environment, name)[0] for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(script=script, script_digest=digest, **values)


def percent(value: float | None) -> str:
    """With one digit; a dash where there is no figure."""
    return "–" if value is None else f"{value:.1f}"
