"""Render one 3D file as a training object, inside Blender or with its Python module (`pip install bpy`).

`render.objaverse` runs it for many; one by itself, in a clone:

    blender -b -P scripts/data/objaverse/blender_script.py -- --object_path cup.glb --output_dir renders
    python scripts/data/objaverse/blender_script.py --object_path cup.glb --output_dir renders

Writes `renders/cup/`: rgba/000.png ..., pose/000.npy ..., intrinsics.npy, render.json (settings, how the object was
placed, warnings), and depth/, normal/, albedo/ with `--maps`. The folder appears when it is complete; the same file,
options and seed give the same bytes. The exit code is 2, with one line, for an object that cannot be used.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

# Blender does not look beside the script for modules.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from blender_asset import read_asset, sha256
from blender_cameras import generator, make_poses, pixel_intrinsics, read_poses
from blender_errors import InputError
from blender_options import parse
from blender_pictures import mean_luminance, to_albedo8, to_depth16, to_normal8, to_rgba8, write_png

DARK, BRIGHT = 0.004, 0.8
"""Mean linear luminance of the object, in all views together, outside which the exposure is changed."""

LIFTED, LOWERED = 0.05, 0.6
"""The luminance it is changed to; a white object on white would otherwise show nothing but its outline."""

MOST_GAIN = 16.0

_signals = []  # those that have asked for the end

_NOT_SETTINGS = ("object_path", "output_dir", "uid", "overwrite", "threads", "parent", "verbose")


def render_object(options):
    """Render an object into `<output_dir>/<uid>`.

    Args:
        options: from `parse`.

    Returns:
        The folder, and what its render.json holds.

    Raises:
        InputError: the object or an option cannot be used.
    """
    uid = options.uid or options.object_path.stem
    folder = options.output_dir / uid
    if not options.object_path.is_file():
        raise InputError(f"no such file: {options.object_path}")
    if folder.exists() and not options.overwrite:
        raise InputError(f"rendered already: {folder}. Give --overwrite to replace it")
    # Bad options are told before Blender starts.
    poses = _poses(options, uid)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        record = {"uid": uid, "object": options.object_path.name, "sha256": sha256(options.object_path)}
        record["asset"] = read_asset(options.object_path)
        record |= _render(options, poses, part)
        (part / "render.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder, record


def _render(options, poses, part):
    """Fill a folder; returns what there is to tell about it."""
    try:
        import bpy
    except ImportError as error:
        raise InputError(f"no Blender ({error}): pip install bpy with Python 3.11, or run inside it") from error
    import blender_engine
    import blender_scene

    blender_scene.clear_scene()
    warnings = blender_scene.import_object(options.object_path.resolve(), options.up_axis)
    placement = blender_scene.fit_into_cube(options.object_size)
    panorama = options.environment_map and options.environment_map.resolve()
    blender_scene.add_lights(options.light, options.light_strength, panorama)
    device = blender_engine.set_up(options)
    for name in ("rgba", "pose", *options.maps):
        (part / name).mkdir()
    try:
        pictures = _render_views(options, poses, part)
    except RuntimeError:
        if device in ("CPU", "EEVEE"):
            raise
        pictures = []
    if device not in ("CPU", "EEVEE") and not _luminance(pictures):
        # An error, black or nothing: a GPU that lacks memory or a driver. Or a black object, black again.
        device = blender_engine.use_cpu()
        pictures = _render_views(options, poses, part)
    luminance = _luminance(pictures)
    if luminance is None:
        raise InputError("an empty scene: nothing to be seen in any view")
    gain, warning = _expose(luminance)
    warnings |= warning
    for view, picture in enumerate(pictures):
        write_png(part / "rgba" / f"{view:03d}.png", to_rgba8(picture, gain))
    blank = sum(mean_luminance(picture) is None for picture in pictures)
    if blank:
        warnings["blank"] = f"nothing to be seen in {blank} of {len(poses)} views"
    for view, pose in enumerate(poses):
        np.save(part / "pose" / f"{view:03d}.npy", pose)
    np.save(part / "intrinsics.npy", pixel_intrinsics(options.focal, options.resolution))
    settings = {name: _plain(value) for name, value in vars(options).items() if name not in _NOT_SETTINGS}
    return {
        "blender": bpy.app.version_string,
        "device": device,
        "gain": gain,
        "luminance": gain * luminance,
        "placement": placement,
        "settings": settings,
        "views": len(poses),
        "warnings": warnings,
    }


def _render_views(options, poses, part):
    """Write the maps of all views; returns their pictures, (H, W, 4) linear float16, colours multiplied by alpha."""
    import blender_engine

    pictures = []
    for view, pose in enumerate(poses):
        passes = blender_engine.render_view(pose, options.seed + view)
        if _signals:
            raise KeyboardInterrupt
        combined = passes["Combined"]
        name = f"{view:03d}.png"
        if "depth" in options.maps:
            write_png(part / "depth" / name, to_depth16(passes["Depth"]))
        if "normal" in options.maps:
            write_png(part / "normal" / name, to_normal8(passes["Normal"], combined[..., 3:]))
        if "albedo" in options.maps:
            colours = passes["Diffuse Color"], passes["Glossy Color"]
            write_png(part / "albedo" / name, to_albedo8(*colours, combined[..., 3:]))
        # Eleven bits of a half are enough for 8 shown, and all views are held until the exposure is known.
        pictures.append(np.clip(combined, 0, 60000).astype(np.float16))
    return pictures


def _luminance(pictures):
    """Return the mean linear luminance of the object over the views that show it; None if none does."""
    shown = [value for value in map(mean_luminance, pictures) if value is not None]
    return float(np.mean(shown)) if shown else None


def _expose(luminance):
    """Return the factor of the light for all views, which light in the scene would act as too, and warnings."""
    if DARK <= luminance <= BRIGHT:
        return 1.0, {}
    if luminance > BRIGHT:
        return LOWERED / luminance, {"exposure": f"mean luminance {luminance:.3g} lowered to {LOWERED}"}
    gain = min(MOST_GAIN, LIFTED / max(luminance, 1e-9))
    if gain * luminance < DARK:
        return gain, {"black": f"mean luminance {luminance:.2g}: black, with {gain:g} times the light too"}
    return gain, {"exposure": f"mean luminance {luminance:.3g} raised to {gain * luminance:.2g}"}


def _poses(options, uid):
    if options.camera == "file":
        return read_poses(options.camera_file)
    rng = generator(options.seed, uid)
    return make_poses(options.camera, options.views, rng, options.distance, options.height, options.level_views)


def _plain(value):
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


@contextlib.contextmanager
def _output(verbose):
    """Silence what Blender writes to both outputs; yields what the script itself writes its line to."""
    if verbose:
        yield sys.stdout, sys.stderr
        return
    own = [os.fdopen(os.dup(descriptor), "w") for descriptor in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Nothing is put back: Blender goes on writing until the process has ended.
    yield own
    for stream in own:
        stream.flush()


def _die_with(parent):
    """End when another process ends, however it does: nothing goes on rendering for nobody."""
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        try:
            os.kill(parent, 0)
        except ProcessLookupError:  # it ended before that
            os._exit(1)


def _note_signal(number, _):
    # Raised here, an exception would end up in Cycles, which drops it and leaves the view unfinished.
    _signals.append(number)


def main(argv):
    """Run the command line; returns the exit code."""
    options = parse(argv)
    _die_with(options.parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _note_signal)
    with _output(options.verbose) as (out, err):
        try:
            folder, record = render_object(options)
        except InputError as error:
            print("error:", " ".join(str(error).split()), file=err)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=err)
            return 130
        except Exception:
            traceback.print_exc(file=err)
            return 1
        for text in record["warnings"].values():
            print("warning:", text, file=err)
        print(f"wrote {folder}: {record['views']} views", file=out)
    return 0


if __name__ == "__main__":
    # Inside Blender its own arguments come first, up to "--".
    code = main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
    sys.stdout.flush()
    # Not sys.exit: in `blender -b` that is an error of the script, with a code of its own.
    os._exit(code)
