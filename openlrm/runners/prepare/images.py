"""`prepare.images`: photographs of objects -> objects cut out, centred and of one size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging
from openlrm.utils.paths import check_apart, check_output, list_images, unique_output_names

logger = get_logger(__name__)


@dataclass
class PrepareImagesConfig:
    """Options of `prepare.images`."""

    image_input: str = option(help="picture, or folder of pictures (png, jpg, webp, ...; recursive)")
    output: str = option("outputs/pictures", "folder for the results, <name of the picture>.png")
    background: str = option(
        "auto",
        "how the object is cut out; auto: by its transparency, by isnet, by rembg or by colour; keep: not at all",
        choices=["auto", "keep", "plain", "rembg", "isnet"],
    )
    recentre: bool = option(True, "centre the object in a square and scale it")
    border_ratio: float = option(0.18, "margin on each side of the object over the side", minimum=0, maximum=0.45)
    size: int = option(512, "side of a recentred picture in pixels", minimum=16, maximum=4096)
    skip_existing: bool = option(False, "leave out what is on disk already: go on after an interruption")
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


class PrepareImages(Runner):
    """Prepare picture by picture; one that fails does not stop the others."""

    Config = PrepareImagesConfig
    summary = (
        "Cut objects out of pictures, centre them and give them the size that models expect; RGBA PNG files. "
        "Plain backgrounds are removed by their colour, others by IS-Net or rembg, if one is installed."
    )
    examples = (
        "python -m openlrm.launch prepare.images image_input=photos output=photos-rgba",
        "python -m openlrm.launch prepare.images image_input=cup.jpg background=plain border_ratio=0.15",
    )

    def run(self) -> int:
        """Write the results; a user's error when some pictures failed."""
        from openlrm.preprocess import prepare_picture
        from openlrm.utils.images import save_image

        cfg = self.config
        setup_logging(cfg.logger)
        check_apart(cfg.image_input, cfg.output)
        images = list_images(cfg.image_input, [cfg.output])
        check_output(Path(cfg.output) / "picture.png")
        ways: Counter[str] = Counter()
        failed = 0
        for image, name in zip(images, unique_output_names(images, cfg.image_input), strict=True):
            path = Path(cfg.output) / f"{name}.png"
            if path.resolve() == image.resolve():
                raise UserError("the result would replace the picture it is made from", path, "choose another output")
            if cfg.skip_existing and path.is_file():
                logger.info("%s: already done", image)
                continue
            try:
                pixels, way = prepare_picture(image, cfg.background, cfg.recentre, cfg.border_ratio, cfg.size)
            except UserError as error:
                if len(images) == 1:
                    raise
                logger.error("%s", error)
                failed += 1
                continue
            save_image(path, pixels)
            ways[way] += 1
            logger.info("wrote %s (background: %s)", path, way)
        logger.info("%s", ", ".join(f"{count} x {way}" for way, count in ways.items()) or "nothing written")
        if failed:
            raise UserError(f"{failed} of {len(images)} pictures failed", cfg.image_input, "the lines above say why")
        return 0
