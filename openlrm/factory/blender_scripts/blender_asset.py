"""What a file says about itself: its hash, and the author and licence inside a glTF."""

import hashlib
import json

_WANTED = ("title", "author", "license", "source", "copyright")
_LONGEST = 500


def sha256(path):
    """Return the hash of a file's bytes in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_asset(path):
    """Return title, author, license, source and copyright as far as a glb or gltf file tells them, else nothing.

    Source: glTF 2.0, `asset` (copyright) and its `extras`, where Sketchfab's exports (Objaverse) keep the others.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) == b"glTF":
                stream.seek(12)
                length = int.from_bytes(stream.read(4), "little")
                stream.seek(20)
                document = json.loads(stream.read(length))
            elif path.suffix.lower() == ".gltf":
                document = json.loads(path.read_text(encoding="utf-8-sig"))
            else:
                return {}
        asset = document["asset"]
        said = {**(asset.get("extras") or {}), **asset}
        return {name: said[name][:_LONGEST] for name in _WANTED if isinstance(said.get(name), str) and said[name]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # whether the object can be used is for the importer to say
