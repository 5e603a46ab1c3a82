"""What a file is by its first bytes, for files that are not what their names say."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from openlrm.errors import UserError

PICKLE_HINT = (
    "convert it with PyTorch: safetensors.torch.save_file(torch.load(x, weights_only=True), 'x.safetensors'); "
    "of a Lightning file take its 'state_dict'"
)

_HEAD = 512
_LFS = re.compile(rb"version https?://[^\n]{1,80}/spec/v\d\s.*?size (\d+)", re.DOTALL)
_PAGE = re.compile(rb"<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
# Protocols 2 and 3 (PyTorch before 1.6: a long number) begin with a container or a class, later ones with a frame.
_PICKLE = re.compile(rb"\x80([\x02\x03][\]}(c\x8a]|[\x04\x05]\x95)")
_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"\xfd7zXZ\0", "an xz archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"GGUF", "a GGUF file", "use the .safetensors file of the same model"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "use the .safetensors file of the same model"),
    (b"\x93NUMPY", "a NumPy array", "use the .safetensors file of the same model"),
)
DOWNLOAD_HINT = "download the file itself again, from the hub with .../resolve/main/<file>"


def refuse_other_kinds(path: Path, wanted: str) -> None:
    """Refuse a file that is surely of another kind than the one it is taken for.

    Args:
        path: an existing file.
        wanted: what it should be, such as "the weights".

    Raises:
        UserError: a Git LFS pointer, a web page, a pickle, PyTorch's zip or another archive, named as that.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if found := _kind(path, head):
        kind, hint = found
        raise UserError(f"{kind}, not {wanted}", path, hint)


def told_text(path: Path) -> str | None:
    """Return `a text that begins '...'` for a file of letters alone, as servers answer; None for any other."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return f"a text that begins {_start(head.lstrip())!r}" if _is_text(head) else None


def _kind(path: Path, head: bytes) -> tuple[str, str] | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if pointer := _LFS.match(text):
        size = int(pointer.group(1))
        return f"a Git LFS pointer to a file of {size} bytes", "run 'git lfs install' and 'git lfs pull' in its folder"
    if _PAGE.match(text):
        return "a web page", f"the download gave a page instead (a login, a wrong link): {DOWNLOAD_HINT}"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if _PICKLE.match(head):
        return "a pickle (it can run code)", PICKLE_HINT
    for start, kind, hint in _OTHERS:
        if head.startswith(start):
            return kind, hint
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it"
    return None


def _zip_kind(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive (PyTorch and Lightning write such files)", "download or copy it again"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file (a zip with a pickle, as torch.save and Lightning write it)", PICKLE_HINT
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive", "use the .safetensors file of the same model"
    return "a zip archive", "unpack it"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < len(head) - 3:  # else the last character is cut
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text.strip()) and all(letter.isprintable() or letter in "\r\n\t\ufeff" for letter in text)


def _start(text: bytes) -> str:
    line = text.decode("utf-8", "replace").splitlines()[0]
    return line[:40] + ("..." if len(line) > 40 else "")
