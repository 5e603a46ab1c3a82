"""Training of the miniature model in PyTorch, for make_peer.py.

    python peer_curve.py PEER_FOLDER FOLDER float32|float64

PEER_FOLDER holds lrm_torch.py, which has the modules. FOLDER holds config.json, model.safetensors and batches.npz
(arrays with a leading axis of steps); losses.json is written there. The recipe is written out here in torch's own
parts: nothing of the project is imported. Rate, betas and TV are the published ones; decay is larger and the limit of
the norm smaller, so that both show within twenty steps.
"""

import json
import math
import sys
from pathlib import Path

RATE, WARMUP = 4e-4, 4
BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 4.0
MAX_NORM = 0.05
TV = 5e-4


def rate_of(step: int, steps: int) -> float:
    """Linear rise over WARMUP steps, then half a cosine from RATE to 0 at the last step."""
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - 1 - WARMUP)))


def groups(torch, model) -> list[dict]:
    """Decay on everything but biases, LayerNorms and the encoder's layer scales."""
    norms = [name for name, module in model.named_modules() if isinstance(module, torch.nn.LayerNorm)]
    free = {f"{name}.weight" for name in norms}
    free |= {name for name, _ in model.named_parameters() if name.endswith((".bias", ".gamma"))}
    parts = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts[name not in free].append(parameter)
    return [{"params": parts[True], "weight_decay": DECAY}, {"params": parts[False], "weight_decay": 0.0}]


def main(peer_folder: str, folder: Path, kind: str) -> None:
    """Train, and write the loss of every step."""
    sys.path.insert(0, peer_folder)
    import lrm_torch
    import numpy
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    config["encoder"] = {key: config["encoder"][key] for key in ("img_size", "embed_dim", "depth", "num_heads")}
    model = lrm_torch.LRM(**config)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    dtype = getattr(torch, kind)
    model = model.to(dtype)
    batches = {key: torch.from_numpy(array).to(dtype) for key, array in numpy.load(folder / "batches.npz").items()}
    steps, objects, views, _, region, _ = batches["render_image"].shape
    optimizer = torch.optim.AdamW(groups(torch, model), lr=RATE, betas=BETAS, eps=EPS)
    losses = []
    for step in range(steps):
        batch = {key: array[step] for key, array in batches.items()}
        planes = model.forward_planes(batch["source_image"], batch["source_camera"])
        rgb, _, _ = model.synthesizer(
            planes,
            batch["render_camera"],
            batch["render_anchors"],
            batch["render_full_resolutions"],
            batch["render_bg_colors"],
            region,
            batch["noise"].reshape(objects * views, region * region, -1, 1),
            batch["u"],
        )
        loss = ((rgb - batch["render_image"]) ** 2).mean() + TV * lrm_torch.tv(planes)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step, steps)
        optimizer.step()
        losses.append(loss.item())
    (folder / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
