"""`export.mindir`: a model -> graphs that MindSpore and MindSpore Lite load without this program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.runners.base import Runner
from openlrm.utils.logging import LEVELS, get_logger, setup_logging
from openlrm.utils.paths import atomic_dir, check_output

if TYPE_CHECKING:
    from mindspore import nn

logger = get_logger(__name__)


@dataclass
class ExportMindirConfig:
    """Options of `export.mindir`."""

    model_name: str = option(help="release folder, run folder, .ckpt file or hub id of the model")
    output: Optional[str] = option(None, "new folder for the graphs; dumps/<model>/mindir without it")  # noqa: UP045
    source_size: Optional[int] = option(  # noqa: UP045
        None, "side in pixels of the picture; what the model was trained with without it", minimum=1
    )
    points: int = option(65536, "points that the field is asked for in one call", minimum=1, maximum=1 << 24)
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))


class ExportMindir(Runner):
    """Write the graphs that a family's model is made of."""

    Config = ExportMindirConfig
    summary = (
        "Write a model as MindIR, with static shapes: graphs and weights that mindspore.load and MindSpore Lite read. "
        "An LRM becomes planes.mindir (picture and camera to planes) and field.mindir (planes and points to density "
        "and colour); graphs.json names inputs and outputs. Weights above 2 GB lie beside their graph."
    )
    examples = ("python -m openlrm.launch export.mindir model_name=MODEL output=outputs/mindir",)

    def run(self) -> int:
        """Write the folder, complete or not at all."""
        cfg = self.config
        setup_logging(cfg.logger)
        from openlrm.checkpoint import locate_model
        from openlrm.families.reconstructor import Reconstructor
        from openlrm.ops import setup_device

        located = locate_model(cfg.model_name)
        target = Path(cfg.output) if cfg.output else Path("dumps") / located.results / "mindir"
        check_output(target / "graphs.json")
        device = setup_device(cfg.device_target, 0, cfg.device_id)
        loaded = Reconstructor.load(located, cfg.source_size)
        graphs = loaded.family.graphs(loaded.model, loaded.source_size, cfg.points)
        if not graphs:
            raise UserError(f"no graphs of the family {loaded.family.name}", cfg.model_name, "export.mindir knows lrm")
        with atomic_dir(target) as folder:
            described = {name: self._write(folder, name, graph.cell, graph.inputs) for name, graph in graphs.items()}
            for name, graph in graphs.items():
                described[name] |= {"outputs": list(graph.outputs)}
            facts = {"model": loaded.name, "source_size": loaded.source_size, "made_on": device, "graphs": described}
            (folder / "graphs.json").write_text(json.dumps(facts, indent=2) + "\n")
        logger.info("wrote %s: %s", target, ", ".join(f"{name}.mindir" for name in graphs))
        return 0

    def _write(self, folder: Path, name: str, cell: nn.Cell, inputs: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        """Trace one graph with float32 inputs of the given shapes."""
        import mindspore as ms

        zeros = [ms.ops.zeros(shape, ms.float32) for shape in inputs.values()]
        ms.export(cell.set_train(False), *zeros, file_name=str(folder / name), file_format="MINDIR")
        return {"inputs": {key: list(shape) for key, shape in inputs.items()}}
