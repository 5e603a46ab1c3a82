"""Blender as a renderer: engine, device, camera, and the float passes of one view."""

import tempfile
from pathlib import Path

import bpy
from blender_errors import InputError
from blender_pictures import read_exr
from mathutils import Matrix

_SENSOR = 32.0  # mm
_LATER_NAMES = {"DiffCol": "Diffuse Color", "GlossCol": "Glossy Color"}  # as they are called from 5.0 on
_GPU_ORDER = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


def set_up(options):
    """Configure the scene for all views of an object.

    Args:
        options: the script's command line.

    Returns:
        The device that renders: "CPU", a kind of GPU, or "EEVEE".

    Raises:
        InputError: the device that was asked for is not there.
    """
    scene = bpy.context.scene
    render = scene.render
    render.resolution_x = render.resolution_y = options.resolution
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1
    render.film_transparent = True
    render.use_persistent_data = True  # the scene is not prepared again for every view
    render.use_compositing = render.use_sequencer = False
    if options.threads:
        render.threads_mode, render.threads = "FIXED", options.threads
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # from 5.0 on
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.exr_codec, settings.color_depth = "OPEN_EXR_MULTILAYER", "NONE", "32"
    layer = scene.view_layers[0]
    layer.use_pass_z = "depth" in options.maps
    layer.use_pass_normal = "normal" in options.maps
    layer.use_pass_diffuse_color = layer.use_pass_glossy_color = "albedo" in options.maps
    _add_camera(options.focal)
    return _use_eevee(options.samples) if options.renderer == "eevee" else _use_cycles(options)


def use_cpu():
    """Render with Cycles on the processor from now on; returns the name of the device."""
    bpy.context.scene.cycles.device = "CPU"
    return "CPU"


def render_view(pose, seed):
    """Render one view.

    Args:
        pose: (3, 4) camera-to-world.
        seed: of the sampling.

    Returns:
        Passes as `blender_pictures.read_exr` returns them, under the names of Blender 5.
    """
    scene = bpy.context.scene
    scene.camera.matrix_world = Matrix([*pose.tolist(), [0, 0, 0, 1]])
    if hasattr(scene, "cycles"):
        scene.cycles.seed = seed % 2**31
    # Not in the output folder: Blender replaces every # of a path by the frame number.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "passes.exr"
        scene.render.filepath = str(file)
        bpy.ops.render.render(write_still=True)
        passes = read_exr(file)
    return {_LATER_NAMES.get(name, name): planes for name, planes in passes.items()}


def _add_camera(focal):
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width, data.lens = "HORIZONTAL", _SENSOR, focal * _SENSOR
    data.clip_start, data.clip_end = 0.01, 100
    camera = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera


def _use_cycles(options):
    scene = bpy.context.scene
    if "cycles" not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module="cycles")
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.samples, cycles.use_adaptive_sampling = options.samples, False
    cycles.max_bounces, cycles.transparent_max_bounces = 4, 16
    cycles.use_denoising = options.denoise
    if options.denoise:
        # ACCURATE, the default, costs more than 32 samples do and is worth half a decibel (docs/data.md).
        cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
    if options.device == "cpu":
        return use_cpu()
    preferences = bpy.context.preferences.addons["cycles"].preferences
    wanted = _GPU_ORDER if options.device == "auto" else (options.device.upper(),)
    for kind in wanted:
        try:
            found = preferences.get_devices_for_type(kind)
        except ValueError:  # a kind that this build does not know
            continue
        if any(device.type == kind for device in found):
            preferences.compute_device_type = kind
            for device in found:
                device.use = device.type == kind
            cycles.device = "GPU"
            return kind
    if options.device != "auto":
        raise InputError(f"no {options.device} device that Cycles can use: leave --device out to take what is there")
    return use_cpu()


def _use_eevee(samples):
    render = bpy.context.scene.render
    try:
        render.engine = "BLENDER_EEVEE"
    except TypeError:
        render.engine = "BLENDER_EEVEE_NEXT"  # its name from 4.2 to 4.5
    bpy.context.scene.eevee.taa_render_samples = samples
    return "EEVEE"
