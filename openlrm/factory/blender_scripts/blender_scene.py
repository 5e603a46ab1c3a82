"""The object in Blender: import it, find out what of it is rendered, fit it into the cube, light it."""

import math

import bpy
import numpy as np
from blender_errors import InputError
from blender_materials import prepare_materials
from blender_obj import is_former_export, undefined_materials
from blender_rest import at_rest

SUFFIXES = (".glb", ".gltf", ".fbx", ".obj", ".ply", ".stl", ".usd", ".usda", ".usdc", ".usdz")
"""Files that can be imported, in lower case."""

_SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT"}
_NO_SURFACES = {"CAMERA", "LIGHT", "LIGHT_PROBE", "SPEAKER"}
_FLAT = 1e-6  # height of a triangle over its longest side, below which it has no area in single precision
_CORRECTIONS = 3  # offsets of 1e6 units leave single precision something to correct


def clear_scene():
    """Start from nothing: no objects, no add-ons or defaults of this machine's user."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


def import_object(path, up_axis):
    """Import a file at rest and show of it what can be rendered as the object.

    Args:
        path: file with one of `SUFFIXES`.
        up_axis: "Y" or "Z" as the file has it, for obj, ply and stl, which do not tell; None takes Y for obj and Z for
            the others, and for an obj of this project from before it wrote them Y up.

    Returns:
        Warnings: kind -> text.

    Raises:
        InputError: a file of another kind, or one that Blender cannot read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"cannot import {suffix or 'a file without suffix'}: {path}. Use {', '.join(SUFFIXES)}")
    warnings, undefined = {}, set()
    if suffix == ".obj":
        undefined = undefined_materials(path)
        if up_axis is None and is_former_export(path):
            up_axis = "Z"
            warnings["axes"] = "written by an earlier version of this project: taken as Z up (--up_axis Y if it is not)"
    importer, options = _importer(suffix, up_axis)
    known = importer.get_rna_type().properties
    options = {name: value for name, value in options.items() if name in known}
    try:
        with at_rest(path):
            finished = importer(filepath=str(path), **options)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        # The last line of an importer's exception is followed by where Blender's Python was.
        reason = [line for line in lines if line and not line.startswith("Location: ")][-1]
        raise InputError(f"Blender cannot read the file: {path} ({reason.removeprefix('Error: ')})") from error
    if "FINISHED" not in finished:
        raise InputError(f"Blender cannot read the file: {path}")
    for item in bpy.data.objects:
        if item.type in _NO_SURFACES:
            # Hidden, not removed: what hangs below it keeps its place.
            item.hide_render = True
    _show_as_rendered()
    return warnings | prepare_materials(undefined)


def fit_into_cube(size):
    """Centre the object and scale it.

    Args:
        size: longest side of its bounding box afterwards, world units.

    Returns:
        {"scale": s, "offset": [x, y, z], "bounds": [[least], [greatest]]}: a point p of the file, in Blender's axes,
        is at s * p + offset; bounds are afterwards.

    Raises:
        InputError: nothing to be rendered, or numbers beyond single precision.
    """
    least, greatest = _bounds()
    extent = float((greatest - least).max())
    scale, centre = size / extent, (least + greatest) / 2
    frame = bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(frame)
    roots = [item for item in bpy.data.objects if item.parent is None and item is not frame]
    # First to the origin, then smaller: the other way round an object far away would lose its digits.
    for _ in range(_CORRECTIONS):
        bounds = _bounds()
        for root in roots:
            root.delta_location = np.array(root.delta_location) - (bounds[0] + bounds[1]) / 2
        bpy.context.view_layer.update()
    for root in roots:
        root.parent = frame
    frame.scale = [scale] * 3
    bpy.context.view_layer.update()
    least, greatest = _bounds()
    error = max(abs((greatest - least).max() - size), np.abs(least + greatest).max())
    if not error < 1e-3 * size:
        raise InputError(f"the object cannot be fitted into the cube: {extent:g} units around {centre.tolist()}")
    return {
        "scale": scale,
        "offset": (-scale * centre).tolist(),
        "bounds": [least.tolist(), greatest.tolist()],
    }


def add_lights(kind, strength, picture=None):
    """Light the scene.

    Args:
        kind: `sun`, a white sky and a sun from the upper front right; `environment`, the sky alone; `area`, three large
            lamps (key, fill, behind) and a dim sky.
        strength: factor of all light; 1 shows a white surface nearly white.
        picture: panorama (.hdr, .exr) instead of the white sky.

    Raises:
        InputError: a panorama that cannot be read.
    """
    sky = {"sun": 1.0, "environment": 1.0, "area": 0.25}[kind]
    _add_sky(sky * strength, picture)
    if kind == "sun":
        light = _add_light("SUN", (2.0, -1.5, 3.0))
        light.energy, light.angle = 2.3 * strength, math.radians(10)
    if kind == "area":
        for position, watts in (((-2.5, -3.0, 3.0), 350), ((3.5, -1.5, 1.0), 150), ((0.5, 3.5, 2.5), 250)):
            light = _add_light("AREA", position)
            light.shape, light.size, light.energy = "SQUARE", 2.5, watts * strength


def _importer(suffix, up_axis):
    """Return the operator for a suffix and the options it should get."""
    window, scene = bpy.ops.wm, bpy.ops.import_scene
    axes = {"up_axis": up_axis, "forward_axis": "NEGATIVE_Z" if up_axis == "Y" else "Y"} if up_axis else {}
    if suffix in (".glb", ".gltf"):
        # Bones are drawn as spheres, which would be rendered.
        return scene.gltf, {"disable_bone_shape": True}
    if suffix == ".fbx":
        # From 4.5 on the one written in C++ replaces the add-on.
        return (window.fbx_import if "fbx_import" in dir(window) else scene.fbx), {"use_anim": False}
    if suffix == ".obj":
        return window.obj_import, {"up_axis": "Y", "forward_axis": "NEGATIVE_Z"} | axes
    if suffix in (".ply", ".stl"):
        return (window.ply_import if suffix == ".ply" else window.stl_import), axes
    return window.usd_import, {"import_cameras": False, "import_lights": False}


def _show_as_rendered():
    """Make the viewport, which is measured, show what will be rendered."""
    bpy.context.view_layer.update()  # importers leave it stale, with None for objects that are gone
    for item in [*bpy.data.objects, *bpy.data.collections]:
        item.hide_viewport = item.hide_render
    for item in bpy.context.view_layer.objects:
        item.hide_set(False)
    layers = [bpy.context.view_layer.layer_collection]
    for layer in layers:
        layer.hide_viewport = False
        layers.extend(layer.children)
    bpy.context.view_layer.update()


def _bounds():
    """Return least and greatest coordinates, (3,) float64 each, of all faces with an area as they are rendered."""
    least, greatest = np.full(3, np.inf), np.full(3, -np.inf)
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        source = instance.object
        if source.type not in _SURFACES or not instance.show_self:
            continue
        points = _corners(source.to_mesh(), np.array(instance.matrix_world, np.float64))
        if len(points):
            least, greatest = np.minimum(least, points.min(axis=0)), np.maximum(greatest, points.max(axis=0))
        source.to_mesh_clear()
    if not (least <= greatest).all():
        raise InputError("an empty scene: the file holds no faces with an area that are rendered")
    return least, greatest


def _corners(mesh, matrix):
    """Return (N, 3) float64 corners in the world of the triangles of a mesh that have an area."""
    mesh.calc_loop_triangles()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    corners = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.vertices.foreach_get("co", points)
    mesh.loop_triangles.foreach_get("vertices", corners)
    points = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    a, b, c = points[corners.reshape(-1, 3)].transpose(1, 0, 2)
    with np.errstate(all="ignore"):
        areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        longest = np.max([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)], axis=0)
        # False for what is not finite, too.
        visible = (areas > _FLAT * longest) & np.isfinite(areas)
    return np.concatenate([a[visible], b[visible], c[visible]])


def _add_sky(strength, picture):
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    nodes = world.node_tree.nodes
    background = next(node for node in nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    background.inputs["Strength"].default_value = strength
    if picture is None:
        return
    texture = nodes.new("ShaderNodeTexEnvironment")
    try:
        texture.image = bpy.data.images.load(str(picture))
    except RuntimeError as error:
        raise InputError(f"cannot read the panorama: {picture}") from error
    if not texture.image.size[0]:
        raise InputError(f"cannot read the panorama: {picture}")
    world.node_tree.links.new(texture.outputs["Color"], background.inputs["Color"])


def _add_light(kind, position):
    """Add a lamp that shines on the origin, and return its settings."""
    light = bpy.data.lights.new(kind.lower(), kind)
    item = bpy.data.objects.new(kind.lower(), light)
    bpy.context.scene.collection.objects.link(item)
    x, y, z = position
    across = math.hypot(x, y)
    item.location = position
    # A lamp shines along its -Z: tilted by the angle from the zenith, then turned towards the position.
    item.rotation_euler = (math.atan2(across, z), 0, math.atan2(y, x) + math.pi / 2)
    return light
