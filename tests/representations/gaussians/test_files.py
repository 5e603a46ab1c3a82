"""Files of Gaussians: the golden ones byte for byte, back again, read by another program, damaged."""

import json
import struct

import numpy as np
import pytest
import trimesh

from openlrm.cameras import Camera, orbit
from openlrm.errors import UserError
from openlrm.representations.gaussians import Gaussians, read_gaussians, save_gaussians
from openlrm.representations.gaussians.ply import BAND_0, read_ply, save_ply

FRONT = Camera(orbit(20, 10, 1.5), (1.2, 1.2, 0.5, 0.5))


@pytest.fixture(scope="module")
def golden_dir(request):
    return request.config.rootpath / "tests" / "golden" / "geolrm"


@pytest.fixture(scope="module")
def example(golden_dir):
    with np.load(golden_dir / "splatting.npz") as golden:
        names = ("means", "scales", "rotations", "opacities", "colors")
        return Gaussians(*(golden[f"scene0_{name}"] for name in names))


def psnr(a: Gaussians, b: Gaussians) -> float:
    difference = a.render(FRONT, (64, 64))[0] - b.render(FRONT, (64, 64))[0]
    return -10 * np.log10(np.mean(np.square(difference)) + 1e-20)


def test_raw_example_byte_for_byte(golden_dir, example, tmp_path):
    save_ply(tmp_path / "x.ply", example, raw=True)
    assert (tmp_path / "x.ply").read_bytes() == (golden_dir / "example_raw.ply").read_bytes()


def test_standard_example_to_the_last_bit_of_a_logarithm(golden_dir, example, tmp_path):
    save_ply(tmp_path / "x.ply", example)
    found, wanted = (tmp_path / "x.ply").read_bytes(), (golden_dir / "example.ply").read_bytes()
    end = wanted.index(b"end_header\n") + 11
    assert found[:end] == wanted[:end] and len(found) == len(wanted)
    np.testing.assert_array_max_ulp(np.frombuffer(found[end:], "<f4"), np.frombuffer(wanted[end:], "<f4"), 1)


@pytest.mark.parametrize("name", ["example.ply", "example_raw.ply"])
def test_both_examples_are_read(golden_dir, example, name):
    found = read_ply(golden_dir / name)
    for part, wanted in zip(found.arrays(), example.arrays(), strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-6)


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".glb"])
def test_written_and_read_gives_the_same_picture(cloud, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    assert save_gaussians(path, cloud) == 100
    # .splat has 8 bits for colour, opacity and quaternions.
    assert psnr(read_gaussians(path), cloud) > (40 if suffix == ".splat" else 90)


@pytest.mark.parametrize("options", [{"raw": True}, {"layout": "full"}, {"axes": "y_down"}])
def test_other_forms_of_ply(cloud, tmp_path, options):
    save_ply(tmp_path / "x.ply", cloud, **options)
    assert psnr(read_ply(tmp_path / "x.ply", options.get("axes", "world")), cloud) > 90


def test_turned_axes(cloud, tmp_path):
    save_ply(tmp_path / "x.ply", cloud, axes="y_down")
    x, y, z = cloud.means.T
    np.testing.assert_allclose(read_ply(tmp_path / "x.ply").means, np.stack([x, -z, y], 1), atol=1e-6)


def test_full_records_hold_62_numbers(cloud, tmp_path):
    save_ply(tmp_path / "x.ply", cloud, layout="full")
    header, body = (tmp_path / "x.ply").read_bytes().split(b"end_header\n", 1)
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    assert len(body) == 100 * 62 * 4 and names[3:6] == ["nx", "ny", "nz"] and names[9] == "f_rest_0"


def test_a_splat_is_32_bytes(example, tmp_path):
    save_gaussians(tmp_path / "x.splat", example)
    content = (tmp_path / "x.splat").read_bytes()
    assert len(content) == 32 * len(example)
    assert struct.unpack_from("<6f", content) == (*example.means[0], *example.scales[0])
    assert list(content[24:27]) == np.rint(example.colors[0] * 255).astype(int).tolist()
    np.testing.assert_allclose(np.frombuffer(content[28:32], "u1") / 128 - 1, example.rotations[0], atol=0.01)


def test_the_faint_are_left_out(cloud, tmp_path):
    opacities = cloud.opacities.copy()
    opacities[:40] = 0.004
    thin = Gaussians(*cloud.arrays()[:3], opacities, cloud.colors)
    for suffix in (".ply", ".splat", ".glb"):
        assert save_gaussians(tmp_path / f"x{suffix}", thin) == 60
        assert len(read_gaussians(tmp_path / f"x{suffix}")) == 60


def test_opacities_and_scales_at_their_limits(tmp_path):
    extreme = Gaussians(np.zeros((2, 3)), [[0, 1, 2]] * 2, [[1, 0, 0, 0]] * 2, [[1], [0.5]], [[0, 0.5, 1]] * 2)
    save_ply(tmp_path / "x.ply", extreme)
    found = read_ply(tmp_path / "x.ply")
    np.testing.assert_allclose(found.opacities, [[1], [0.5]], atol=2e-6)
    np.testing.assert_allclose(found.scales, extreme.scales, atol=1e-6)


def test_no_gaussian_at_all(tmp_path):
    empty = Gaussians(*(np.zeros((0, width)) for width in (3, 3, 4, 1, 3)))
    for suffix in (".ply", ".splat"):
        assert save_gaussians(tmp_path / f"x{suffix}", empty) == 0
        assert len(read_gaussians(tmp_path / f"x{suffix}")) == 0
    with pytest.raises(UserError, match="no Gaussian"):
        save_gaussians(tmp_path / "x.glb", empty)
    assert not (tmp_path / "x.glb").exists()


def test_glb_as_the_extension_says(cloud, tmp_path):
    path = tmp_path / "x.glb"
    save_gaussians(path, cloud)
    content = path.read_bytes()
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON") and size % 4 == 0
    document = json.loads(content[20 : 20 + size])
    (primitive,) = document["meshes"][0]["primitives"]
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"] and primitive["mode"] == 0
    extension = primitive["extensions"]["KHR_gaussian_splatting"]
    assert (extension["kernel"], extension["colorSpace"]) == ("ellipse", "srgb_rec709_display")
    kinds = {name: document["accessors"][number] for name, number in primitive["attributes"].items()}
    assert {name.removeprefix("KHR_gaussian_splatting:"): kinds[name]["type"] for name in kinds} == {
        "POSITION": "VEC3", "ROTATION": "VEC4", "SCALE": "VEC3", "OPACITY": "SCALAR", "SH_DEGREE_0_COEF_0": "VEC3",
        "COLOR_0": "VEC4",
    }  # fmt: skip

    def values(name: str, width: int) -> np.ndarray:
        view = document["bufferViews"][kinds[name]["bufferView"]]
        return np.frombuffer(content, "<f4", 100 * width, 28 + size + view["byteOffset"]).reshape(100, width)

    x, y, z = cloud.means.T
    np.testing.assert_allclose(values("POSITION", 3), np.stack([x, z, -y], 1), atol=1e-6)
    assert kinds["POSITION"]["min"] == values("POSITION", 3).min(0).tolist()
    np.testing.assert_array_equal(values("KHR_gaussian_splatting:SCALE", 3), cloud.scales)
    np.testing.assert_array_equal(values("KHR_gaussian_splatting:OPACITY", 1), cloud.opacities)
    np.testing.assert_allclose(
        values("KHR_gaussian_splatting:SH_DEGREE_0_COEF_0", 3) * BAND_0 + 0.5, cloud.colors, atol=1e-6
    )


def test_a_second_reader_sees_points_in_glb(cloud, tmp_path):
    """trimesh knows no Gaussians: it shows the points that the file falls back to."""
    save_gaussians(tmp_path / "x.glb", cloud)
    (points,) = trimesh.load(tmp_path / "x.glb").geometry.values()
    assert isinstance(points, trimesh.PointCloud)
    x, y, z = cloud.means.T
    np.testing.assert_allclose(points.vertices, np.stack([x, z, -y], 1), atol=1e-6)


def test_a_second_reader_sees_points_in_ply(cloud, tmp_path):
    save_gaussians(tmp_path / "x.ply", cloud)
    np.testing.assert_allclose(trimesh.load(tmp_path / "x.ply").vertices, cloud.means, atol=1e-6)


def damaged(path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("suffix", "change", "what"),
    [
        (".ply", lambda b: b[:-1], "cut off"),
        (".ply", lambda b: b.replace(b"vertex 100", b"vertex 999999999999999999999"), "cut off"),
        (".ply", lambda b: b.replace(b"vertex 100", b"vertex -1"), "does not begin with its vertices"),
        (".ply", lambda b: b.replace(b"float opacity", b"float opaque"), "property opacity is missing"),
        (".ply", lambda b: b.replace(b"float opacity", b"float x"), "with the line 'property float x'"),
        (".ply", lambda b: b.replace(b"float opacity", b"list uchar int opacity"), "with the line"),
        (".ply", lambda b: b.replace(b"binary_little_endian", b"ascii"), "not binary"),
        (".ply", lambda b: b.replace(b"end_header", b"end_of_it"), "without an end of its header"),
        (".ply", lambda b: b"nothing" + b, "not a .ply file"),
        (".ply", lambda b: b[:-4] + struct.pack("<f", np.nan), "of Gaussian 99 are not finite"),
        (".splat", lambda b: b[:-1], "no whole records"),
        (".splat", lambda b: struct.pack("<f", np.inf) + b[4:], "cannot be"),
        (".glb", lambda b: b[:-4], "damaged"),
        (".glb", lambda b: b[:10], "damaged"),
        (".glb", lambda b: b.replace(b'"count":100', b'"count":999'), "damaged"),
        (".glb", lambda b: b.replace(b'"VEC4"', b'"VEC2"'), "damaged"),
        (".glb", lambda b: b.replace(b"KHR_gaussian_splatting", b"KHR_gaussian_splittang"), "without KHR_gaussian"),
    ],
)
def test_damaged_files(cloud, tmp_path, suffix, change, what):
    path = tmp_path / f"x{suffix}"
    save_gaussians(path, cloud)
    damaged(path, change)
    with pytest.raises(UserError, match=what):
        read_gaussians(path)


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".glb"])
def test_a_file_that_is_not_there(tmp_path, suffix):
    with pytest.raises(UserError, match="cannot read"):
        read_gaussians(tmp_path / f"no{suffix}")


def test_unknown_forms_and_options(cloud, tmp_path):
    for options, what in (({"axes": "x_up"}, "ply_axes=x_up"), ({"layout": "wide"}, "ply_layout=wide")):
        with pytest.raises(UserError, match=what):
            save_ply(tmp_path / "x.ply", cloud, **options)
    for call in (lambda: read_gaussians(tmp_path / "x.obj"), lambda: save_gaussians(tmp_path / "x.obj", cloud)):
        with pytest.raises(UserError, match=r"no form '\.obj'"):
            call()
    assert not list(tmp_path.iterdir())


def test_colours_that_change_with_the_direction_are_told_of(cloud, tmp_path, caplog):
    save_ply(tmp_path / "x.ply", cloud, layout="full")
    header, body = (tmp_path / "x.ply").read_bytes().split(b"end_header\n", 1)
    numbers = np.frombuffer(body, "<f4").reshape(100, 62).copy()
    numbers[3, 20] = 0.5
    (tmp_path / "x.ply").write_bytes(header + b"end_header\n" + numbers.tobytes())
    assert psnr(read_ply(tmp_path / "x.ply"), cloud) > 90
    assert "left out" in caplog.text
