"""Pictures out of a video file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from openlrm.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v", ".gif")
"""Suffixes of files that `read_video` takes."""

MAX_FRAMES = 1024
"""Longer videos are refused."""

_MAX_BYTES = 1 << 32


def read_video(path: str | os.PathLike) -> list[np.ndarray]:
    """Decode a short video.

    Args:
        path: ends in one of `VIDEO_SUFFIXES`.

    Returns:
        Its frames, each (H, W, 3) uint8.

    Raises:
        UserError: no such file, no ffmpeg, no video, or one that is too long or too large.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError("no such video", path, "check the path")
    try:
        from imageio_ffmpeg import read_frames
    except ImportError as error:
        raise UserError("there is no ffmpeg to read videos", path, "pip install imageio-ffmpeg") from error
    frames: list[np.ndarray] = []
    try:
        # ffmpeg must not follow what a file of a stranger names: other files, addresses.
        with contextlib.closing(
            read_frames(str(path.resolve()), input_params=["-protocol_whitelist", "file,pipe"])
        ) as found:
            width, height = next(found)["size"]
            for data in found:
                frames.append(np.frombuffer(data, np.uint8).reshape(height, width, 3))
                if len(frames) > MAX_FRAMES or len(frames) * len(data) > _MAX_BYTES:
                    break
    except Exception as error:
        # It raises nearly anything at a damaged file, with ffmpeg's whole log.
        raise UserError("cannot read the video", path, "is it damaged? give its frames as pictures") from error
    if len(frames) > MAX_FRAMES or sum(frame.nbytes for frame in frames) > _MAX_BYTES:
        raise UserError(f"the video has more than {len(frames) - 1} frames", path, "cut out what is needed")
    if not frames:
        raise UserError("the video has no frames", path)
    return frames
