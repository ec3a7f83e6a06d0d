from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from allocentric.core.errors import UserError
from allocentric.datasets.pool import each


def test_one_worker_works_in_order():
    done: list[str] = []
    assert list(each(done.append, ["a", "b", "c"], workers=1)) == done == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("os._exit(3)", "a worker process died"),
        ("raise MissingPackageError('habitat_sim', needed_for='this scene')", "pip install habitat_sim"),
    ],
)
def test_trouble_in_a_worker_is_one_line(tmp_path, body, told):
    """A dead process, and an error that can't be pickled."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from allocentric.core.errors import MissingPackageError, UserError
        from allocentric.datasets.pool import each

        def work(name):
            {body}

        if __name__ == "__main__":
            try:
                list(each(work, ["a", "b", "c"], workers=2))
            except UserError as error:
                print(error)
        """)
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert told in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_the_first_error_in_this_process_is_raised():
    def work(name: str) -> None:
        raise UserError(f"no {name}")

    with pytest.raises(UserError, match="no a"):
        list(each(work, ["a", "b"], workers=1))
