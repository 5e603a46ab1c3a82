"""`import.data`: other programs' data sets -> the project's layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging

logger = get_logger(__name__)

KINDS = (
    *("transforms", "colmap", "gobjaverse", "mvimgnet", "co3d", "omniobject3d", "zero123", "instantmesh", "mindone"),
    "rendered",
)
# Worlds without an up axis.
_WITHOUT_UP = ("colmap", "mvimgnet", "co3d")
# Objects that lie in the cube already.
_IN_THE_CUBE = ("instantmesh", "rendered")


@dataclass
class ImportDataConfig:
    """Options of `import.data`."""

    input: str = option(help="folder of one object or of many, at any depth")
    output: str = option(help="folder of objects to write; goes on with what is in it")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    kind: Optional[str] = option(None, "format of the input; found out without it", choices=list(KINDS))  # noqa: UP045
    size: int = option(512, "side of the pictures in pixels", minimum=16, maximum=4096)
    normalize: Optional[bool] = option(  # noqa: UP045
        None, "move and scale every object into the cube by what is seen of it; without it unless it lies there already"
    )
    half_side: float = option(0.8, "half side of the square that it fills then", minimum=0.1, maximum=1)
    upright: Optional[bool] = option(  # noqa: UP045
        None, "turn the world so that the cameras' mean up is +Z; without it where the format has no up axis"
    )
    flip_axes: bool = option(False, "the poses have OpenCV's axes where the format says OpenGL's, or the reverse")
    background: str = option(
        "keep",
        "how objects without masks are cut out; keep refuses them",
        choices=["auto", "keep", "plain", "rembg"],
    )
    limit: Optional[int] = option(None, "the first so many objects", minimum=1)  # noqa: UP045
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


class ImportData(Runner):
    """Import object by object; one that fails does not stop the others."""

    Config = ImportDataConfig
    summary = (
        "Bring data of other programs to this layout: pictures with alpha, cropped around the object, poses in "
        "OpenGL's axes, objects in the cube [-1, 1]^3. Every object is checked; the exit code is 2 when some failed."
    )
    examples = (
        "python -m openlrm.launch import.data input=captures output=data/captures",
        "python -m openlrm.launch import.data kind=mvimgnet input=MVImgNet output=data/mvimgnet size=256",
    )

    def run(self) -> int:
        """Import; a user's error when some objects failed."""
        from tqdm import tqdm

        from openlrm.datasets.readers.table import list_objects
        from openlrm.factory.importer import RECORD, import_capture
        from openlrm.utils.paths import check_output

        cfg = self.config
        setup_logging(cfg.logger)
        source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
        if output.resolve().is_relative_to(source.resolve()):
            raise UserError("the output lies in the input", output, "choose another output")
        kind, objects = list_objects(source, cfg.kind)
        check_output(output / "meta.json")
        logger.info("%s: %d objects of kind %s", source, len(objects), kind)
        settings, done, failed = self._settings(kind), [], 0
        for uid, read in tqdm(objects[: cfg.limit], "import", unit="object", disable=None):
            folder = output / uid
            try:
                if not (folder / RECORD).is_file():
                    import_capture(read(), folder, settings, kind)
                    self._check(output, uid)
                done.append(uid)
            except UserError as error:
                if len(objects) == 1:
                    raise
                logger.error("%s: %s", uid, error)
                failed += 1
        if done:
            self._write_list(output, done)
        if failed:
            raise UserError(f"{failed} of {len(done) + failed} objects failed", source, "the lines above say why")
        return 0

    def _settings(self, kind: str) -> object:
        from openlrm.factory.importer import ImportSettings

        cfg = self.config
        return ImportSettings(
            size=cfg.size,
            normalize=kind not in _IN_THE_CUBE if cfg.normalize is None else cfg.normalize,
            half_side=cfg.half_side,
            upright=kind in _WITHOUT_UP if cfg.upright is None else cfg.upright,
            flip_axes=cfg.flip_axes,
            background=cfg.background,
        )

    @staticmethod
    def _check(output: Path, uid: str) -> None:
        """Say what `check.data` would."""
        from openlrm.datasets.inspection import inspect_object

        report = inspect_object(output, uid)
        for problem in report.problems:
            hint = "; flip_axes=true takes them so" if problem.kind == "axes" and "OpenCV" in problem.text else ""
            logger.warning("%s: %s%s", uid, problem.text, hint)
        fit = "" if report.agreement is None else f", poses fit silhouettes: {report.agreement:.2f} of 1"
        logger.info("%s: %d views%s", uid, report.views, fit)

    @staticmethod
    def _write_list(output: Path, uids: list[str]) -> None:
        from openlrm.datasets.objaverse import read_uids
        from openlrm.utils.paths import atomic_path

        meta = output / "meta.json"
        listed = read_uids(meta) if meta.is_file() else []
        with atomic_path(meta) as temporary:
            temporary.write_text(json.dumps(list(dict.fromkeys([*listed, *uids])), indent=1) + "\n", encoding="utf-8")
        logger.info("wrote %s: %d objects", meta, len(set(listed) | set(uids)))
