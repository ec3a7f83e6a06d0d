"""What a result was made with: versions, commit, hardware and command, without secrets."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "allocentric", "numpy", "scipy", "pillow", "av", "opencv-python-headless", "moderngl", "open3d-cpu", "open3d",
    "torch", "transformers", "accelerate", "trl", "peft", "wandb", "vllm", "openai",
)  # fmt: skip
_SECRET = re.compile(r"(key|token|secret|password|passwd|credential)", re.IGNORECASE)


def environment() -> dict[str, Any]:
    """Versions, commit, hardware and command of this process. Values that look like secrets are left out."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "git_commit": _git_commit(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpu_names(),
        "command": redacted(sys.argv),
    }


def redacted(arguments: Iterable[str]) -> list[str]:
    """Command-line arguments with the values of anything called key, token, secret or password replaced."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next:
            shown.append("***")
        elif equals and _SECRET.search(name):
            shown.append(f"{name}=***")
        else:
            shown.append(argument)
        hide_next = not hide_next and not equals and argument.startswith("-") and bool(_SECRET.search(argument))
    return shown


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """Commit of the package's own checkout, with "+" where it has changes; None outside a checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],  # noqa: S607 - git from PATH
            cwd=root, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None if run.returncode == 0 else None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor()


def _gpu_names() -> list[str]:
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"^Model:\s*(.+)$", file.read_text(errors="replace"), re.MULTILINE) for file in files]
    return [name.group(1).strip() for name in names if name]
