import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from openlrm.errors import UserError
from openlrm.utils import video as video_module
from openlrm.utils.video import VIDEO_FORMATS, VideoWriter, check_video


def frames_of(count=6, height=48, width=64):
    """A grey ramp with a coloured square that moves; smooth, so that codecs keep it."""
    ramp = np.linspace(40, 200, width, dtype=np.uint8)
    for index in range(count):
        frame = np.repeat(np.broadcast_to(ramp, (height, width))[..., None], 3, axis=-1).copy()
        frame[8:24, 8 * index : 8 * index + 16] = (220, 60, 30)
        yield frame


def write(path, frames, fps=10):
    with VideoWriter(path, fps) as video:
        for frame in frames:
            video.write(frame)
    return video.path


def read(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_encoded_video_reads_back(tmp_path, suffix):
    path = write(tmp_path / "new" / f"x.{suffix}", frames_of())
    meta, frames = read(path)
    assert meta["fps"] == 10
    assert meta["codec"] == ("vp9" if suffix == "webm" else "h264")
    assert meta["pix_fmt"].startswith("yuv420p")
    assert len(frames) == 6
    for got, expected in zip(frames, frames_of(), strict=True):
        # Colours within a few levels: the matrix that was used is the one that was declared.
        assert abs(got.astype(int) - expected).mean() < 4
        np.testing.assert_allclose(got[14:18, :, 0].max(), 220, atol=8)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_mp4_starts_with_its_index(tmp_path):
    content = write(tmp_path / "x.mp4", frames_of(2)).read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_odd_sizes_repeat_the_edge(tmp_path):
    _, frames = read(write(tmp_path / "x.mp4", frames_of(2, 47, 63)))
    assert frames[0].shape == (48, 64, 3)
    assert abs(frames[0][:, 63].astype(int) - frames[0][:, 62]).mean() < 3


@pytest.mark.parametrize("name", ["-dash.mp4", "a:b.mp4", "50%d.MP4", "ä b.mov"])
def test_names_ffmpeg_would_take_for_something_else(tmp_path, name):
    assert write(tmp_path / name, frames_of(2)).stat().st_size > 500


def test_gif_loops_at_the_right_speed(tmp_path):
    with Image.open(write(tmp_path / "x.gif", frames_of(6), fps=40)) as gif:
        assert gif.n_frames == 6
        assert gif.info["loop"] == 0
        durations = []
        for index, expected in enumerate(frames_of(6)):
            gif.seek(index)
            durations.append(gif.info["duration"])
            assert abs(np.asarray(gif.convert("RGB")).astype(int) - expected).mean() < 3
    assert sum(durations) == 150
    assert set(durations) == {20, 30}


def test_png_makes_a_folder_of_exact_frames(tmp_path):
    for count in (3, 2):
        folder = write(tmp_path / "cup.png", frames_of(count))
        assert folder == tmp_path / "cup"
        assert sorted(file.name for file in folder.iterdir()) == [f"{i:03d}.png" for i in range(count)]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "001.png")), list(frames_of(2))[1])
    assert [file.name for file in tmp_path.iterdir()] == ["cup"]


@pytest.mark.parametrize("suffix", VIDEO_FORMATS)
def test_failure_leaves_nothing_behind(tmp_path, suffix):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / f"x{suffix}", 10) as video:
        video.write(next(frames_of()))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="at least one frame"), VideoWriter(tmp_path / f"x{suffix}", 10):
        pass
    assert not list(tmp_path.iterdir())


def test_an_earlier_video_survives_a_failure(tmp_path):
    path = write(tmp_path / "x.mp4", frames_of(2))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, 10) as video:
        video.write(next(frames_of()))
        raise RuntimeError
    assert path.read_bytes() == before


def test_encoder_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(video_module._ENCODERS, ".mp4", ["-c:v", "libnothing"])
    with pytest.raises(UserError, match=r"libnothing.*choose \.gif or \.png"):
        write(tmp_path / "x.mp4", frames_of(6, 480, 640))
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: (_ for _ in ()).throw(RuntimeError("none")))
    with pytest.raises(UserError, match="no ffmpeg"):
        write(tmp_path / "x.mp4", frames_of(1))
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path):
    with pytest.raises(UserError, match=r"'\.avi'.*\.mp4"):
        VideoWriter(tmp_path / "x.avi", 10)
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "x.mp4", 0)
    good = next(frames_of())
    for bad in (good[..., :1], good[0], good.astype(np.float32), good[:0]):
        with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "x.gif", 10) as video:
            video.write(bad)
    with pytest.raises(ValueError, match="first one"), VideoWriter(tmp_path / "x.gif", 10) as video:
        video.write(good)
        video.write(good[:-2])


@pytest.mark.parametrize("kind", ["missing", "another program", "no program", "a folder"])
@pytest.mark.parametrize("check", [check_video, lambda path: write(path, frames_of(1))], ids=["before", "at work"])
def test_a_program_that_is_no_ffmpeg_is_told(tmp_path, monkeypatch, kind, check):
    program = tmp_path / "ffmpeg"
    if kind == "a folder":
        program.mkdir()
    elif kind != "missing":
        program.write_text("#!/bin/sh\nexit 0\n" if kind == "another program" else "text")
        program.chmod(0o755 if kind == "another program" else 0o644)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(UserError, match=rf"no ffmpeg to write \.mp4 \(.+\): IMAGEIO_FFMPEG_EXE={program}"):
        check(tmp_path / "out" / "x.mp4")
    check_video(tmp_path / "out" / "x.gif")
    assert not (tmp_path / "out" / "x.mp4").exists()


def test_check_makes_nothing_and_knows_what_may_be_replaced(tmp_path):
    for suffix in VIDEO_FORMATS:
        check_video(tmp_path / "new" / "deep" / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "x.png", frames_of(2))
    check_video(tmp_path / "x.png")
    (tmp_path / "x" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(letter\.txt\)"):
        check_video(tmp_path / "x.png")
    with pytest.raises(UserError, match="unknown video format"):
        check_video(tmp_path / "x.avi")
