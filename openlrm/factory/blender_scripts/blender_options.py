"""The command line of the Blender script."""

import argparse
from pathlib import Path

from blender_cameras import STRATEGIES


def parse(argv):
    """Read the command line (see `--help`); argparse ends the process with code 2 when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="blender_script.py",
        description="Render one 3D file as a training object.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--object_path", type=Path, required=True, help="glb, gltf, fbx, obj, ply, stl, usd or usdz file")
    add("--output_dir", type=Path, required=True, help="folder of rendered objects")
    add("--uid", help="name of the object's folder; the file's name without suffix if left out")
    add("--overwrite", action="store_true", help="replace an object that is there already")
    add("--views", type=_positive(int), default=32, help="number of views")
    add("--resolution", type=_positive(int), default=512, help="side of the square views, pixels")
    add("--samples", type=_positive(int), default=32, help="light paths for a pixel")
    add("--seed", type=int, default=0, help="of cameras and sampling")
    add(
        "--denoise", action=argparse.BooleanOptionalAction, default=True, help="remove Cycles' noise (OpenImageDenoise)"
    )
    add("--camera", choices=STRATEGIES, default="random", help="random: the first view frontal, the others anywhere in "
        "the ranges; orbit: a circle; sphere: evenly spread; file: --camera_file")  # fmt: skip
    add("--camera_file", type=Path, help=".npy or .json with (views, 3, 4) camera-to-world, Blender's axes")
    add("--distance", type=float, nargs=2, default=(1.9, 2.6), metavar=("LEAST", "MOST"), help="of the cameras")
    add("--height", type=float, nargs=2, default=(-0.75, 1.6), metavar=("LEAST", "MOST"), help="of the cameras")
    add("--level_views", type=int, default=1, help="of camera=random: first views at height 0")
    add("--focal", type=_positive(float), default=0.75, help="focal length over image width")
    add("--object_size", type=_positive(float), default=1.6, help="longest side of the object in the cube of side 2")
    add("--up_axis", choices=("Y", "Z"), help="of obj, ply and stl files; Y for obj and Z for the others if left out")
    add("--light", choices=("sun", "environment", "area"), default="sun", help="sun: a white sky and a sun; "
        "environment: the sky alone; area: three large lamps")  # fmt: skip
    add("--light_strength", type=_positive(float), default=1.0, help="factor of all light")
    add("--environment_map", type=Path, help="panorama (.hdr, .exr) instead of the white sky")
    add("--maps", nargs="*", choices=("depth", "normal", "albedo"), default=[], help="further pictures of every view")
    add("--renderer", choices=("cycles", "eevee"), default="cycles", help="eevee needs a GPU to be fast")
    add("--device", choices=("auto", "cpu", "optix", "cuda", "hip", "metal", "oneapi"), default="auto",
        help="of Cycles; auto takes the first GPU that is there, else the CPU")  # fmt: skip
    add("--threads", type=int, default=0, help="processor threads; 0 takes all")
    add("--parent", type=int, default=0, help="process that this one must not outlive (Linux)")
    add("--verbose", action="store_true", help="let Blender print")
    options = parser.parse_args(argv)
    if (options.camera == "file") != (options.camera_file is not None):
        parser.error("--camera file and --camera_file belong together")
    if options.seed < 0 or options.threads < 0:
        parser.error("--seed and --threads are not negative")
    return options


def _positive(kind):
    def read(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"
    return read
