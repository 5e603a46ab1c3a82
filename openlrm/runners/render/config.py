"""Options of `render.objaverse`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.factory.engines import ENGINES
from openlrm.factory.settings import RenderSettings


@dataclass
class RenderObjaverseConfig:
    """Options of `render.objaverse`."""

    output: str = option(help="folder of rendered objects; goes on with what is in it")
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    input: Optional[str] = option(  # noqa: UP045
        None, "3D file, folder of them, searched with its subfolders, or a list: .txt with [uid, tab,] path, .json"
    )
    objaverse: Optional[str] = option(  # noqa: UP045
        None, "list of Objaverse uids instead of input (.txt, .json), fetched with the objaverse package"
    )
    limit: Optional[int] = option(None, "the first so many objects", minimum=1)  # noqa: UP045
    workers: Optional[int] = option(  # noqa: UP045
        None, "Blender processes at a time; half of the cores without it", minimum=1
    )
    threads: int = option(2, "processor threads of each", minimum=1)
    time_limit: float = option(900.0, "seconds after which an object is given up", minimum=1)
    retry_failed: bool = option(False, "try objects again that failed twice before")
    shard: str = option("1/1", "render the i-th of n parts of the objects: i/n, counted from 1")
    engine: str = option("local", "processes of this machine, or a Ray cluster", choices=list(ENGINES))
    ray_address: Optional[str] = option(  # noqa: UP045
        None, "of the cluster; auto for the one this node belongs to; without it one is started on this machine"
    )
    val_share: float = option(0.05, "share of the objects for validation", minimum=0, maximum=1)
    licence: Optional[str] = option(None, "licence of objects whose files do not tell, for the data card")  # noqa: UP045
    source: Optional[str] = option(None, "where the objects come from, for the data card")  # noqa: UP045
    pack: Optional[str] = option(  # noqa: UP045
        None, "folder to pack the objects of the lists into as well, as MindRecord files"
    )
    finish_only: bool = option(False, "render nothing: write the lists and the data card of what is there")
    blender: Optional[str] = option(None, "Blender, or a Python with bpy; found if left out")  # noqa: UP045
    script: Optional[str] = option(None, "the Blender script; that of this package if left out")  # noqa: UP045
    dry_run: bool = option(False, "print the config, Blender's command and what there is to render, and stop")
    render: RenderSettings = option(RenderSettings, "how objects are rendered")

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            UserError: no objects or two kinds of them, or an address without a cluster.
        """
        if not self.finish_only and (self.input is None) == (self.objaverse is None):
            hint = "input=... is a folder or a list of 3D files, objaverse=... a list of uids"
            raise UserError("give either input or objaverse", hint=hint)
        if self.ray_address is not None and self.engine != "ray":
            raise UserError(f"ray_address={self.ray_address} without a cluster", hint="give engine=ray as well")
