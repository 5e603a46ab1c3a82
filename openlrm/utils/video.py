"""Frames into a video file, one at a time."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_dir, atomic_path, check_output

VIDEO_FORMATS = (".mp4", ".mov", ".webm", ".gif", ".png")
"""Suffixes `VideoWriter` knows; .png makes a folder of numbered frames."""

# crf: constant quality, 18 of H.264 and 24 of VP9 being hard to tell from the frames.
_H264 = ["-c:v", "libx264", "-crf", "18", "-movflags", "+faststart"]
_VP9 = ["-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-row-mt", "1", "-cpu-used", "4"]
_ENCODERS = {".mp4": _H264, ".mov": _H264, ".webm": _VP9}
# Said as well as done, or players take small videos for BT.601 and shift the colours.
_COLOUR = ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
_COLOUR += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]

_FRAMES = "[0-9][0-9][0-9]*.png"

_Write = Callable[[np.ndarray], None]


def check_video(path: str | os.PathLike) -> None:
    """Check before the work that a video can be written after it.

    Raises:
        UserError: an unknown format, no ffmpeg for it, or a place that cannot be written.
    """
    path = Path(path)
    suffix = _known_suffix(path)
    if suffix == ".png":
        check_output(path.with_suffix(""), _FRAMES)
        return
    check_output(path)
    if suffix in _ENCODERS:
        _find_ffmpeg(path)


class VideoWriter:
    """Write frames to a video that is complete when the block ends, or absent if it fails.

    ffmpeg encodes in a process of its own while the next frame is made; only .gif keeps its frames until the
    end (as palettes). Odd sides gain one repeated row or column where the codec needs even ones.

    Attributes:
        path: what is written: the file, or for `cup.png` the folder `cup` with 000.png, 001.png, ...

    Example:
        >>> with VideoWriter("cup.mp4", fps=40) as video:  # doctest: +SKIP
        ...     video.write(frame)
    """

    def __init__(self, path: str | os.PathLike, fps: float) -> None:
        """Choose the format; nothing is written yet.

        Args:
            path: ends in one of `VIDEO_FORMATS`.
            fps: frames per second; a gif shows at most 50.

        Raises:
            UserError: another suffix.
            ValueError: fps is not positive.
        """
        path = Path(path)
        self._suffix = _known_suffix(path)
        if not fps > 0:
            raise ValueError(f"fps={fps} is not positive")
        self.path = path.with_suffix("") if self._suffix == ".png" else path
        self._fps = fps
        self._shape: tuple[int, ...] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            if self._suffix == ".png":
                self._sink = _frames(stack.enter_context(atomic_dir(self.path, _FRAMES)))
            else:
                temporary = stack.enter_context(atomic_path(self.path))
                sink = _gif if self._suffix == ".gif" else _ffmpeg
                self._sink = stack.enter_context(sink(temporary, self._fps))
            stack.push(self._refuse_empty)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame: (H, W, 3) uint8, the size of the first one.

        Raises:
            ValueError: another shape or type.
            UserError: the encoder is missing or failed.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"a frame is (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
        if self._shape not in (None, frame.shape):
            raise ValueError(f"the frame is {frame.shape}, the first one was {self._shape}")
        self._shape = frame.shape
        self._sink(frame)

    def _refuse_empty(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._shape is None:
            raise ValueError("a video needs at least one frame")


def _known_suffix(path: Path) -> str:
    if path.suffix.lower() not in VIDEO_FORMATS:
        formats = ", ".join(VIDEO_FORMATS)
        raise UserError(f"unknown video format {path.suffix!r}", path, f"end the name in {formats}")
    return path.suffix.lower()


def _frames(folder: Path) -> _Write:
    count = 0

    def write(frame: np.ndarray) -> None:
        nonlocal count
        Image.fromarray(frame).save(folder / f"{count:03d}.png")
        count += 1

    return write


@contextlib.contextmanager
def _gif(path: Path, fps: float) -> Iterator[_Write]:
    frames: list[Image.Image] = []
    yield lambda frame: frames.append(Image.fromarray(frame).quantize())
    # A gif counts in 1/100 s; rounding the times, not the steps, keeps the speed. Viewers slow down below 2.
    times = [round(100 * index / fps) for index in range(len(frames) + 1)]
    steps = [10 * max(2, after - before) for before, after in itertools.pairwise(times)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=steps, loop=0)


@contextlib.contextmanager
def _ffmpeg(path: Path, fps: float) -> Iterator[_Write]:
    executable = _find_ffmpeg(path)
    process: subprocess.Popen | None = None
    with tempfile.TemporaryFile() as log:

        def write(frame: np.ndarray) -> None:
            nonlocal process
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if process is None:
                process = _start(executable, path, fps, frame.shape, log)
            try:
                process.stdin.write(frame.tobytes())
            except BrokenPipeError:
                process.wait()
                raise _failure(path, log) from None

        try:
            yield write
            # Closing tells ffmpeg that this was the last frame; what is still to be written may fail there.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            if process.wait():
                raise _failure(path, log)
        finally:
            if process is not None:
                process.kill()
                process.wait()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()


def _find_ffmpeg(path: Path) -> str:
    try:
        import imageio_ffmpeg

        executable = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        hint = "pip install imageio-ffmpeg, or choose .gif or .png"
        raise UserError(f"there is no ffmpeg to write {path.suffix}", hint=hint) from error
    if reason := _unusable(executable):
        # imageio-ffmpeg takes what IMAGEIO_FFMPEG_EXE names as it is.
        where = f"IMAGEIO_FFMPEG_EXE={executable}" if os.environ.get("IMAGEIO_FFMPEG_EXE") else executable
        hint = "name an ffmpeg that runs or unset IMAGEIO_FFMPEG_EXE, or choose .gif or .png"
        raise UserError(f"there is no ffmpeg to write {path.suffix} ({reason})", where, hint)
    return executable


@functools.lru_cache(maxsize=8)
def _unusable(executable: str) -> str | None:
    """Why a program is no ffmpeg; None for one that is."""
    try:
        done = subprocess.run([executable, "-version"], capture_output=True, timeout=60, check=False)
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    return None if done.stdout.startswith(b"ffmpeg version") else "it is another program"


def _start(executable: str, path: Path, fps: float, shape: tuple[int, ...], log: IO[bytes]) -> subprocess.Popen:
    source = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{shape[1]}x{shape[0]}",
        "-r",
        str(fps),
        "-i",
        "-",
    ]
    # `file:` lets a name start with a dash or hold a colon.
    command = [executable, "-y", "-loglevel", "error", *source, *_ENCODERS[path.suffix.lower()], *_COLOUR]
    command.append(f"file:{path}")
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)


def _failure(path: Path, log: IO[bytes]) -> UserError:
    log.seek(0)
    said = log.read().decode(errors="replace").strip()
    return UserError(
        f"ffmpeg cannot write {path.suffix} ({said or 'it was stopped'})", path.parent, "choose .gif or .png"
    )
