"""Every reader on files written in its format from known cameras, and on files that are not right."""

import gzip
import json
import pickle
import struct

import numpy as np
import pytest

from openlrm.cameras import validate_pose
from openlrm.datasets.readers import co3d, table
from openlrm.datasets.readers.inert_pickle import read_numbers
from openlrm.datasets.readers.table import list_objects, reader_of
from openlrm.errors import UserError

WRITERS = {
    "transforms": "transforms",
    "omniobject3d": "omniobject3d",
    "colmap": "colmap",
    "colmap_binary": "colmap",
    "mvimgnet": "mvimgnet",
    "gobjaverse": "gobjaverse",
    "zero123": "zero123",
    "instantmesh": "instantmesh",
    "mindone": "mindone",
    "co3d": "co3d",
    "co3d_other": "co3d",
}


def only(written, kind=None):
    found, objects = list_objects(written.root, kind)
    ((uid, read),) = objects
    return found, uid, read


@pytest.mark.parametrize("name", WRITERS)
def test_corners_land_on_the_silhouette(name, write, cube, tmp_path):
    written = write(name, tmp_path / "set")
    kind, uid, read = only(written)
    assert kind == WRITERS[name]
    assert uid == ("cup/12_3" if kind == "co3d" else written.folder.relative_to(written.root).as_posix())
    assert only(written, kind)[1] == uid
    capture = read()
    assert len(capture) == len(written.cameras)
    for view, camera, true in zip(capture.views, capture.cameras, written.cameras, strict=True):
        pixels = view.read()
        assert pixels.shape == (*written.size[::-1], 4)
        assert cube.misfit(pixels[..., 3], camera) < 0.5
        np.testing.assert_allclose(camera.c2w, true.c2w, atol=2e-6)
        np.testing.assert_allclose(camera.intrinsics, true.intrinsics, atol=2e-6)
        validate_pose(camera.c2w)


@pytest.mark.parametrize("name", WRITERS)
def test_an_object_is_found_by_its_folder(name, write, tmp_path):
    written = write(name, tmp_path / "set")
    read = reader_of(written.folder)
    if name.startswith("co3d"):
        assert read is None  # a category, not an object
    else:
        assert len(read(written.folder)) == len(written.cameras)


def test_kinds(tmp_path, write):
    with pytest.raises(UserError, match="did you mean colmap"):
        list_objects(tmp_path, "colmpa")
    with pytest.raises(UserError, match="no such folder"):
        list_objects(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no object of a kind we read"):
        list_objects(tmp_path)
    write("zero123", tmp_path)
    with pytest.raises(UserError, match="no object of gobjaverse"):
        list_objects(tmp_path, "gobjaverse")
    assert all(hasattr(table._module(kind), "found") for kind in table.KINDS)


def test_golden_of_gobjaverse(shared_dir):
    golden = shared_dir / "golden" / "geolrm"
    (_, read) = list_objects(golden / "gobjaverse", "gobjaverse")[1][0]
    with np.load(golden / "golden.npz") as arrays:
        np.testing.assert_allclose(read().cameras.c2w, arrays["gobjaverse_c2w"][:, :3], atol=2e-6)
        np.testing.assert_allclose(read().cameras.matrix(), arrays["gobjaverse_K"], atol=2e-6)


def refuses(written, said):
    with pytest.raises(UserError, match=said) as caught:
        for _, read in list_objects(written.root)[1]:
            for view in read().views:
                view.read()
    assert "\n" not in str(caught.value)


class TestColmap:
    def edit(self, written, name, old, new):
        file = written.folder / "sparse" / "0" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    @pytest.mark.parametrize(
        ("name", "old", "new", "said"),
        [
            ("cameras.txt", "PINHOLE", "FOV", "camera model FOV is not read"),
            ("cameras.txt", "PINHOLE", "MAGIC", "camera model MAGIC is not read"),
            ("cameras.txt", "PINHOLE", "OPENCV", "damaged, or of another version"),
            ("cameras.txt", " 60 44 ", " 44 60 ", "the picture is 60 x 44, its camera says 44 x 60"),
            ("cameras.txt", " 60 44 ", " 0 44 ", "damaged"),
            ("cameras.txt", "7 PINHOLE", "8 PINHOLE", "has camera 7, which there is not"),
            ("images.txt", "001.png", "../../x.png", "leads out of the folder"),
            ("images.txt", "001.png", "100.png", "no picture '100.png'"),
            ("images.txt", "7 001.png", "7", "damaged"),
            ("images.txt", "\n1 ", "\n1 nan ", "NaN|damaged"),
        ],
    )
    def test_bad_text(self, name, old, new, said, write, tmp_path):
        written = write("colmap", tmp_path)
        self.edit(written, name, old, new)
        refuses(written, said)

    def test_bad_rotation(self, write, tmp_path):
        written = write("colmap", tmp_path)
        (written.folder / "sparse/0/images.txt").write_text("1 2 0 0 0 0 0 0 7 000.png\n\n")
        refuses(written, "quaternion has length 2, not 1")

    @pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
    @pytest.mark.parametrize("keep", [0, 7, 30, -5])
    def test_bad_binary(self, name, keep, write, tmp_path):
        written = write("colmap_binary", tmp_path)
        file = written.folder / "sparse/0" / name
        data = file.read_bytes()
        file.write_bytes(data[:keep] if (name, keep) != ("images.bin", -5) else data[:-60] + b"\xff" * 8)
        refuses(written, "damaged|no images")

    def test_an_endless_count_ends(self, write, tmp_path):
        written = write("colmap_binary", tmp_path)
        (written.folder / "sparse/0/images.bin").write_bytes(struct.pack("<Q", 2**60))
        refuses(written, "damaged")

    def test_a_mask_is_missing(self, write, tmp_path):
        written = write("colmap", tmp_path)
        (written.folder / "masks" / "002.png.png").unlink()
        refuses(written, "no mask of 002.png")

    def test_a_mask_of_another_size(self, write, tmp_path, cube):
        from PIL import Image

        written = write("colmap", tmp_path)
        Image.new("L", (10, 10)).save(written.folder / "masks" / "002.png.png")
        refuses(written, "the mask is 10 x 10, its picture 60 x 44")


class TestArchives:
    def test_a_camera_file_of_another_version(self, write, tmp_path):
        written = write("instantmesh", tmp_path)
        np.savez(written.folder / "cameras.npz", poses=np.zeros((6, 3, 4)))
        refuses(written, "no cam_poses in the archive but poses.npy")

    def test_a_camera_is_missing(self, write, tmp_path):
        written = write("instantmesh", tmp_path)
        np.savez(written.folder / "cameras.npz", cam_poses=written.cameras.w2c(opencv=False)[:4, :3])
        refuses(written, "no camera for 005.png")

    def test_matrices_of_4_x_4(self, write, tmp_path):
        written = write("instantmesh", tmp_path)
        np.savez(written.folder / "cameras.npz", cam_poses=written.cameras.w2c(opencv=False))
        np.testing.assert_allclose(only(written)[2]().cameras.c2w, written.cameras.c2w, atol=2e-6)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda w2c: w2c * [1, 1, np.nan, 1], "NaN"),
            (lambda w2c: w2c * [1, 1, -1, 1], r"mirrors.*camera 0"),
            (lambda w2c: w2c * 2, "not orthonormal"),
            (lambda w2c: w2c[:, :2], r"shape \(6, 2, 4\)"),
            (lambda w2c: w2c.astype(str), "real numbers"),
        ],
    )
    def test_poses_that_are_none(self, spoil, said, write, tmp_path):
        written = write("instantmesh", tmp_path)
        np.savez(written.folder / "cameras.npz", cam_poses=spoil(written.cameras.w2c(opencv=False)[:, :3]))
        refuses(written, said)

    def test_bombs(self, write, bomb, tmp_path, monkeypatch):
        written = write("instantmesh", tmp_path / "a")
        bomb(written.folder / "cameras.npz", "cam_poses.npy")
        refuses(written, "too large for cameras")
        monkeypatch.setattr(co3d, "_MAX_BYTES", 1 << 20)
        written = write("co3d", tmp_path / "b")
        (written.folder / "frame_annotations.jgz").write_bytes(gzip.compress(bytes(50_000_000)))
        refuses(written, "unpacks to more than 1 MiB")

    def test_no_archives(self, write, tmp_path):
        written = write("instantmesh", tmp_path / "a")
        (written.folder / "cameras.npz").write_bytes(b"PK\3\4 and so on")
        refuses(written, "not a usable .npz file")
        written = write("co3d", tmp_path / "b")
        (written.folder / "frame_annotations.jgz").write_bytes(b"no gzip")
        refuses(written, "cannot read the annotations")


class Bomb:
    def __reduce__(self):
        return (print, ("it ran",))


class TestPickles:
    def test_numbers_come_back(self):
        values = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3, 4, dtype=np.float32)), 1.5, (2, "a")]
        values += [np.float64(2.5), {"k": np.array([1], ">i4")}]
        for protocol in range(5):
            back = read_numbers(pickle.dumps(values, protocol))
            np.testing.assert_array_equal(back[0], values[0])
            np.testing.assert_array_equal(back[1], values[1])
            assert back[2:5] == values[2:5] and back[5]["k"].tolist() == [1]

    @pytest.mark.parametrize("value", [Bomb(), [np.eye(3), Bomb()], np.array([Bomb()], object), print])
    def test_code_does_not_run(self, value, write, tmp_path, capsys):
        written = write("mindone", tmp_path)
        (written.folder / "meta.pkl").write_bytes(pickle.dumps(value))
        refuses(written, "it would call|no numbers")
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        ("meta", "said"),
        [
            ([1, 2], "no list of five"),
            ({}, "no list of five"),
            ([np.eye(4), 0, 0, 0, np.zeros((6, 3, 4))], r"K has shape \(4, 4\)"),
            ([np.eye(3), 0, 0, 0, np.zeros((6, 3, 4))], "not orthonormal"),
            ([np.zeros((3, 3)), 0, 0, 0, np.zeros((6, 3, 4))], "positive focal lengths"),
        ],
    )
    def test_other_contents(self, meta, said, write, tmp_path):
        written = write("mindone", tmp_path)
        (written.folder / "meta.pkl").write_bytes(pickle.dumps(meta))
        refuses(written, said)

    def test_damaged(self, write, tmp_path):
        written = write("mindone", tmp_path)
        data = (written.folder / "meta.pkl").read_bytes()
        for keep in (0, 10, len(data) // 2, len(data) - 3):
            (written.folder / "meta.pkl").write_bytes(data[:keep])
            refuses(written, "cannot use the pickle")


class TestOthers:
    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda c: c.pop("x_fov"), "not a camera of GObjaverse.*x_fov"),
            (lambda c: c.update(x_fov=4), "field of view"),
            (lambda c: c.update(x=[1, 2]), "not a camera of GObjaverse"),
            (lambda c: c.update(x=[float("nan"), 0, 0]), "NaN"),
            (lambda c: c.update(x=[-value for value in c["x"]]), "mirrors"),
        ],
    )
    def test_gobjaverse(self, edit, said, write, tmp_path):
        written = write("gobjaverse", tmp_path)
        file = written.folder / "00002" / "00002.json"
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))
        refuses(written, said)

    def test_gobjaverse_files_are_missing(self, write, tmp_path):
        written = write("gobjaverse", tmp_path)
        (written.folder / "00002" / "00002.json").unlink()
        refuses(written, "no such camera file")
        (written.folder / "00001" / "00001.png").unlink()
        refuses(written, "no picture of the view")

    def test_zero123(self, write, tmp_path):
        written = write("zero123", tmp_path)
        np.save(written.folder / "002.npy", np.zeros((3, 3)))
        refuses(written, r"shape \(1, 3, 3\)")
        (written.folder / "002.npy").unlink()
        refuses(written, "no camera for 002.png")

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda f: f.pop("viewpoint"), "not a frame of CO3D v2.*viewpoint"),
            (lambda f: f.update(viewpoint=None), "not a frame of CO3D v2"),
            (lambda f: f["viewpoint"].update(R=[[1, 0], [0, 1]]), r"R has shape \(2, 2\)"),
            (lambda f: f["viewpoint"].update(R=np.diag([1, 1, -1]).tolist()), "mirrors"),
            (lambda f: f["viewpoint"].update(T=["a", "b", "c"]), "T must be real numbers"),
            (lambda f: f["viewpoint"].update(intrinsics_format="pixels"), "'pixels' is not known"),
            (lambda f: f["viewpoint"].update(focal_length=[0, 1]), "positive focal lengths"),
            (lambda f: f["image"].update(path="cup/none.png"), "no picture 'cup/none.png'"),
            (lambda f: f["image"].update(path="../cup.png"), "leads out of the folder"),
            (lambda f: f.pop("sequence_name"), "without sequence_name"),
        ],
    )
    def test_co3d(self, edit, said, write, tmp_path):
        written = write("co3d", tmp_path)
        file = written.folder / "frame_annotations.jgz"
        frames = json.loads(gzip.decompress(file.read_bytes()))
        edit(frames[2])
        file.write_bytes(gzip.compress(json.dumps(frames).encode()))
        refuses(written, said)
