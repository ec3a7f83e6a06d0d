"""The pixels of views, wherever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from allocentric.core.errors import DataError
from allocentric.core.types import View


def picture(view: View) -> PillowImage.Image:
    """The view's picture as RGB, rendered or read now.

    Raises:
        DataError: the view has no picture, or its file is missing or is not a picture.
    """
    image: Any = view.image() if callable(view.image) else view.image
    if image is None:
        raise DataError("a view without a picture cannot be shown to a model")
    if isinstance(image, Path):
        return _read(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"expected a uint8 picture (H, W, 3), got {image.dtype} {image.shape}")
    return PillowImage.fromarray(image)


def sample_frames(count: int, total: int) -> list[int]:
    """`count` indices spread evenly over 0 ... total - 1, both ends included (np.linspace, truncated).

    ValueError unless 1 <= count <= total.
    """
    if not 1 <= count <= total:
        raise ValueError(f"expected 1 to {total} frames, got {count}")
    return [int(index) for index in np.linspace(0, total - 1, count)]


def _read(path: Path) -> PillowImage.Image:
    try:
        with PillowImage.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"no such picture: {path}") from None
    except UnidentifiedImageError:
        raise DataError(f"{path} is not a picture") from None
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for truncated and damaged files
        raise DataError(f"cannot read the picture {path}: {' '.join(str(error).split())}") from None
