"""Kinds of picture files: which are read, and which are known not to be."""

from __future__ import annotations

import functools

_READ = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
}
# Photographs and drawings that Pillow has no name for.
_UNKNOWN_TO_PILLOW = {
    *(".ai", ".arw", ".avif", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".jxl", ".jxr", ".kra"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw", ".svg", ".svgz", ".xcf"),
}


@functools.cache
def formats() -> tuple[str, ...]:
    """Names of the formats that are read, as Pillow calls them: all of them that this Pillow can read."""
    from PIL import Image, features

    Image.init()
    absent = {"AVIF"} if "avif" not in features.modules or not features.check("avif") else set()
    return tuple(name for name in _READ if name in Image.OPEN and name not in absent)


@functools.cache
def read_suffixes() -> tuple[str, ...]:
    """Suffixes of pictures that are read, in lower case."""
    return tuple(suffix for name in formats() for suffix in _READ[name])


@functools.cache
def other_suffixes() -> frozenset[str]:
    """Suffixes of pictures that are not read, in lower case."""
    from PIL import Image

    Image.init()
    return frozenset((_UNKNOWN_TO_PILLOW | set(Image.registered_extensions())) - set(read_suffixes()))
