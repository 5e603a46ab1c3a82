"""Measures one stage of the PyTorch peer: `PYTHON benchmarks/peer.py SCRIPT SIZE STAGE`, where PYTHON has PyTorch.

SCRIPT is the peer's file. The stages are those of `benchmarks.worker` and a training step. Its frames cost the same
whatever the field is, so one figure stands for both kinds. A mesh is 27 of its 128^3 grids, without marching cubes and
colours, a video its frames without encoding: what it really takes is more.
"""

import importlib.util
import json
import sys

from worker import FRAMES, best_of  # beside this file


def peak_gib() -> float:
    """Most memory this process has held."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM"))


def measure(script: str, size: str, stage: str) -> dict:
    """Seconds and peak memory."""
    import torch

    spec = importlib.util.spec_from_file_location("peer_model", script)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    config, source, render, region = peer.SIZES[size]
    torch.manual_seed(0)
    model = peer.LRM(**config)
    image = torch.rand(1, 3, source, source)
    pose = [1.0, 0, 0, 0, 0, 0, -1, -2, 0, 1, 0, 0]
    camera = torch.tensor([[*pose, 0.75, 0.75, 0.5, 0.5]])
    view = torch.tensor([*pose, 0, 0, 0, 1, 0.75, 0, 0.5, 0, 0.75, 0.5, 0, 0, 1])
    views = view.expand(1, 4, 25)

    def shoot(planes, count, side):
        full = torch.full((1, count, 1), float(render))
        return model.synthesizer(planes, views[:, :count], torch.zeros(1, count, 2), full, full / render, side)[0]

    if stage == "train":
        optimizer = torch.optim.AdamW(model.parameters(), 4e-4)
        target = torch.rand(1, 4, 3, region, region)

        def step():
            optimizer.zero_grad()
            planes = model.forward_planes(image, camera)
            loss = ((shoot(planes, 4, region) - target) ** 2).mean() + 5e-4 * peer.tv(planes)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return {"train": best_of(step, 2), "train_gib": peak_gib()}
    with torch.no_grad():
        if stage == "planes":
            return {"planes": best_of(lambda: model.forward_planes(image, camera), 3), "planes_gib": peak_gib()}
        planes = torch.randn(1, 3, config["triplane_dim"], config["triplane_high_res"], config["triplane_high_res"])
        if stage == "dense":
            frame = best_of(lambda: shoot(planes, 1, render), 2)
            return {"dense": frame, "synthesizer": frame, "dense_gib": peak_gib()}
        line = torch.linspace(-1, 1, 128)
        points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).view(1, -1, 3)
        frame = best_of(lambda: shoot(planes, 1, render), 2)
        grid = best_of(lambda: [model.synthesizer.query(planes, part) for part in points.split(2**20, 1)], 2)
        return {"frame": frame, "video": FRAMES * frame, "mesh": 27 * grid, "trained_gib": peak_gib()}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
