"""Posed pictures in every form they come in: the outline that the cameras give lies on what is seen."""

import json

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import Camera, look_at
from openlrm.cameras.rigs import RIGS
from openlrm.errors import UserError
from openlrm.preprocess.posed_views import ViewOptions, read_posed_views, tells_cameras
from openlrm.utils.video import VideoWriter

SIDE = 48
LENS = np.array([1.2, 1.2, 0.5, 0.5])


def cameras(count=5, lens=LENS):
    directions = np.random.default_rng(1).normal(size=(count, 3))
    return Camera(look_at(2.6 * directions / np.linalg.norm(directions, axis=1, keepdims=True)), lens)


def write_rendered(folder, cube, width=SIDE, height=SIDE, taken=None):
    taken = cameras() if taken is None else taken
    for name in ("rgba", "pose"):
        (folder / name).mkdir(parents=True)
    fx, fy, cx, cy = taken.intrinsics[0]
    np.save(folder / "intrinsics.npy", [[fx * width, fy * height], [cx * width, cy * height], [width, height]])
    for index, camera in enumerate(taken):
        Image.fromarray(cube.picture(camera, width, height)).save(folder / "rgba" / f"{index:03d}.png")
        np.save(folder / "pose" / f"{index:03d}.npy", camera.c2w)
    return folder


def write_transforms(folder, cube, width=SIDE, height=SIDE, taken=None, **more):
    taken = cameras() if taken is None else taken
    (folder / "images").mkdir(parents=True)
    frames = []
    for index, camera in enumerate(taken):
        Image.fromarray(cube.picture(camera, width, height)).save(folder / "images" / f"{index}.png")
        matrix = np.vstack([camera.c2w, [0, 0, 0, 1]]).tolist()
        frames.append({"file_path": f"./images/{index}.png", "transform_matrix": matrix})
    fx, fy, cx, cy = (float(value) for value in taken.intrinsics[0])
    lens = {"fl_x": fx * width, "fl_y": fy * height, "cx": cx * width, "cy": cy * height, "w": width, "h": height}
    (folder / "transforms.json").write_text(json.dumps(lens | {"frames": frames} | more))
    return folder


def white(rgba):
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def misfits(cube, views):
    masks = [one[..., 3] if one.shape[2] == 4 else (1 - one.min(axis=2)) / 0.9 for one in views.pictures]
    return [cube.misfit(mask, camera) for mask, camera in zip(masks, views.cameras, strict=True)]


@pytest.mark.parametrize("write", [write_rendered, write_transforms])
@pytest.mark.parametrize(("width", "height"), [(48, 48), (60, 41), (36, 51)])
@pytest.mark.parametrize("lens", [LENS, [1.1, 1.4, 0.47, 0.56]], ids=["centred", "off-centre"])
def test_folders(write, width, height, lens, cube, tmp_path):
    taken = cameras(lens=lens)
    folder = write(tmp_path / "cup", cube, width, height, taken)
    assert tells_cameras(folder)
    views = read_posed_views(folder)
    assert len(views) == 5 and len(set(views.names)) == 5
    assert {picture.shape for picture in views.pictures} == {(max(width, height),) * 2 + (4,)}
    assert max(misfits(cube, views)) < 0.5
    np.testing.assert_array_equal(views.cameras.c2w, taken.c2w)
    # A wrong camera would be seen.
    shifted = Camera(views.cameras.c2w, views.cameras.intrinsics + np.array([0, 0, 1 / max(width, height), 0]))
    assert max(cube.misfit(p[..., 3], c) for p, c in zip(views.pictures, shifted, strict=True)) > 0.5


def test_a_file_is_as_good_as_its_folder(cube, tmp_path):
    folder = write_transforms(tmp_path / "cup", cube)
    one, other = read_posed_views(folder), read_posed_views([str(folder / "transforms.json")])
    np.testing.assert_array_equal(one.pictures, other.pictures)


def test_nerf_renders_leave_out_suffixes_and_tell_an_angle(cube, tmp_path):
    folder = write_transforms(tmp_path / "cup", cube, 60, 40, cameras(lens=[1.2, 1.8, 0.5, 0.5]))
    content = json.loads((folder / "transforms.json").read_text())
    frames = [frame | {"file_path": frame["file_path"].removesuffix(".png")} for frame in content["frames"]]
    short = {"camera_angle_x": 2 * float(np.arctan(0.5 / 1.2)), "frames": frames}
    (folder / "transforms_train.json").write_text(json.dumps(short))
    (folder / "transforms.json").unlink()
    assert max(misfits(cube, read_posed_views(folder))) < 0.5


def test_a_smaller_copy_keeps_its_camera_file(cube, tmp_path):
    folder = write_transforms(tmp_path / "cup", cube)
    content = json.loads((folder / "transforms.json").read_text())
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        content[key] *= 4
    (folder / "transforms.json").write_text(json.dumps(content))
    assert max(misfits(cube, read_posed_views(folder))) < 0.5


@pytest.mark.filterwarnings("ignore:The iteration")  # corners that no ray reaches
@pytest.mark.parametrize("fisheye", [False, True])
def test_distorted_pictures_are_undistorted(fisheye, cube, tmp_path):
    """The picture is drawn with the formula, pixel by pixel, by looking up what a pinhole sees."""
    from scipy.optimize import fsolve

    from openlrm.cameras.distortion import Distortion

    bent = {"k1": -0.5, "k2": 0.1} | ({} if fisheye else {"p1": 0.01, "p2": -0.02})
    model = {"camera_model": "OPENCV_FISHEYE" if fisheye else "OPENCV"}
    cube.corners *= 1.4  # it reaches where the lens bends
    folder = write_transforms(tmp_path / "cup", cube, **bent, **model)
    lens = Distortion((-0.5, 0.1, 0.0), (0.0, 0.0) if fisheye else (0.01, -0.02), fisheye)
    at = (np.arange(SIDE) + 0.5) / SIDE
    u, v = (one.ravel() for one in np.meshgrid((at - 0.5) / 1.2, (at - 0.5) / 1.2))
    solved = [
        fsolve(lambda p, a=a, b=b: np.array(lens.distort(*p[:, None]))[:, 0] - (a, b), (a, b))
        for a, b in zip(u, v, strict=True)
    ]
    for index, camera in enumerate(cameras()):
        points = (np.array(solved) * 1.2 + 0.5) * SIDE
        hull = cube.outline(camera, SIDE, SIDE)
        side = np.roll(hull, -1, axis=0) - hull
        inside = (np.cross(side, points[:, None] - hull) >= 0).all(axis=1).reshape(SIDE, SIDE)
        Image.fromarray(np.dstack([np.full((SIDE, SIDE, 3), 90), 255 * inside]).astype(np.uint8)).save(
            folder / "images" / f"{index}.png"
        )
    assert max(misfits(cube, read_posed_views(folder))) < 1
    for key in (*bent, *model):
        content = json.loads((folder / "transforms.json").read_text())
        (folder / "transforms.json").write_text(json.dumps({k: x for k, x in content.items() if k != key}))
    assert max(misfits(cube, read_posed_views(folder))) > 1.5, "without undistortion it does not fit"


def rig_pictures(cube, name, count, side=SIDE, **more):
    return [cube.picture(camera, side, side) for camera in RIGS[name].cameras(count, **more)]


def sheet_of(pictures, rows, columns):
    return np.vstack([np.hstack(pictures[row * columns : (row + 1) * columns]) for row in range(rows)])


def test_sheet_of_zero123plus(cube, tmp_path):
    pictures = rig_pictures(cube, "zero123plus", 6)
    Image.fromarray(white(sheet_of(pictures, 3, 2))).save(tmp_path / "sheet.png")
    views = read_posed_views(tmp_path / "sheet.png", cameras="zero123plus")
    assert max(misfits(cube, views)) < 0.5 and views.pictures[0].shape == (SIDE, SIDE, 3)
    four = read_posed_views(tmp_path / "sheet.png", cameras="zero123plus", count=4)
    assert four.names == tuple(f"tile {index}" for index in (0, 2, 4, 5))
    assert max(misfits(cube, four)) < 0.5
    again = read_posed_views(tmp_path / "sheet.png", cameras="zero123plus", count=4)
    np.testing.assert_array_equal(again.cameras.c2w, four.cameras.c2w)


def test_sheet_of_another_grid(cube):
    pictures = rig_pictures(cube, "orbit", 8, elevation=15, distance=3)
    views = read_posed_views(sheet_of(pictures, 2, 4), cameras="orbit", grid=(2, 4), elevation=15, distance=3)
    assert max(misfits(cube, views)) < 0.5 and views.pictures[0].shape == (SIDE, SIDE, 4)
    scaled = read_posed_views(sheet_of(pictures, 2, 4), cameras="orbit", grid=(2, 4), elevation=15, scale=0.75)
    np.testing.assert_allclose(scaled.cameras.c2w, views.cameras.c2w, atol=1e-6)


def test_several_files_and_a_folder_of_pictures(cube, tmp_path):
    pictures = rig_pictures(cube, "zero123plus", 6)
    files = [tmp_path / f"view-{index}.png" for index in range(8, 14)]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    views = read_posed_views(files, cameras="zero123plus")
    assert max(misfits(cube, views)) < 0.5 and views.names[0] == "view-8"
    folder = read_posed_views(tmp_path, cameras="zero123plus")
    np.testing.assert_array_equal(folder.pictures, views.pictures)  # 8, 9, 10, as people count


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_video_of_sv3d(kind, cube, tmp_path):
    with VideoWriter(tmp_path / f"turn.{kind}", 7) as video:
        for picture in rig_pictures(cube, "sv3d", 21, 96):
            video.write(white(picture))
    views = read_posed_views(tmp_path / f"turn.{kind}", cameras="sv3d", indices=[0, 7, 20])
    masks = [one.min(axis=2) < 0.8 for one in views.pictures]
    # A codec smears edges by a pixel or so; the next frame's camera is off by more.
    fits = [cube.misfit(mask.astype(float), camera) for mask, camera in zip(masks, views.cameras, strict=True)]
    assert max(fits) < 1
    with pytest.raises(UserError, match="21 pictures, but zero123plus has 6 cameras"):
        read_posed_views(tmp_path / f"turn.{kind}", cameras="zero123plus")
    with pytest.raises(UserError, match="without their cameras"):
        read_posed_views(tmp_path / f"turn.{kind}")


def test_cameras_of_a_file_for_pictures_without(cube, tmp_path):
    folder = write_transforms(tmp_path / "cup", cube)
    pictures = [np.asarray(Image.open(folder / "images" / f"{index}.png")) for index in range(5)]
    strip = np.hstack(pictures)
    views = read_posed_views(strip, cameras=folder / "transforms.json", grid=(1, 5))
    np.testing.assert_array_equal(views.cameras.c2w, read_posed_views(folder).cameras.c2w)
    assert max(misfits(cube, views)) < 0.5
    with pytest.raises(UserError, match="1 pictures, but .*transforms.json has 5 cameras"):
        read_posed_views(strip, cameras=folder / "transforms.json")


def test_every_kind_of_picture(cube, tmp_path):
    """RGB, RGBA, grey, 16 bits, a palette, turned by EXIF: the same silhouette."""
    pictures = rig_pictures(cube, "orbit", 6)
    plain = [white(picture) for picture in pictures]
    grey = plain[2].mean(axis=2)
    turned = Image.fromarray(plain[5]).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    made = [
        (Image.fromarray(plain[0]), {}),
        (Image.fromarray(pictures[1]), {}),
        (Image.fromarray(grey.astype(np.uint8)), {}),
        (Image.fromarray((plain[3].mean(axis=2) * 257).astype(np.uint16)), {}),
        (Image.fromarray(plain[4]).quantize(64), {}),
        (turned, {"exif": exif}),
    ]
    for index, (image, more) in enumerate(made):
        image.save(tmp_path / f"{index}.png", **more)
    assert max(misfits(cube, read_posed_views(tmp_path, cameras="orbit"))) < 0.5


def test_normalisation(cube, tmp_path):
    folder = write_rendered(tmp_path / "cup", cube)
    source = read_posed_views(folder, normalize="source")
    np.testing.assert_allclose(source.cameras[0].c2w[:, :3], Camera.canonical().c2w[:, :3], atol=1e-6)
    fitted = read_posed_views(folder, normalize="object")
    factor = np.linalg.norm(fitted.cameras.centers, axis=1) / 2.6
    np.testing.assert_allclose(factor, factor[0], rtol=1e-3)
    np.testing.assert_array_equal(read_posed_views(folder, scale=2).cameras.centers, 2 * cameras().centers)


def test_an_object_on_a_plain_background_is_cut_out(cube, tmp_path):
    pictures = rig_pictures(cube, "orbit", 3)
    grey = [np.where(p[..., 3:] > 127, p[..., :3], 200).astype(np.uint8) for p in pictures]
    views = read_posed_views(grey, cameras="orbit", background="plain")
    assert max(misfits(cube, views)) < 1 and views.pictures[0].shape[2] == 4


class TestBad:
    @pytest.fixture
    def folder(self, cube, tmp_path):
        return write_transforms(tmp_path / "cup", cube)

    def change(self, folder, edit):
        content = json.loads((folder / "transforms.json").read_text())
        edit(content)
        (folder / "transforms.json").write_text(json.dumps(content))

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda c: c["frames"][2].pop("transform_matrix"), r"no transform_matrix: .*\(frame 2\)"),
            (lambda c: c["frames"][1]["transform_matrix"][0].__setitem__(0, float("nan")), "NaN or infinity"),
            (lambda c: c["frames"][1].update(transform_matrix=(2 * np.eye(4)).tolist()), "last row|not orthonormal"),
            (lambda c: c["frames"][1].update(transform_matrix=np.diag([2, 2, 2, 1]).tolist()), "not orthonormal"),
            (lambda c: c["frames"][1].update(transform_matrix=np.diag([1, 1, -1, 1]).tolist()), "mirrors"),
            (lambda c: c["frames"][1].update(transform_matrix=[[1, 2], [3]]), "no matrix of numbers"),
            (lambda c: c["frames"][1].update(transform_matrix=[[1, 2], [3, 4]]), r"shape \(2, 2\)"),
            (lambda c: c["frames"][1].update(transform_matrix="here"), "no matrix of numbers"),
            (lambda c: c["frames"][1].pop("file_path"), "no file_path"),
            (lambda c: c["frames"][1].update(file_path=3), "file_path is no text"),
            (lambda c: c["frames"][1].update(file_path="images/99.png"), "no picture 'images/99.png'"),
            (lambda c: c["frames"][1].update(file_path="images/0.png"), "two cameras"),
            (lambda c: c["frames"][1].update(file_path="../../etc/passwd"), "leads out of the folder"),
            (lambda c: c["frames"][1].update(file_path="/etc/passwd"), "leads out of the folder"),
            (lambda c: c["frames"][1].update(mask_path="masks/1.png"), "no picture 'masks/1.png'"),
            (lambda c: c.pop("fl_x") and c.pop("fl_y"), "no focal length"),
            (lambda c: c.update(fl_x="long"), "fl_x is no finite number"),
            (lambda c: c.update(fl_x=10**400), "fl_x is no finite number"),
            (lambda c: c.update(fl_x=-3), "positive focal lengths"),
            (lambda c: c.update(w=96), "48 x 48, the camera file says 96 x 48"),
            (lambda c: c.update(w=0), "says 0 x 48"),
            (lambda c: c.update(camera_model="EQUIRECTANGULAR"), "EQUIRECTANGULAR"),
            (lambda c: c.update(k4=0.1), "k4"),
            (lambda c: c.update(frames=[]), "no list of frames"),
            (lambda c: c.update(frames=[3]), "no list of frames"),
        ],
    )
    def test_transforms(self, folder, edit, said):
        self.change(folder, edit)
        with pytest.raises(UserError, match=said) as caught:
            read_posed_views(folder)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"frames": "all"}', "[" * 100_000])
    def test_no_camera_file(self, folder, text):
        (folder / "transforms.json").write_text(text)
        with pytest.raises(UserError, match="no list of frames|cannot read"):
            read_posed_views(folder)

    def test_no_picture(self, folder):
        (folder / "images" / "3.png").write_bytes(b"not a picture")
        with pytest.raises(UserError, match="3.png"):
            read_posed_views(folder)

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"cameras": "zero123"}, "did you mean zero123plus"),
            ({"cameras": "zero123plus"}, "5 pictures, but zero123plus has 6 cameras"),
            ({"cameras": "nowhere.json"}, "no such camera file"),
            ({"fov": 40.0}, "fov contradicts"),
            ({"indices": [5]}, "no view 5"),
            ({"count": 6}, "6 views are wanted, there are 5"),
            ({"count": 2, "indices": [1]}, "contradict"),
            ({"normalize": "all"}, "normalize=all"),
            ({"scale": 0.0}, "scale=0"),
            ({"count": 1, "normalize": "object"}, "one view"),
        ],
    )
    def test_options(self, folder, more, said):
        with pytest.raises(UserError, match=said):
            read_posed_views(folder, ViewOptions(), **more)

    def test_paths(self, folder, tmp_path):
        with pytest.raises(UserError, match="no such picture, folder or file"):
            read_posed_views(tmp_path / "nowhere")
        with pytest.raises(UserError, match="without their cameras: .*images"):
            read_posed_views(folder / "images")
        with pytest.raises(UserError, match="nothing here tells the cameras"):
            read_posed_views(folder / "images", cameras="folder")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="no picture in the folder"):
            read_posed_views(tmp_path / "empty", cameras="orbit")
        (tmp_path / "turn.mp4").write_bytes(b"\0" * 300)
        with pytest.raises(UserError, match="cannot read the video"):
            read_posed_views(tmp_path / "turn.mp4", cameras="sv3d")

    def test_sheet_of_another_size(self):
        with pytest.raises(UserError, match="640 x 640 pixels has no 3 rows of 2 squares"):
            read_posed_views(np.ones((640, 640, 3), np.float32), cameras="zero123plus")

    def test_views_of_different_sizes_are_told(self, cube, caplog):
        pictures = rig_pictures(cube, "orbit", 2) + rig_pictures(cube, "orbit", 3, 32)[2:]
        with caplog.at_level("WARNING", "openlrm"):
            views = read_posed_views(pictures, cameras="orbit")
        assert "sides of 32, 48 pixels" in caplog.text and len(views) == 3

    @pytest.mark.parametrize("spoil", ["pose", "nan", "intrinsics", "unpaired"])
    def test_rendered(self, spoil, cube, tmp_path):
        folder = write_rendered(tmp_path / "cup", cube)
        if spoil == "unpaired":
            (folder / "pose" / "002.npy").unlink()
        elif spoil == "intrinsics":
            (folder / "intrinsics.npy").unlink()
        else:
            np.save(folder / "pose" / "002.npy", np.full((3, 4), np.nan) if spoil == "nan" else np.eye(4)[:3] * 3)
        with pytest.raises(UserError, match="002|intrinsics.npy"):
            read_posed_views(folder)


def test_a_video_cannot_name_other_files(tmp_path):
    """A playlist in a video's clothes: ffmpeg must not open what it names."""
    (tmp_path / "turn.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match="cannot read the video"):
        read_posed_views(tmp_path / "turn.mp4", cameras="sv3d")
