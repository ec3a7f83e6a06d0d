"""The code blocks of README and docs run as written.

```python blocks of a page share one namespace and run in order; lines of ```console blocks that start with "$ " run in
a shell. Both run in one scratch folder per page in which configs/ is the repository's. A block that can't run here (a
GPU, someone's data, the two install commands) is fenced as ```text or ```sh.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


class Block(NamedTuple):
    language: str
    code: str


def blocks(page: Path) -> Iterator[Block]:
    for match in re.finditer(r"^```(python|console)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        yield Block(match[1], match[2])


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=lambda page: page.name)
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    namespace: dict[str, object] = {"__name__": "docs"}
    for language, code in blocks(page):
        if language == "python":
            exec(compile(code, page.name, "exec"), namespace)
            continue
        for line in code.splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    line[2:], shell=True, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, f"README does not mention docs/{page.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"
