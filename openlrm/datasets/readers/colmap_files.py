"""The files of a COLMAP model: cameras and images, as text or in COLMAP's binary form. Points are not read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from openlrm.cameras import intrinsics_from_pixels, validate_pose
from openlrm.cameras.conventions import real_array
from openlrm.cameras.distortion import Distortion
from openlrm.errors import UserError
from openlrm.utils.texts import decode

# Number in the binary file -> name and number of parameters.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
_KNOWN = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE")
_LONGEST_NAME = 4096


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera in COLMAP's sense.

    Attributes:
        width, height: of its pictures in pixels.
        intrinsics: (4,) normalised.
        distortion: None for a pinhole.
    """

    width: int
    height: int
    intrinsics: np.ndarray
    distortion: Distortion | None


@dataclass(frozen=True, eq=False)
class Image:
    """An image in COLMAP's sense.

    Attributes:
        name: of the picture, below the folder of pictures.
        lens: number of its camera.
        w2c: (3, 4) float32 world-to-camera, OpenCV axes.
    """

    name: str
    lens: int
    w2c: np.ndarray


def read_model(folder: Path) -> tuple[dict[int, Lens], list[Image]]:
    """Read a model, the binary files where there are both.

    Returns:
        Lenses by their number, and images in the order of their names.

    Raises:
        UserError: files that are missing or damaged, lenses that are not known, or rotations that are none.
    """
    binary = (folder / "images.bin").is_file()
    end, cameras, images = (
        (".bin", _binary_cameras, _binary_images) if binary else (".txt", _text_cameras, _text_images)
    )
    found: list = []
    for name, parse in (("cameras", cameras), ("images", images)):
        file = folder / f"{name}{end}"
        try:
            found.append(list(parse(file)))
        except FileNotFoundError:
            raise UserError("no such file", file, "a model has cameras and images") from None
        except (OSError, ValueError, IndexError, struct.error) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"damaged, or of another version ({error})", file, "export the model again") from error
    if not found[1]:
        raise UserError("the model has no images", folder)
    return dict(found[0]), sorted(found[1], key=lambda image: image.name)


def write_model(folder: Path, lenses: dict[int, Lens], images: list[Image]) -> None:
    """Write a model of pinholes as text, without points."""
    rows = []
    for number, lens in lenses.items():
        fx, fy, cx, cy = lens.intrinsics.astype(np.float64) * ([lens.width, lens.height] * 2)
        rows.append(f"{number} PINHOLE {lens.width} {lens.height} {fx:.9g} {fy:.9g} {cx:.9g} {cy:.9g}")
    (folder / "cameras.txt").write_text("\n".join(["# camera, model, width, height, fx fy cx cy", *rows, ""]))
    rows = []
    for number, image in enumerate(images, 1):
        numbers = [*_quaternion(image.w2c[:, :3]), *image.w2c[:, 3]]
        # The second line would list the points that are seen.
        rows += [f"{number} {' '.join(f'{value:.9g}' for value in numbers)} {image.lens} {image.name}", ""]
    (folder / "images.txt").write_text("\n".join(["# image, qw qx qy qz, tx ty tz, camera, name", *rows, ""]))
    (folder / "points3D.txt").write_text("# no points\n")


def _text_cameras(file: Path) -> Iterator[tuple[int, Lens]]:
    for line in _lines(file):
        number, model, width, height, *numbers = line.split()
        yield int(number), _lens(model, int(width), int(height), [float(one) for one in numbers], file)


def _text_images(file: Path) -> Iterator[Image]:
    lines = decode(file.read_bytes()).split("\n")
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or line.startswith("#"):
            at += 1
            continue
        words = line.split(maxsplit=9)
        yield _image(words[9], int(words[8]), [float(one) for one in words[1:8]], file)
        at += 2  # its points


def _lines(file: Path) -> list[str]:
    lines = (line.strip() for line in decode(file.read_bytes()).split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _binary_cameras(file: Path) -> Iterator[tuple[int, Lens]]:
    with file.open("rb") as stream:
        (count,) = _take(stream, "<Q")
        for _ in range(count):
            number, model, width, height = _take(stream, "<iiQQ")
            if model not in _MODELS:
                raise UserError(f"camera model {model} is not known", file, "undistort the pictures with COLMAP")
            name, parameters = _MODELS[model]
            yield number, _lens(name, width, height, list(_take(stream, f"<{parameters}d")), file)


def _binary_images(file: Path) -> Iterator[Image]:
    with file.open("rb") as stream:
        (count,) = _take(stream, "<Q")
        for _ in range(count):
            _, *numbers, lens = _take(stream, "<i7di")
            name = bytearray()
            while (letter := stream.read(1)) != b"\0":
                name += letter
                if not letter or len(name) > _LONGEST_NAME:
                    raise ValueError("a name without an end")
            (points,) = _take(stream, "<Q")
            stream.seek(24 * points, 1)
            yield _image(name.decode(), lens, numbers, file)


def _take(stream: BinaryIO, layout: str) -> tuple:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _lens(model: str, width: int, height: int, numbers: list[float], file: Path) -> Lens:
    if model not in _KNOWN:
        hint = f"undistort the pictures with COLMAP, or use {', '.join(_KNOWN)}"
        raise UserError(f"camera model {model} is not read", file, hint)
    wanted = next(count for name, count in _MODELS.values() if name == model)
    if len(numbers) != wanted or not (width > 0 and height > 0):
        raise ValueError(f"a camera {model} of {width} x {height} with {len(numbers)} parameters")
    real_array(np.array(numbers), "camera parameters", file)
    two = model in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE")
    focal, center, bent = (
        (numbers[:2], numbers[2:4], numbers[4:]) if two else (numbers[:1] * 2, numbers[1:3], numbers[3:])
    )
    if model == "OPENCV_FISHEYE":
        distortion = Distortion(tuple(bent), fisheye=True)
    else:
        distortion = Distortion(tuple(bent[:2]), (bent[2], bent[3]) if model == "OPENCV" else (0.0, 0.0))
    intrinsics = intrinsics_from_pixels(np.array([focal, center, [width, height]], np.float64), file)
    return Lens(width, height, intrinsics, None if distortion.nothing else distortion)


def _image(name: str, lens: int, numbers: list[float], file: Path) -> Image:
    where = f"{file} ({name})"
    w, x, y, z = _unit(real_array(np.array(numbers[:4]), "rotation", where), where)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Image(name, lens, validate_pose(np.column_stack([rotation, numbers[4:7]]), where))


def _unit(quaternion: np.ndarray, where: str) -> np.ndarray:
    length = np.linalg.norm(quaternion)
    if not abs(length - 1) < 1e-2:
        raise UserError(f"the rotation's quaternion has length {length:.3g}, not 1", where)
    return quaternion / length


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z), w >= 0."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z]) * (-1 if w < 0 else 1)
