"""What an OBJ file says in its text and Blender's importer does not tell: lost materials, and which axis is up."""

import mmap
import os
import re

_STATEMENT = re.compile(rb"^[ \t]*(mtllib|usemtl)[ \t]+([^\r\n]*?)[ \t]*\r?$", re.MULTILINE)
_NEW_MATERIAL = re.compile(rb"^[ \t]*newmtl[ \t]+([^\r\n]*?)[ \t]*\r?$", re.MULTILINE)
_NUMBER = rb"-?\d+\.\d{6}"
_COLOURED = re.compile(rb"v(?: %s){3}(?: [01]\.\d{6}){3}\n" % _NUMBER)
_TEXTURED = re.compile(rb"mtllib [^\n]+\nusemtl material\nv ")


def undefined_materials(path):
    """Return the names of the materials that a file uses and no library beside it defines, where Blender looks."""
    said = {b"mtllib": set(), b"usemtl": set()}
    with path.open("rb") as stream, _mapped(stream) as text:
        for match in _STATEMENT.finditer(text):
            said[match[1]].add(match[2])
    # One of the file's own name is taken without being asked for.
    libraries = {path.with_suffix(".mtl"), *(path.parent / os.fsdecode(name.strip(b'"')) for name in said[b"mtllib"])}
    defined = {match[1] for file in libraries if file.is_file() for match in _NEW_MATERIAL.finditer(file.read_bytes())}
    return {name.decode("utf-8", "replace") for name in said[b"usemtl"] - defined}


def is_former_export(path):
    """Whether a file was written by this project when its OBJ files were Z up and had no header to say so.

    They are told by how they begin: with vertices of six decimals and colours, or with a library and the material
    called `material`; other programs, and files written since, begin with a comment, an object or other digits.
    """
    with path.open("rb") as stream:
        start = stream.read(1000)
    return bool(_COLOURED.match(start) or _TEXTURED.match(start))


def _mapped(stream):
    if not os.fstat(stream.fileno()).st_size:
        return memoryview(b"")
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
