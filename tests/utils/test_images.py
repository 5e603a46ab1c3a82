import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from openlrm.errors import UserError
from openlrm.utils.images import (
    cubic_taps,
    load_image,
    load_pixels,
    load_rgba,
    load_rgba8,
    pad_to_square,
    resize_bicubic,
    save_image,
)
from openlrm.utils.picture_kinds import read_suffixes

GOLDEN = Path(__file__).parents[1] / "golden" / "lpips.npz"
RNG = np.random.default_rng(0)


def png(width, height, depth, colour, rows, extra=b""):
    """Write a PNG by its definition, for kinds Pillow does not save."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def saved(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_rgb_as_is(tmp_path):
    pixels = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    loaded = load_image(saved(tmp_path, Image.fromarray(pixels)))
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, pixels / np.float32(255))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_becomes_white(tmp_path, suffix):
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), f"x.{suffix}", lossless=True, exact=True)
    opaque = np.array([200, 100, 0]) / 255
    expected = np.stack([opaque, np.ones(3), 0.2 * opaque + 0.8])[None]
    np.testing.assert_allclose(load_image(path), expected, atol=1e-6)
    np.testing.assert_array_equal(load_rgba(path), pixels / np.float32(255))


def test_kinds_of_grey_and_palette(tmp_path):
    grey = np.array([[0, 51, 255]], np.uint8)
    expected = np.repeat((grey / 255)[..., None], 3, axis=-1)
    for mode in ("L", "P", "LA", "CMYK"):
        name = "x.jpg" if mode == "CMYK" else "x.png"
        loaded = load_image(saved(tmp_path, Image.fromarray(grey).convert(mode), name))
        # jpeg loses a little
        np.testing.assert_allclose(loaded, expected, atol=0.05 if mode == "CMYK" else 1e-6)
    bilevel = load_image(saved(tmp_path, Image.fromarray(grey > 100)))
    np.testing.assert_array_equal(bilevel[0, :, 0], [0, 0, 1])


def test_palette_and_grey_with_a_transparent_entry(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    loaded = load_image(saved(tmp_path, palette, transparency=1))
    np.testing.assert_array_equal(loaded, [[[1, 0, 0], [1, 1, 1]]])
    loaded = load_image(saved(tmp_path, Image.fromarray(np.array([[0, 9]], np.uint8)), transparency=0))
    np.testing.assert_allclose(loaded[0, :, 0], [1, 9 / 255], atol=1e-7)


def test_sixteen_bits(tmp_path):
    deep = np.array([[0, 1000, 65535]], np.uint16)
    loaded = load_image(saved(tmp_path, Image.fromarray(deep)))
    np.testing.assert_allclose(loaded[..., 1], deep / 65535, atol=1e-7)
    assert loaded.shape == (1, 3, 3)

    transparent = struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", 1000)
    transparent += struct.pack(">I", zlib.crc32(transparent[4:]))
    (tmp_path / "t.png").write_bytes(png(3, 1, 16, 0, b"\0" + deep.astype(">u2").tobytes(), transparent))
    np.testing.assert_allclose(load_image(tmp_path / "t.png")[0, :, 0], [0, 1, 1], atol=1e-7)

    # Pillow keeps the high byte of deep colour.
    rgba = RNG.integers(0, 65536, (2, 2, 4), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgba)
    (tmp_path / "d.png").write_bytes(png(2, 2, 16, 6, rows))
    np.testing.assert_allclose(load_rgba(tmp_path / "d.png"), rgba / 65535, atol=1 / 255)


def test_exif_rotation(tmp_path):
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise for viewing
    loaded = load_image(saved(tmp_path, Image.fromarray(pixels), exif=exif))
    assert loaded.shape == (4, 2, 3)
    assert loaded[0, 1].tolist() == [1, 1, 1]
    assert loaded.sum() == 3


def test_first_frame_of_an_animation(tmp_path):
    first, second = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    path = saved(tmp_path, first, save_all=True, append_images=[second])
    assert load_image(path)[0, 0].tolist() == [1, 0, 0]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_refused(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    jpeg = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    bad = {
        "cut.png": (whole.getvalue()[:4000], "damaged"),
        "cut.jpg": (jpeg.getvalue()[:1500], "damaged"),
        "empty.png": (b"", "not a png"),
        "text.png": (b"<html>404</html>", "not a png"),
        "header.png": (whole.getvalue()[:20], "not a png|damaged"),
        "large.png": (png(11000, 10000, 8, 2, b""), "100 million"),
        "bomb.png": (png(30000, 30000, 8, 2, b""), "100 million"),
    }
    for name, (content, message) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            load_image(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(UserError, match="no such picture"):
        load_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot read"):
        load_image(tmp_path)
    with pytest.raises(UserError, match="fully transparent"):
        load_image(saved(tmp_path, Image.new("RGBA", (2, 2))))
    with pytest.raises(UserError, match="no alpha"):
        load_rgba(saved(tmp_path, Image.new("RGB", (2, 2))))


def test_pad_to_square():
    image = RNG.random((3, 6, 3), dtype=np.float32)
    padded = pad_to_square(image, 0.5)
    assert padded.shape == (6, 6, 3)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[1:4], image)
    assert (padded[[0, 4, 5]] == 0.5).all()
    np.testing.assert_array_equal(pad_to_square(image.swapaxes(0, 1), 0.5), padded.swapaxes(0, 1))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_save_then_load(tmp_path, shape, suffix):
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "deep" / f"x.{suffix}"
    save_image(path, pixels)
    loaded = load_rgba(path) if shape[-1] == 4 else load_image(path)
    wide = pixels.reshape(4, 5, -1)
    if wide.shape[-1] == 1:
        wide = wide.repeat(3, axis=-1)
    np.testing.assert_array_equal(loaded, wide / np.float32(255))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_save_rounds_and_clips(tmp_path):
    save_image(tmp_path / "x.png", np.array([[-0.5, 0.499 / 255, 0.501 / 255, 2.0]]))
    assert np.asarray(Image.open(tmp_path / "x.png")).tolist() == [[0, 0, 1, 255]]
    save_image(tmp_path / "x.JPG", np.full((8, 8, 3), 0.5))
    assert abs(load_image(tmp_path / "x.JPG") - 0.5).max() < 0.01


def test_save_refuses(tmp_path):
    with pytest.raises(UserError, match="format"):
        save_image(tmp_path / "x.bmp", np.zeros((2, 2)))
    with pytest.raises(UserError, match="transparency"):
        save_image(tmp_path / "x.jpg", np.zeros((2, 2, 4)))
    for array in (np.zeros(3), np.zeros((2, 2, 2)), np.zeros((2, 2), int), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError):
            save_image(tmp_path / "x.png", array)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("side", [56, 17])
def test_bicubic_against_golden(side):
    with np.load(GOLDEN) as golden:
        image, expected = golden["resize_in"], golden[f"resize_{side}"]
    resized = resize_bicubic(image, side)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-5)
    np.testing.assert_allclose(resize_bicubic(image[0, 0], (side, 40)).shape, (side, 40))


def test_bicubic_properties():
    image = RNG.random((2, 3, 9, 12), dtype=np.float32)
    np.testing.assert_array_equal(resize_bicubic(image, (9, 12)), image)
    corners = np.s_[..., ::100, ::70]
    np.testing.assert_allclose(resize_bicubic(image, (101, 71))[corners], image[..., ::8, ::11], atol=1e-6)
    np.testing.assert_allclose(resize_bicubic(np.full((7, 5), 0.3, np.float32), 31), 0.3, atol=1e-6)
    np.testing.assert_allclose(resize_bicubic(image, 1)[..., 0, 0], image[..., 0, 0], atol=1e-7)
    step = np.repeat(np.float32([0, 1]), 4)[None]
    assert resize_bicubic(step, (1, 50)).max() > 1.01


def test_stored_bytes_from_a_file_and_from_a_stream(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_rgba8(tmp_path / "a.png"), pixels)
    with open(tmp_path / "a.png", "rb") as stream:
        np.testing.assert_array_equal(load_rgba8(stream, "somewhere"), pixels)
    with pytest.raises(UserError, match=r"not a png, jpeg or webp picture: s3://b/a\.png"):
        load_rgba8(io.BytesIO(b"nothing"), "s3://b/a.png")
    Image.fromarray(pixels[..., :3], "RGB").save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"no alpha channel.*b\.png"):
        load_rgba8(tmp_path / "b.png")


def test_taps_are_the_rows_of_the_resize():
    line = np.random.default_rng(1).random((9, 1)).astype(np.float32)
    indices, weights = cubic_taps(9, 23, first=4, count=12)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    mixed = (weights * line[indices, 0]).sum(axis=1)
    np.testing.assert_allclose(mixed, resize_bicubic(line, (23, 1))[4:16, 0], atol=1e-6)


def profile(primaries: str) -> bytes:
    """A colour profile: sRGB's, or one whose red and green have changed places, as no picture has it by chance."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if primaries == "swapped":
        count = int.from_bytes(data[128:132], "big")
        tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
        red, green = tags[b"rXYZ"], tags[b"gXYZ"]
        data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "palette with a hole"])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_profiles_are_converted_to_srgb(tmp_path, mode, suffix):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2], pixels[2:] = (220, 40, 60), (30, 90, 200)
    image = Image.fromarray(pixels).convert("RGBA" if mode == "RGBA" else "RGB")
    options = {"icc_profile": profile("swapped"), "lossless": True}
    if mode == "RGBA":
        image.putalpha(128)
    elif mode != "RGB":
        if suffix != "png":
            return
        image = image.quantize(4)
        options |= {"transparency": image.getpixel((0, 0))} if "hole" in mode else {}
    loaded = load_pixels(saved(tmp_path, image, f"x.{suffix}", **options))
    expected = pixels[..., [1, 0, 2]] / 255
    np.testing.assert_allclose(loaded[2:, :, :3], expected[2:], atol=2 / 255)
    np.testing.assert_allclose(loaded[:2, :, :3], expected[:2], atol=2 / 255)
    if mode in ("RGBA", "palette with a hole"):
        np.testing.assert_allclose(loaded[3, 3, 3], 1 if "hole" in mode else 128 / 255)
        assert loaded[0, 0, 3] == (0 if "hole" in mode else np.float32(128 / 255))
    # sRGB's own profile changes nothing, not even by rounding.
    options["icc_profile"] = profile("sRGB")
    np.testing.assert_array_equal(
        load_pixels(saved(tmp_path, image, f"x.{suffix}", **options)),
        load_pixels(saved(tmp_path, image, f"y.{suffix}", **(options | {"icc_profile": None}))),
    )


def test_a_profile_that_is_none_is_a_warning(tmp_path, caplog):
    pixels = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for data in (b"nothing", profile("sRGB")[:100], grey):
        loaded = load_image(saved(tmp_path, Image.fromarray(pixels), icc_profile=data))
        np.testing.assert_array_equal(loaded, pixels / np.float32(255))
    assert "taken for sRGB" in caplog.text


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.gif", "x.bmp", "x.tiff", "x.avif"])
def test_other_kinds_that_pillow_reads(tmp_path, name):
    if Path(name).suffix not in read_suffixes():
        pytest.skip("this Pillow cannot read it")
    pixels = np.full((16, 12, 3), (200, 30, 60), np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / name, format="JPEG" if name in ("x.jfif", "x.jpe") else None)
    np.testing.assert_allclose(load_image(tmp_path / name), pixels / 255, atol=0.03)


def test_floats_are_no_colours(tmp_path):
    Image.fromarray(np.full((3, 3), 7.5, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"no colours \(float\)"):
        load_image(tmp_path / "x.tif")


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_exif_turn(tmp_path, turn):
    pixels = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(load_pixels(path), upright / np.float32(255))
    assert load_pixels(path, 3).shape == (3, 2, 3) if upright.shape[0] == 6 else (2, 3, 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_shrinking_is_smooth(tmp_path, channels):
    """Stripes become grey, at every phase; sampling them would give stripes again. Clear colours do not bleed."""
    pixels = np.zeros((300, 300, channels), np.float32)
    pixels[:, ::2, :3] = 1
    if channels == 4:
        pixels[..., :3], pixels[:, ::2, 3] = (1, 0, 0), 1
        pixels[:, 1::2, :3] = (0, 1, 0)
    for source in (pixels, (pixels * 255).astype(np.uint8), Image.fromarray((pixels * 255).astype(np.uint8))):
        small = load_pixels(source, 30)
        assert small.shape == (30, 30, channels)
        np.testing.assert_allclose(small[..., -1], 0.5, atol=0.02)
        if channels == 4:
            np.testing.assert_allclose(small[..., :3], np.broadcast_to([1, 0, 0], (30, 30, 3)), atol=0.01)
    assert load_pixels(pixels, 300).shape == (300, 300, channels)
    assert load_pixels(Image.new("RGB", (100_000, 2)), 50).shape == (1, 50, 3)


def test_no_memory_is_the_pictures_fault(tmp_path, monkeypatch):
    def full(image, longest=None):
        raise MemoryError

    monkeypatch.setattr("openlrm.utils.images.to_float", full)
    with pytest.raises(UserError, match=r"not enough memory for the picture: .*x\.png"):
        load_image(saved(tmp_path, Image.new("RGB", (2, 2))))
