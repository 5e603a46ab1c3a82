"""`app`: a web page for one model."""

from __future__ import annotations

import importlib.util
import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging

logger = get_logger(__name__)


@dataclass
class AppConfig:
    """Options of `app`."""

    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    model_name: Optional[str] = option(  # noqa: UP045
        None, "release folder, run folder, .ckpt file or hub id; the demonstration model without it"
    )
    adapter: Optional[str] = option(None, "folder of a LoRA (adapter_config.json) to put onto the model")  # noqa: UP045
    source_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the encoder's input; what the model was made for without it", minimum=16
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = option(7860, "port to listen on", minimum=1, maximum=65535)
    max_upload_mb: int = option(20, "largest upload in megabytes", minimum=1)
    queue_size: int = option(8, "visitors that may wait; further ones are told to come back", minimum=1)
    samples: str = option("assets/sample_input", "folder of pictures to try, if it is there")
    render_size: int = option(192, "side in pixels of the video", minimum=8, maximum=1024)
    render_views: int = option(80, "frames of the video", minimum=1, maximum=1000)
    render_fps: int = option(20, "frames per second", minimum=1, maximum=240)
    mesh_size: int = option(192, "grid points along a side of the mesh", minimum=8, maximum=768)
    mesh_thres: float = option(3.0, "density at the surface", minimum=1e-6, maximum=1e6)
    mesh_texture: str = option(
        "atlas", "atlas: with a texture; none: a colour at each vertex", choices=["none", "atlas"]
    )
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


class App(Runner):
    """Load the model, then serve until interrupted."""

    Config = AppConfig
    summary = (
        "Serve a web page that turns uploaded pictures into 3D models. Needs: pip install 'openlrm-mindspore[app]'."
    )
    examples = (
        "python -m openlrm.launch app",
        "python -m openlrm.launch app model_name=zxhezexin/openlrm-obj-small-1.1 host=0.0.0.0 port=8080",
    )

    def run(self) -> int:
        """Serve; returns when the server has stopped."""
        cfg = self.config
        setup_logging(cfg.logger)
        if importlib.util.find_spec("gradio") is None:
            raise UserError("the page needs gradio", hint="pip install -e '.[app]'")
        _check_address(cfg.host, cfg.port)
        from openlrm.api import load_model
        from openlrm.app.job import Settings
        from openlrm.app.page import build_page
        from openlrm.geometry.mesh_options import MeshSettings
        from openlrm.utils.paths import list_images

        MeshSettings(texture=cfg.mesh_texture).check("model.glb")

        reconstructor = load_model(cfg.model_name, cfg.device_target, cfg.source_size, cfg.adapter)
        samples = list_images(cfg.samples) if Path(cfg.samples).is_dir() else []
        settings = Settings(
            cfg.render_size, cfg.render_views, cfg.render_fps, cfg.mesh_size, cfg.mesh_thres, cfg.mesh_texture
        )
        page = build_page(reconstructor, settings, samples)
        # One picture at a time: a second one would only slow down the first.
        page.queue(max_size=cfg.queue_size, default_concurrency_limit=1)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        page.launch(
            server_name=cfg.host,
            server_port=cfg.port,
            max_file_size=cfg.max_upload_mb * 2**20,
            share=False,
            show_error=False,
            quiet=True,
            footer_links=["gradio"],
            run_history=False,
            prevent_thread_lock=True,
        )
        logger.info("model %s; open http://%s:%d", reconstructor.name, cfg.host, cfg.port)
        try:
            page.block_thread()
        finally:
            page.close()
        return 0


def _check_address(host: str, port: int) -> None:
    """Try to listen there, before a model is loaded for nothing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} ({error.strerror})", hint="choose another host or port"
        ) from error
