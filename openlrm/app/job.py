"""What the page does with one picture, step by step; knows nothing of the web."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.errors import UserError
from openlrm.preprocess import border_ratio_at, missing_for_isnet, prepare_picture
from openlrm.utils.images import save_image

if TYPE_CHECKING:
    from openlrm.families.reconstructor import Reconstructor


@dataclass(frozen=True)
class Settings:
    """Sizes of what is made.

    Attributes:
        render_size: side of the video in pixels.
        render_views: its frames.
        render_fps: frames per second.
        mesh_size: grid points a side.
        mesh_thres: density at the surface.
        mesh_texture: "atlas" or "none", see `openlrm.geometry.mesh_options.MeshSettings`.
    """

    render_size: int = 192
    render_views: int = 80
    render_fps: int = 20
    mesh_size: int = 192
    mesh_thres: float = 3.0
    mesh_texture: str = "atlas"


@dataclass
class Result:
    """What there is so far.

    Attributes:
        picture: the prepared input.
        video: the turntable.
        mesh: the model, .glb.
        files: everything to download.
        notes: sentences for the user: how the background was removed, what failed.
    """

    picture: Path | None = None
    video: Path | None = None
    mesh: Path | None = None
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_job(
    reconstructor: Reconstructor,
    image: str,
    folder: Path,
    settings: Settings,
    background: str = "auto",
    recentre: bool = True,
    source_cam_dist: float = 2.0,
) -> Iterator[Result]:
    """Make everything of a picture.

    Args:
        reconstructor: the model.
        image: path of the picture.
        folder: for the files.
        settings: sizes.
        background: see `openlrm.preprocess.prepare_picture`.
        recentre: as above.
        source_cam_dist: distance of the camera that took the picture.

    Yields:
        The same result after each step: picture, scene, video, mesh. A mesh that cannot be made is a note.

    Raises:
        UserError: a picture that cannot be used.
    """
    result = Result()
    prepared = prepare_picture(image, background, recentre, border_ratio_at(source_cam_dist))
    result.notes.append(_told(prepared.background, background))
    result.picture = _kept(result, folder / "input.png")
    save_image(result.picture, prepared.pixels)
    yield result
    scene = reconstructor(prepared.pixels, name="the picture", source_cam_dist=source_cam_dist)
    scene.save(_kept(result, folder / "scene.safetensors"))
    yield result
    video = folder / "turntable.mp4"
    scene.save(video, views=settings.render_views, size=settings.render_size, fps=settings.render_fps)
    result.video = _kept(result, video)
    yield result
    mesh = folder / "model.glb"
    try:
        scene.save(mesh, size=settings.mesh_size, threshold=settings.mesh_thres, texture=settings.mesh_texture)
        result.mesh = _kept(result, mesh)
    except UserError as error:
        result.notes.append(f"No mesh: {error}.")
    yield result


def _kept(result: Result, path: Path) -> Path:
    result.files.append(path)
    return path


def _told(done: str, wanted: str) -> str:
    """Say how the background was removed, and why not by the network."""
    ways = {
        "transparent": "The picture is cut out already; its transparency was used.",
        "keep": "The background was left as it is.",
        "rembg": "The background was removed by rembg's network.",
        "isnet": "The background was removed by an IS-Net.",
        "plain": "The background was removed by its colour",
    }
    if done != "plain":
        return ways[done]
    return f"{ways[done]}: {missing_for_isnet()}." if wanted == "auto" else f"{ways[done]}."
