"""The OpenGL context and its programs."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allocentric.core.errors import UserError

_SHADERS = Path(__file__).parent / "shaders"
_PACKAGES = "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri"


def open_context() -> Any:
    """A standalone OpenGL 4.3 context over EGL, current on return.

    UserError names the system packages where EGL or its driver is missing.
    """
    import moderngl

    _load_triton_first()
    backend: Any = "egl"  # the stub of the library asks for a mapping

    try:
        return moderngl.create_context(standalone=True, backend=backend, require=430)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"the renderer 'raster' needs OpenGL 4.3 over EGL, which does not start here ({reason}); "
            f"run: apt-get install {_PACKAGES}, or choose the renderer 'raycast'"
        ) from error


def _load_triton_first() -> None:
    """Mesa's driver and Triton (which torch imports by itself) each bring an LLVM; only in this order both work.

    The other order ends the process: `import triton` after the context crashes with a segmentation fault.
    """
    if importlib.util.find_spec("triton") is not None:
        importlib.import_module("triton")


def program(
    context: Any, vertex: str, fragment: str | None, defines: Mapping[str, object], parts: Sequence[str] = ()
) -> Any:
    """Compile `shaders/<vertex>.vert` and `shaders/<fragment>.frag`, the latter after the shared `parts`.

    Programs that have such parts know the constants of materials in both stages.
    """
    head = "#version 430 core\n" + "".join(f"#define {name} {value}\n" for name, value in defines.items())
    if parts:
        head += _text("material.glsl")
    sources = {"vertex_shader": head + _text(f"{vertex}.vert")}
    if fragment is not None:
        sources["fragment_shader"] = (
            head + "".join(_text(f"{part}.glsl") for part in parts) + _text(f"{fragment}.frag")
        )
    return context.program(**sources)


def _text(name: str) -> str:
    return (_SHADERS / name).read_text(encoding="utf-8")


def set_uniforms(shader: Any, values: Mapping[str, Any]) -> None:
    """Set the uniforms the compiled program kept; the driver drops those a variant does not use."""
    for name, value in values.items():
        if name in shader:
            uniform = shader[name]
            if hasattr(value, "tobytes"):
                uniform.write(value.tobytes())
            else:
                uniform.value = value
