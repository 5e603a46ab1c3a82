"""Pictures without Blender's colour management: its float passes in, 8-bit sRGB and 16-bit PNG out.

Blender's own PNG files carry the date and the render time, so the same picture never has the same bytes.
"""

import struct
import zlib

import numpy as np

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Of linear Rec. 709 red, green and blue."""

DEPTH_UNIT = 8192
"""A depth map stores the distance along the viewing axis times this, 0 where there is nothing: up to 8 world units."""

_EXR_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_MULTI_PART = 0x1000


def read_exr(path):
    """Read an uncompressed OpenEXR file as Blender writes it, of one part or a part for each pass.

    Args:
        path: multilayer file with codec NONE.

    Returns:
        Pass name ("Combined", "Depth", ...) -> (H, W, channels) float32; channels in the order R, G, B, A or X, Y, Z.

    Raises:
        ValueError: another kind of file.

    Source: the OpenEXR file layout, https://openexr.com/en/latest/OpenEXRFileLayout.html.
    """
    data = path.read_bytes()
    if data[:4] != b"\x76\x2f\x31\x01":
        raise ValueError(f"no OpenEXR file: {path}")
    multi_part = bool(int.from_bytes(data[4:8], "little") & _MULTI_PART)
    headers, position = [], 8
    while True:
        header, position = _read_header(data, position)
        if header:
            headers.append(header)
        if not (header and multi_part):
            break
    planes = {}
    for header in headers:
        if header["compression"] != b"\0":
            raise ValueError(f"the OpenEXR file is compressed: {path}")
        left, top, right, bottom = struct.unpack("<4i", header["dataWindow"])
        width, height = right - left + 1, bottom - top + 1
        offsets = np.frombuffer(data, "<u8", height, position)
        position += 8 * height
        channels = _read_channels(header["channels"])
        row = np.dtype([(name, kind, width) for name, kind in channels])
        start = 12 if multi_part else 8  # (part,) row number and size come first
        # The offsets are sorted by row, whatever the order of the rows in the file.
        table = np.concatenate([np.frombuffer(data, row, 1, int(offset) + start) for offset in offsets])
        planes |= {name: table[name].astype(np.float32) for name, _ in channels}
    passes = {}
    for name in sorted(planes, key=lambda name: "RGBAXYZ".find(name[-1])):
        # "ViewLayer.Combined.R"
        passes.setdefault(name.split(".")[-2], []).append(planes[name])
    return {name: np.stack(channels, axis=-1) for name, channels in passes.items()}


def to_srgb(linear):
    """Return what is shown, [0, 1], for linear light; values outside are clipped. Source: IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def to_rgba8(combined, gain=1.0):
    """Turn a pass into a picture.

    Args:
        combined: (H, W, 4) linear, colours multiplied by alpha.
        gain: factor of the light.

    Returns:
        (H, W, 4) uint8, sRGB, straight alpha; black where alpha rounds to zero.
    """
    combined = combined.astype(np.float32)
    alpha = np.clip(combined[..., 3:], 0, 1)
    straight = to_srgb(gain * combined[..., :3] / np.maximum(alpha, 1e-6))
    rgba = np.rint(np.concatenate([straight, alpha], axis=-1) * 255).astype(np.uint8)
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def mean_luminance(combined):
    """Return the mean linear luminance of the pixels that are at least half opaque; None without any."""
    combined = combined.astype(np.float32)
    shown = combined[..., 3] >= 0.5
    if not shown.any():
        return None
    return float((combined[..., :3][shown] / combined[..., 3:][shown]).mean(axis=0) @ LUMINANCE)


def to_depth16(depth):
    """Return (H, W) uint16 from the (H, W, 1) Depth pass; see `DEPTH_UNIT`."""
    units = depth[..., 0] * DEPTH_UNIT
    return np.where((units > 0) & (units < 65535.5), np.rint(np.clip(units, 0, 65535)), 0).astype(np.uint16)


def to_normal8(normal, alpha):
    """Return (H, W, 4) uint8 from the (H, W, 3) Normal pass: world axes, -1..1 as 0..255, and the picture's alpha."""
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    unit = normal / np.maximum(length, 1e-6)
    rgba = np.concatenate([unit * 0.5 + 0.5, np.clip(alpha, 0, 1)], axis=-1)
    rgba = np.rint(rgba * 255).astype(np.uint8)
    rgba[(rgba[..., 3] == 0) | (length[..., 0] == 0)] = 0
    return rgba


def to_albedo8(diffuse, glossy, alpha):
    """Return (H, W, 4) uint8 sRGB from the colour passes: a metal's colour is its glossy one."""
    return to_rgba8(np.concatenate([np.maximum(diffuse[..., :3], glossy[..., :3]), alpha], axis=-1))


def write_png(path, pixels):
    """Write a PNG file, the same bytes for the same pixels.

    Args:
        path: file name.
        pixels: (H, W, 4) uint8 or (H, W) uint16.

    Source: PNG specification, https://www.w3.org/TR/png-3/.
    """
    height, width = pixels.shape[:2]
    depth, colour = (8, 6) if pixels.dtype == np.uint8 else (16, 0)
    rows = np.ascontiguousarray(pixels if depth == 8 else pixels.astype(">u2")).view(np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(_filter(rows, 4 if depth == 8 else 2).tobytes(), 6)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", body), _chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _filter(rows, step):
    """Return (H, 1 + bytes) rows, each with the PNG filter that leaves the smallest differences."""
    here = rows.astype(np.int16)
    left, up, corner = np.zeros_like(here), np.zeros_like(here), np.zeros_like(here)
    left[:, step:], up[1:], corner[1:, step:] = here[:, :-step], here[:-1], here[:-1, :-step]
    to_left, to_up, to_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
    candidates = [(here - guess).astype(np.uint8) for guess in (0, left, up, (left + up) // 2, paeth)]
    costs = [np.abs(candidate.view(np.int8).astype(np.int16)).sum(axis=1) for candidate in candidates]
    best = np.argmin(costs, axis=0)
    chosen = np.stack(candidates)[best, np.arange(len(rows))]
    return np.concatenate([best.astype(np.uint8)[:, None], chosen], axis=1)


def _read_header(data, position):
    """Return attribute name -> raw value, and the position after; an empty one ends the headers."""
    header = {}
    while data[position]:
        end = data.index(b"\0", position)
        name, position = data[position:end].decode(), end + 1
        position = data.index(b"\0", position) + 1  # its type
        size = int.from_bytes(data[position : position + 4], "little")
        position += 4
        header[name] = data[position : position + size]
        position += size
    return header, position + 1


def _read_channels(raw):
    """Return (name, numpy type) of the channels, in the order of the file."""
    channels, position = [], 0
    while raw[position]:
        end = raw.index(b"\0", position)
        kind = int.from_bytes(raw[end + 1 : end + 5], "little")
        channels.append((raw[position:end].decode(), _EXR_TYPES[kind]))
        position = end + 17
    return channels
