"""Writers of other programs' formats: one object, a cuboid, from known cameras."""

import gzip
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import Camera, look_at

V, W, H = 6, 60, 44


def poses(count=V, distance=2.6, seed=3):
    directions = np.random.default_rng(seed).normal(size=(count, 3)) * [1, 1, 0.4]
    return look_at(distance * directions / np.linalg.norm(directions, axis=1, keepdims=True))


def quaternion(rotation):
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return [w, x, y, z]


class Written:
    """A data set on disk and what it was written from.

    Attributes:
        root: folder of the set.
        folder: of the object; where the format has sequences instead of folders, that of the category.
        cameras: the true ones.
    """

    def __init__(self, root, folder, cameras, size=(W, H)):
        self.root, self.folder, self.cameras, self.size = root, folder, cameras, size


class Writer:
    def __init__(self, cube):
        self.cube = cube

    def rgba(self, camera, size=(W, H)):
        return Image.fromarray(self.cube.picture(camera, *size))

    def photo(self, camera, picture, mask, size=(W, H)):
        """A picture on grey, and its mask."""
        pixels = self.cube.picture(camera, *size)
        alpha = pixels[..., 3:] / 255
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels[..., :3] * alpha + 120 * (1 - alpha)).astype(np.uint8)).save(picture)
        if mask is not None:
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 3]).save(mask)

    def transforms(self, root, lens=(1.3, 1.3 * W / H, 0.48, 0.53)):
        cameras, folder = Camera(poses(), lens), root / "cup"
        frames = []
        for index, camera in enumerate(cameras):
            self.photo(camera, folder / "images" / f"f{index}.png", folder / "masks" / f"f{index}.png")
            matrix = np.vstack([camera.c2w, [0, 0, 0, 1]]).tolist()
            files = {"file_path": f"images/f{index}.png", "mask_path": f"masks/f{index}.png"}
            frames.append(files | {"transform_matrix": matrix})
        pixels = np.array(lens) * [W, H, W, H]
        keys = dict(zip(("fl_x", "fl_y", "cx", "cy"), pixels.tolist(), strict=True)) | {"w": W, "h": H}
        (folder / "transforms.json").write_text(json.dumps(keys | {"frames": frames}))
        return Written(root, folder, cameras)

    def omniobject3d(self, root):
        focal = 1.3
        cameras, folder = Camera(poses(), (focal, focal, 0.5, 0.5)), root / "cup_001"
        (folder / "render" / "images").mkdir(parents=True)
        frames = []
        for index, camera in enumerate(cameras):
            self.rgba(camera, (W, W)).save(folder / "render" / "images" / f"r_{index}.png")
            frames.append(
                {"file_path": f"r_{index}", "transform_matrix": np.vstack([camera.c2w, [0, 0, 0, 1]]).tolist()}
            )
        content = {"camera_angle_x": 2 * float(np.arctan(0.5 / focal)), "frames": frames}
        (folder / "render" / "transforms.json").write_text(json.dumps(content))
        return Written(root, folder, cameras, (W, W))

    def colmap(self, root, binary=False, masks="masks", at="cup"):
        cameras, folder = Camera(poses(), (1.3, 1.3 * W / H, 0.48, 0.53)), root / at
        model = folder / "sparse" / "0"
        model.mkdir(parents=True)
        rows = []
        for index, (camera, w2c) in enumerate(zip(cameras, cameras.w2c(opencv=True), strict=True)):
            mask = folder / masks / f"{index:03d}.png.png" if isinstance(masks, str) else masks / f"{index:03d}.png.png"
            self.photo(camera, folder / "images" / f"{index:03d}.png", mask)
            rows.append((index + 1, *quaternion(w2c[:3, :3]), *w2c[:3, 3].tolist(), 7, f"{index:03d}.png"))
        parameters = (np.array([1.3, 1.3 * W / H, 0.48, 0.53]) * [W, H, W, H]).tolist()
        if binary:
            (model / "cameras.bin").write_bytes(
                struct.pack("<Q", 1) + struct.pack("<iiQQ", 7, 1, W, H) + struct.pack("<4d", *parameters)
            )
            data = struct.pack("<Q", len(rows))
            for row in rows:
                data += struct.pack("<i7di", *row[:9]) + row[9].encode() + b"\0"
                data += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.5, 2.5, 1, 3.5, 4.5, -1)
            (model / "images.bin").write_bytes(data)
        else:
            (model / "cameras.txt").write_text(f"# a comment\n7 PINHOLE {W} {H} {' '.join(map(str, parameters))}\n")
            lines = [f"{' '.join(map(str, row))}\n1.5 2.5 1 3.5 4.5 -1" for row in rows[:-1]]
            # The last picture sees no points: its second line is empty.
            (model / "images.txt").write_text("\n".join(["# a comment", *lines, " ".join(map(str, rows[-1])), "", ""]))
        return Written(root, folder, cameras)

    def colmap_binary(self, root):
        return self.colmap(root, binary=True)

    def mvimgnet(self, root):
        return self.colmap(root, binary=True, masks=root / "masks" / "7" / "0a1b", at="7/0a1b")

    def gobjaverse(self, root):
        fov = 0.6911
        focal = 0.5 / np.tan(fov / 2)
        cameras, folder = Camera(poses(distance=3.2), (focal, focal, 0.5, 0.5)), root / "0" / "10010"
        for index, camera in enumerate(cameras):
            below = folder / f"{index:05d}"
            below.mkdir(parents=True)
            self.rgba(camera, (W, W)).save(below / f"{index:05d}.png")
            x, y, z, origin = camera.opencv()[:3].T.tolist()
            content = {"x": x, "y": y, "z": z, "origin": origin, "x_fov": fov, "y_fov": fov}
            (below / f"{index:05d}.json").write_text(json.dumps(content))
        return Written(root, folder, cameras, (W, W))

    def zero123(self, root):
        cameras, folder = Camera(poses(), (35 / 32, 35 / 32, 0.5, 0.5)), root / "0a1b2c"
        folder.mkdir(parents=True)
        for index, (camera, w2c) in enumerate(zip(cameras, cameras.w2c(opencv=False), strict=True)):
            self.rgba(camera, (W, W)).save(folder / f"{index:03d}.png")
            np.save(folder / f"{index:03d}.npy", w2c[:3].astype(np.float64))
        return Written(root, folder, cameras, (W, W))

    def instantmesh(self, root):
        focal = 0.5 / np.tan(np.deg2rad(25))
        cameras, folder = Camera(poses(), (focal, focal, 0.5, 0.5)), root / "cup"
        folder.mkdir(parents=True)
        for index, camera in enumerate(cameras):
            self.rgba(camera, (W, W)).save(folder / f"{index:03d}.png")
            Image.new("RGBA", (W, W)).save(folder / f"{index:03d}_normal.png")
        np.savez(folder / "cameras.npz", cam_poses=cameras.w2c(opencv=False)[:, :3])
        return Written(root, folder, cameras, (W, W))

    def mindone(self, root):
        cameras, folder = Camera(poses(), (1.1, 1.1, 0.5, 0.5)), root / "cup"
        folder.mkdir(parents=True)
        for index, camera in enumerate(cameras):
            self.rgba(camera, (W, W)).save(folder / f"{index:03d}.png")
        angles = np.zeros(V, np.float32)
        matrix = cameras[0].matrix(W, W)
        meta = [matrix, angles, angles, np.full(V, 2.6), cameras.w2c(opencv=True)[:, :3]]
        (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
        return Written(root, folder, cameras, (W, W))

    def co3d(self, root, kind="ndc_isotropic"):
        lens = np.array([1.3, 1.3 * W / H, 0.48, 0.53])
        cameras, frames = Camera(poses(), lens), []
        unit = np.full(2, min(W, H) / 2) if kind == "ndc_isotropic" else np.array([W, H]) / 2
        for index, camera in enumerate(cameras):
            name = f"cup/12_3/images/frame{index:06d}.png"
            mask = name.replace("images", "masks")
            self.photo(camera, root / name, root / mask)
            axes = camera.rotations * [-1, 1, -1]  # left, up, forward
            focal, center = lens[:2] * [W, H] / unit, ((0.5 - lens[2:]) * [W, H]) / unit
            view = {"R": axes.tolist(), "T": (-camera.centers @ axes).tolist(), "intrinsics_format": kind}
            view |= {"focal_length": focal.tolist(), "principal_point": center.tolist()}
            image = {"path": name, "size": [H, W]}
            frames.append(
                {
                    "sequence_name": "12_3",
                    "frame_number": index,
                    "image": image,
                    "mask": {"path": mask},
                    "viewpoint": view,
                }
            )
        (root / "cup" / "frame_annotations.jgz").write_bytes(gzip.compress(json.dumps(frames).encode()))
        return Written(root, root / "cup", cameras)

    def co3d_other(self, root):
        return self.co3d(root, "ndc_norm_image_bounds")


@pytest.fixture
def write(cube):
    """(name of a format, folder) -> the object written in it."""
    writer = Writer(cube)
    return lambda name, root: getattr(writer, name)(root)


@pytest.fixture
def bomb():
    """(path, name in the archive): an archive of 100 MB of zeros."""

    def make(path, name):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(100_000_000))

    return make
