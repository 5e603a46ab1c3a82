"""Files that hold animations, imported at rest: as they are when nothing plays, whatever Blender's frame is."""

import contextlib
import sys
from pathlib import Path

import bpy


@contextlib.contextmanager
def at_rest(path):
    """Let the importers see a file without its animations, for the length of a `with` block.

    glTF: nodes and morph weights as the file gives them beside its animations. USD: default values, and the earliest
    sample of what has none (of everything in a module bpy without USD's own, such as 4.2). FBX has an option of its
    importer; the other kinds hold no animations.

    Args:
        path: file to be imported.
    """
    suffix = path.suffix.lower()
    if suffix in (".glb", ".gltf"):
        add_on = sys.modules["io_scene_gltf2"]
        # Its importer asks every add-on for a class of this name, itself included.
        add_on.glTF2ImportUserExtension = _NoAnimations
        try:
            yield
        finally:
            del add_on.glTF2ImportUserExtension
    elif suffix.startswith(".usd"):
        # The importer takes layers that are open from memory; the file is not touched.
        stage = _open_stage(path)
        for layer in stage.GetUsedLayers() if stage is not None else ():
            _drop_samples(layer)
        yield
        if stage is None:
            _stop_playing()
    else:
        yield


class _NoAnimations:
    """A user extension of Blender's glTF importer."""

    def gather_import_gltf_before_hook(self, gltf):
        gltf.data.animations = None


def _open_stage(path):
    """Return the stage; None without USD's own module, or for a file that is none, as the importer is going to say."""
    # The module bpy keeps Blender's own packages where Python does not look; Blender itself finds them.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = Path(bpy.utils.resource_path("LOCAL")) / "python" / "lib" / version / "site-packages"
    if str(packages) not in sys.path:
        sys.path.append(str(packages))
    try:
        from pxr import Tf, Usd
    except ImportError:
        return None
    try:
        return Usd.Stage.Open(str(path))
    except Tf.ErrorException:
        return None


def _drop_samples(layer):
    """Leave a default value of every attribute of a layer that has samples over time."""
    found = []
    layer.Traverse("/", lambda path: found.append(path) if layer.ListTimeSamplesForPath(path) else None)
    for path in found:
        attribute, times = layer.GetAttributeAtPath(path), layer.ListTimeSamplesForPath(path)
        if not attribute.HasDefaultValue():
            attribute.default = layer.QueryTimeSample(path, times[0])
        for time in times:
            layer.EraseTimeSample(path, time)


def _stop_playing():
    """Take off what moves imported objects, before Blender looks at it: they stay as they were read."""
    for armature in bpy.data.armatures:
        armature.pose_position = "REST"
    for item in bpy.data.objects:
        for constraint in [one for one in item.constraints if one.type == "TRANSFORM_CACHE"]:
            item.constraints.remove(constraint)
        for modifier in [one for one in item.modifiers if one.type == "MESH_SEQUENCE_CACHE"]:
            item.modifiers.remove(modifier)
        keys = getattr(item.data, "shape_keys", None)
        for owner in (item, item.data, keys):
            if owner is not None:
                owner.animation_data_clear()
