"""Fuzz a reader for as long as you like, guided by the lines it reaches (needs `pip install atheris`):

    python tests/security/fuzz_readers.py READER CORPUS_FOLDER -max_total_time=600

Whatever is not read ends in UserError; anything else stops the run and leaves the file that did it.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["openlrm", "PIL", "numpy.lib.format"]):
    import numpy.lib.format
    from PIL import Image

    from openlrm.checkpoint.ckpt import read_ckpt, write_ckpt
    from openlrm.checkpoint.files import read_tensors, write_safetensors
    from openlrm.config import load_config
    from openlrm.datasets.mindrecord import _read_index, open_pack
    from openlrm.datasets.objaverse import load_array, read_uids
    from openlrm.errors import UserError
    from openlrm.families.lrm import LRMConfig
    from openlrm.families.lrm.options import TrainLRMConfig
    from openlrm.runners.infer.config import InferConfig
    from openlrm.utils.images import load_image

from openlrm.cameras import intrinsics_from_pixels, validate_pose

REPO = Path(__file__).resolve().parents[2]


def camera(path: Path) -> None:
    for check in (validate_pose, intrinsics_from_pixels):
        with contextlib.suppress(UserError):
            assert np.isfinite(check(load_array(path))).all()


def config(path: Path) -> None:
    for schema in (TrainLRMConfig, InferConfig):
        load_config(schema, [path])


def model_config(path: Path) -> None:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    if isinstance(values, dict):
        LRMConfig.from_dict(values).check_size()


def pack(path: Path) -> None:
    _read_index.cache_clear()
    open_pack(path.parent)


def tensors(path: Path) -> None:
    read_tensors(path)


READERS = {
    "ckpt": ("a.ckpt", read_ckpt),
    "safetensors": ("a.safetensors", tensors),
    "image": ("a.png", load_image),
    "camera": ("a.npy", camera),
    "config": ("a.yaml", config),
    "model_config": ("config.json", model_config),
    "uids": ("meta.json", read_uids),
    "pack": ("pack.json", pack),
}


def seed(reader: str, corpus: Path) -> None:
    """Good files to begin with."""
    corpus.mkdir(parents=True, exist_ok=True)
    arrays = {"w": np.ones((2, 3), np.float32), "step": np.array(3), "on": np.array([True])}
    if reader == "ckpt":
        write_ckpt(corpus / "a.ckpt", arrays)
    elif reader == "safetensors":
        write_safetensors(corpus / "a.safetensors", arrays)
    elif reader == "image":
        for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGBA")):
            Image.new(mode, (5, 4)).save(corpus / f"{kind}{mode}", kind)
    elif reader == "camera":
        for name, array in (("pose", np.eye(4)[:3]), ("intrinsics", np.ones((3, 2)))):
            stream = io.BytesIO()
            np.save(stream, array)
            (corpus / name).write_bytes(stream.getvalue())
    elif reader == "config":
        for path in (REPO / "configs").glob("*.yaml"):
            (corpus / path.name).write_bytes(path.read_bytes())
    elif reader == "model_config":
        (corpus / "a").write_bytes((REPO / "openlrm" / "families" / "lrm" / "golden" / "config.json").read_bytes())
    else:
        entry = {"file": "a.mindrecord", "key": "0", "views": 2, "intrinsics": [[1, 1], [1, 1], [2, 2]]}
        text = {"format": 1, "objects": {"cup": entry}} if reader == "pack" else ["cup", "a/b"]
        (corpus / "a").write_text(json.dumps(text))


def main() -> None:
    reader, corpus, *options = sys.argv[1:]
    name, read = READERS[reader]
    seed(reader, Path(corpus))
    path = Path(tempfile.mkdtemp()) / name

    def once(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except UserError as error:
            assert "\n" not in str(error)

    atheris.Setup([sys.argv[0], corpus, *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
