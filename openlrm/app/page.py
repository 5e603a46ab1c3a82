"""The page: a picture in, a turntable video and a model to turn out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openlrm.app.job import Settings, run_job
from openlrm.errors import UserError
from openlrm.preprocess import BACKGROUNDS

if TYPE_CHECKING:
    import gradio as gr

    from openlrm.families.reconstructor import Reconstructor

# Files of a visitor are looked through once an hour and removed after a day.
_CLEANING = (3600, 86400)
_STEPS = ("cutting out the object", "reconstructing it", "rendering the video", "making the mesh")


def build_page(reconstructor: Reconstructor, settings: Settings, samples: list[Path]) -> gr.Blocks:
    """Lay out the page.

    Args:
        reconstructor: the model, used by one visitor at a time.
        settings: sizes of the results.
        samples: pictures to try it with.
    """
    # Read by gradio when it is imported: no word to anyone about who uses this.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio as gr

    watched = gr.Progress(track_tqdm=True)

    def generate(
        image: str | None, background: str, recentre: bool, distance: float, progress=watched
    ) -> Iterator[list]:
        if image is None:
            raise gr.Error("Give a picture first.", title="No picture", print_exception=False)
        with tempfile.TemporaryDirectory(prefix="openlrm-") as folder:
            steps = run_job(reconstructor, image, Path(folder), settings, background, recentre, distance)
            try:
                progress(0, desc=_STEPS[0])
                for number, result in enumerate(steps, 1):
                    # Files are shown once they are complete; what an earlier picture left is taken away.
                    yield [
                        str(result.picture),
                        str(result.video) if result.video else None,
                        None,
                        [str(file) for file in result.files] if number == len(_STEPS) else None,
                        " ".join(result.notes),
                    ]
                    if number < len(_STEPS):
                        progress(number / len(_STEPS), desc=_STEPS[number])
            except UserError as error:
                raise gr.Error(
                    _without_paths(error, image), title="This picture does not work", print_exception=False
                ) from error

    def find_model(files: list[str] | None) -> str | None:
        return next((file for file in files or () if file.endswith(".glb")), None)

    with gr.Blocks(title="OpenLRM", delete_cache=_CLEANING, analytics_enabled=False) as page:
        gr.Markdown(
            f"# One picture to 3D\nModel `{reconstructor.name}`, input {reconstructor.source_size} px. "
            "One object, seen from the front, works best."
        )
        with gr.Row():
            with gr.Column():
                image = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Picture")
                # Gradio's own reading reports a bad picture with its innards; ours says what is wrong with it.
                image.preprocess = lambda upload: upload and upload.path
                background = gr.Dropdown(list(BACKGROUNDS), value="auto", label="Background")
                recentre = gr.Checkbox(True, label="Centre and scale the object")
                distance = gr.Slider(1.2, 4.0, 2.0, step=0.1, label="Distance of the camera that took it")
                button = gr.Button("Generate", variant="primary")
                if samples:
                    gr.Examples([[str(path)] for path in samples], inputs=[image], label="Samples")
            with gr.Column():
                prepared = gr.Image(
                    label="What the model sees", interactive=False, format="png", buttons=["fullscreen"]
                )
                note = gr.Markdown()
            with gr.Column():
                video = gr.Video(label="Turntable", autoplay=True, loop=True, interactive=False)
                model = gr.Model3D(
                    label="Model (drag to turn)", interactive=False, clear_color=(1, 1, 1, 1), height=360
                )
                files = gr.Files(label="Downloads", interactive=False)
        inputs, outputs = [image, background, recentre, distance], [prepared, video, model, files, note]
        made = button.click(generate, inputs, outputs, show_progress_on=[video, model, files])
        # In a step of its own: a generator sends its last values twice, and the viewer of gradio 6.31 forgets to start
        # when the second comes while it is loading.
        made.success(find_model, files, model, show_progress="hidden")
    return page


def _without_paths(error: UserError, image: str) -> str:
    """The error in one line; where the server keeps the upload is nobody's business."""
    where = None if str(error.where) == image else error.where
    return str(UserError(error.what, where, error.hint))
