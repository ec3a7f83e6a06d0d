"""Pictures and videos that published records name: below a folder, in a zip of it, or inside the records."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from allocentric.core.errors import DataError
from allocentric.core.types import Image, Item, View


@dataclass(frozen=True, slots=True)
class Media:
    """Where names in records lead."""

    folder: Path | None
    """None: nothing is shown, unless the records hold the pictures themselves."""

    def path(self, name: str, where: str) -> Path | None:
        """The file a record names, always below the folder. DataError for a name that leads out of it."""
        relative = PurePosixPath(name)
        if not name or relative.is_absolute() or ".." in relative.parts or "\\" in name:
            raise DataError(f"{where}: {name!r} can't be the path of a picture or video below a folder")
        return None if self.folder is None else self.folder / relative

    def view(self, picture: Any, where: str) -> View | None:
        """A picture: a name, or the hub's `{"bytes", "path"}` with the compressed picture."""
        content = picture.get("bytes") if isinstance(picture, dict) else picture
        if isinstance(content, bytes):
            return View(image=partial(_decoded, content, where))
        name = picture.get("path") if isinstance(picture, dict) else picture
        if not isinstance(name, str):
            raise DataError(f"{where}: expected a picture or the name of one, got {type(picture).__name__}")
        path = self.path(name, where)
        return None if path is None else View(image=path)


def _decoded(content: bytes, where: str) -> Image:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(io.BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError:
        raise DataError(f"{where}: its picture is damaged") from None


def check_files(items: Iterable[Item], hint: str) -> None:
    """DataError naming the first picture or video that is missing, and how many are."""
    names = [item.video for item in items if item.video is not None]
    names += [view.image for item in items for view in item.views if isinstance(view.image, Path)]
    files = dict.fromkeys(names)
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(f"missing {missing[0]} ({len(missing)} of {len(files)} are missing); {hint}")


def media_folder(path: Path) -> Path:
    """A folder as it is; a zip unpacked beside itself, once. DataError where neither is there or the zip is unsafe."""
    if path.is_dir():
        return path
    if path.suffix.lower() != ".zip" or not path.is_file():
        raise DataError(f"no such folder or zip of pictures or videos: {path}")
    return unpacked(path)


def unpacked(archive: Path) -> Path:
    """Unpack a zip into the folder of its name, whole or not at all; a folder that exists is left as it is.

    Raises:
        DataError: the file is damaged, or a member leads out of the folder or is a link. Nothing is written then.
    """
    target = archive.with_suffix("")
    if target.is_dir():
        return target
    partial_folder = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                _check_member(member, archive)
            content.extractall(partial_folder)
        partial_folder.rename(target)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"can't unpack {archive}: {error}") from None
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return target


def _check_member(member: zipfile.ZipInfo, archive: Path) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0:1]:
        raise DataError(f"{archive} is refused: its member {member.filename!r} leads out of the folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive} is refused: its member {member.filename!r} is a link")
