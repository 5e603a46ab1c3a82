"""Make tests/golden/peer.npz: what a PyTorch program of the same model computes.

    python tests/families/lrm/make_peer.py PEER_PYTHON PEER_FOLDER

PEER_PYTHON is an interpreter with torch, numpy and safetensors; PEER_FOLDER holds lrm_torch.py. Takes some minutes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from peer_inputs import (
    REPO,
    SEEDS,
    SIZES,
    checksum,
    drawn_model,
    first_model,
    smooth_picture,
    source_record,
    summary,
    write_batches,
)

HERE = Path(__file__).resolve().parent

PLANES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import lrm_torch, numpy, torch
from safetensors.torch import load_file
folder = sys.argv[2]
config = {k: v for k, v in json.load(open(f"{folder}/config.json")).items() if k not in ("model_type", "source_size")}
model = lrm_torch.LRM(**config)
model.load_state_dict(load_file(f"{folder}/model.safetensors"))
given = numpy.load(f"{folder}/given.npz")
with torch.no_grad():
    planes = model.forward_planes(torch.from_numpy(given["image"]), torch.from_numpy(given["camera"]))
numpy.save(f"{folder}/planes.npy", planes.numpy())
"""


def main(python: str, folder: str) -> None:
    arrays = {}
    mini = json.loads((REPO / "openlrm" / "families" / "lrm" / "golden" / "config.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for kind, size in SIZES.items():
            model = drawn_model(kind)
            model.save_pretrained(scratch)
            np.savez(place / "given.npz", image=smooth_picture(size), camera=source_record())
            subprocess.run([python, "-c", PLANES, folder, scratch], check=True)
            arrays |= {f"{kind}/{key}": value for key, value in summary(np.load(place / "planes.npy")).items()}
        for seed in SEEDS:
            model = first_model(mini, seed)
            model.save_pretrained(scratch)
            write_batches(place, seed, model.synthesizer.samples)
            arrays[f"curve{seed}/weights"] = np.array(checksum(model), np.int64)
            for kind in ("float32", "float64"):
                subprocess.run([python, HERE / "peer_curve.py", folder, scratch, kind], check=True)
                arrays[f"curve{seed}/{kind}"] = np.array(json.loads((place / "losses.json").read_text()))
    np.savez_compressed(REPO / "tests" / "golden" / "peer.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
