"""What the PyTorch peer makes of views, and how long it takes: `PYTHON benchmarks/instantmesh_peer.py ...`.

Arguments: the peer's file, a folder with config.json and model.safetensors, and GIVEN, what `benchmarks.instantmesh`
wrote. Writes peer.npz beside it and prints figures as JSON. PYTHON has PyTorch.
"""

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np


def timed(job) -> tuple[object, dict[str, float]]:
    """A job's result, and its milliseconds of the clock and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = job()
    return out, {"wall": 1000 * (time.perf_counter() - wall), "cpu": 1000 * (time.process_time() - cpu)}


def measure(script: str, folder: str, given: str) -> dict:
    """Figures of `benchmarks.instantmesh`."""
    import torch
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("peer_model", script)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    model = peer.build(json.loads((Path(folder) / "config.json").read_text()))
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    model.eval()
    with np.load(given) as arrays:
        arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    figures, found = {}, {}
    with torch.no_grad():
        planes, figures["planes"] = timed(lambda: model.forward_planes(arrays["images"], arrays["cameras"]))
        figures["planes"]["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found["planes"] = planes.numpy()
        for name, value in model.synthesizer.decoder.named_parameters():
            if f"decoder.{name}" in arrays:
                value.copy_(arrays[f"decoder.{name}"])
        if model.grid_scale is not None:
            field = arrays["field"]
            model.geometry(field)
            (vertices, faces, _, _, sdf, *_), figures["mesh"] = timed(lambda: model.geometry(field))
            found |= {"vertices": vertices.numpy(), "faces": faces.numpy(), "sdf": sdf.numpy()}
    np.savez(Path(given).with_name("peer.npz"), **found)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
