"""Objects rendered in the Objaverse layout of this project.

    root/meta.json                  list of uids
    root/<uid>/rgba/000.png ...     RGBA, 8 bit, straight alpha
    root/<uid>/pose/000.npy ...     (3, 4) camera-to-world, Blender axes (see openlrm.cameras.conventions)
    root/<uid>/intrinsics.npy       [[fx, fy], [cx, cy], [width, height]] in pixels

Files come from other programs and other people: every one is checked when it is read, and nothing in it is
executed.
"""

from __future__ import annotations

import difflib
import io
import json
import os
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np

from openlrm.cameras import intrinsics_from_pixels, validate_pose
from openlrm.datasets.storage import Place, RemotePath, open_place
from openlrm.errors import UserError
from openlrm.utils.images import load_rgba8
from openlrm.utils.texts import decode, natural_key
from openlrm.utils.tree import is_hidden

LAYOUT_HINT = "expected <uid>/rgba/000.png, <uid>/pose/000.npy and <uid>/intrinsics.npy"
# A pose takes 256 bytes; numpy makes room for what a header claims before it reads on.
_MAX_ARRAY_BYTES = 1 << 16
META_HINT = 'write the names of the object folders into it as a JSON list, e.g. ["chair", "mug"]'


@dataclass(frozen=True, eq=False)
class ObjaverseObject:
    """One object; pictures and poses are read when asked for.

    Attributes:
        folder: root/uid.
        uid: name of the object, its path below the root.
        names: view names in the order people count in, "000", "001", ... or "5", ..., "12".
        intrinsics: (4,) float32, fx / width, fy / height, cx / width, cy / height, the same for all views.
    """

    folder: Place
    uid: str
    names: tuple[str, ...]
    intrinsics: np.ndarray

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.names)

    def read_view(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read picture and pose of a view.

        Args:
            index: 0 .. len(self) - 1.

        Returns:
            rgba (H, W, 4) float32 in [0, 1], straight alpha, and c2w (3, 4) float32.

        Raises:
            UserError: what `read_picture` and `read_pose` refuse.
        """
        return self.read_picture(index) / np.float32(255), self.read_pose(index)

    def read_picture(self, index: int) -> np.ndarray:
        """Read the picture of a view alone, as it is stored.

        Args:
            index: 0 .. len(self) - 1.

        Returns:
            (H, W, 4) uint8, straight alpha.

        Raises:
            UserError: no such view, or a picture that is damaged or has no alpha.
        """
        file = self.folder / "rgba" / f"{self._name(index)}.png"
        if not isinstance(file, RemotePath):
            return load_rgba8(file)
        with _open(file) as stream:
            return load_rgba8(stream, file)

    def read_planes(self, index: int) -> np.ndarray:
        """Read the picture of a view channels first: several times faster to work on.

        Args:
            index: 0 .. len(self) - 1.

        Returns:
            (4, S, S) uint8, straight alpha.

        Raises:
            UserError: what `read_picture` refuses, or a picture that is not square.
        """
        picture = self.read_picture(index)
        height, width = picture.shape[:2]
        if height != width:
            file = self.folder / "rgba" / f"{self._name(index)}.png"
            raise UserError(f"the view is {width} x {height}, not square", file, "render square views")
        return np.ascontiguousarray(picture.transpose(2, 0, 1))

    def read_pose(self, index: int) -> np.ndarray:
        """Read the pose of a view alone.

        Args:
            index: 0 .. len(self) - 1.

        Returns:
            c2w (3, 4) float32.

        Raises:
            UserError: no such view, or a pose that is damaged, not (3, 4), not finite or not a rigid motion.
        """
        file = self.folder / "pose" / f"{self._name(index)}.npy"
        return validate_pose(load_array(file), file)

    def _name(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise UserError(f"no view {index}", self.folder, f"it has {len(self)} views, 0 to {len(self) - 1}")
        return self.names[index]


def list_uids(root: str | os.PathLike) -> list[str]:
    """Read the uids of a folder of objects from its meta.json.

    Args:
        root: folder that holds meta.json and the objects.

    Returns:
        The uids in the order of the file.

    Raises:
        UserError: no such folder, or meta.json is missing or not a list of usable names.
    """
    return read_uids(existing_root(root) / "meta.json")


def read_uids(path: str | os.PathLike) -> list[str]:
    """Read a list of uids.

    Args:
        path: JSON file.

    Returns:
        The uids in the order of the file.

    Raises:
        UserError: the file is missing or not a list of usable names.
    """
    file = open_place(path)
    try:
        uids = json.loads(decode(file.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"no {file.name}", file, META_HINT) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the list of objects ({error})", file, META_HINT) from error
    if not isinstance(uids, list) or not uids or not all(isinstance(uid, str) for uid in uids):
        raise UserError("the list of objects is empty or not a list of names", file, META_HINT)
    for uid in uids:
        check_uid(uid, file)
    return uids


def read_object(root: str | os.PathLike, uid: str) -> ObjaverseObject:
    """Open one object. Reads its intrinsics and the names of its views, no picture.

    Args:
        root: folder that holds the objects.
        uid: name of an object, its path below `root`; it may not lead out of it.

    Returns:
        The object, with at least one view.

    Raises:
        UserError: no such folder or object, no views, views without a pose or poses without a picture, or
            unusable intrinsics.
    """
    root = existing_root(root)
    check_uid(uid, root)
    folder = root / uid
    if not folder.is_dir():
        others = [entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
        near = difflib.get_close_matches(uid, others, n=1)
        raise UserError(f"no object {uid!r}", root, f"did you mean {near[0]!r}?" if near else LAYOUT_HINT)
    pictures, poses = _stems(folder / "rgba", ".png"), _stems(folder / "pose", ".npy")
    if not pictures:
        raise UserError("the object has no views", folder, LAYOUT_HINT)
    unpaired = sorted(pictures ^ poses)
    if unpaired:
        what = f"{len(pictures)} pictures but {len(poses)} poses, unpaired: {', '.join(unpaired[:5])}"
        raise UserError(what, folder, "every rgba/NAME.png needs its pose/NAME.npy")
    file = folder / "intrinsics.npy"
    intrinsics = intrinsics_from_pixels(load_array(file), file)
    return ObjaverseObject(folder, uid, tuple(sorted(pictures, key=natural_key)), intrinsics)


def check_uid(uid: str, where: object) -> None:
    """Refuse a name that would lead out of the folder of objects.

    Raises:
        UserError: an empty name, an absolute one, or one with `..` in it, as any system reads it.
    """
    # Both readings, whatever the system: a data set written on one must not be an escape on another.
    parts = PurePosixPath(uid).parts + PureWindowsPath(uid).parts
    anchored = PurePosixPath(uid).anchor or PureWindowsPath(uid).anchor
    if not parts or anchored or ".." in parts or "\0" in uid:
        hint = "a uid is the name of a folder below the root"
        raise UserError(f"object name {uid!r} does not stay inside the data folder", where, hint)


def existing_root(path: str | os.PathLike) -> Place:
    """Return a folder of objects.

    Raises:
        UserError: there is no such folder.
    """
    root = open_place(path)
    if not root.is_dir():
        raise UserError("no such folder of objects", root, "it holds meta.json and one folder per object")
    return root


def _stems(folder: Place, suffix: str) -> set[str]:
    if not folder.is_dir():
        return set()
    names = [entry.name for entry in folder.iterdir()]
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix) and not is_hidden(name)}


def load_array(file: Place) -> np.ndarray:
    """Read a small .npy file of numbers.

    Raises:
        UserError: no such file, or contents that are no such array.
    """
    with _open(file) as stream:
        try:
            data = stream.read(_MAX_ARRAY_BYTES + 1)
            if len(data) > _MAX_ARRAY_BYTES:
                raise ValueError("it is too large for a camera")
            # Not np.load: it would also open archives, and offers pickle.
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except Exception as error:
            # A damaged header makes numpy raise nearly anything, tokenize.TokenError among it.
            raise UserError(f"not a usable .npy file ({error})", file, "write it again with numpy.save") from error


def _open(file: Place) -> BinaryIO:
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise UserError("no such file", file, LAYOUT_HINT) from None
    except OSError as error:
        raise UserError(f"cannot read the file ({error.strerror or error})", file) from error
