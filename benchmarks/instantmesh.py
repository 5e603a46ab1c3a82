"""InstantMesh at full size beside the PyTorch peer: `python -m benchmarks.instantmesh --peer-python PATH KIND ...`.

KIND is nerf-base, nerf-large, mesh-base or mesh-large. The peer writes random weights in the released form, Lightning's
.ckpt, which is read here; both make planes of the same views, and, for mesh kinds, a mesh of a field that looks like
an object's. Prints the differences and the times, one run each, and adds them to benchmarks/instantmesh.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.instantmesh_peer import timed
from benchmarks.run import machine
from benchmarks.worker import REPO

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "shared" / "peer" / "instantmesh_torch.py"
KINDS = ("nerf-base", "nerf-large", "mesh-base", "mesh-large")
# Share of the cube that is inside, and the spread of the distances.
_INSIDE, _SPREAD = 0.1, 5.0


def write_given(kind: str, views: int, folder: Path) -> None:
    """Views, cameras, and for mesh kinds planes with a last layer whose surface holds a tenth of the cube."""
    from mindspore import Tensor
    from scipy.ndimage import zoom

    from openlrm.cameras.rigs import RIGS
    from openlrm.checkpoint import locate_model, read_tensors
    from openlrm.families import find_family
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    rng = np.random.default_rng(0)
    rig = RIGS["zero123plus" if views == 6 else "sv3d"]
    given = {
        "images": rng.random((1, views, 3, 320, 320), np.float32),
        "cameras": rig.cameras(views).source_record()[None],
    }
    if kind.startswith("mesh"):
        config = {preset.name: preset.config for preset in find_family("instantmesh").presets()}[kind]
        from openlrm.representations.surface import SurfaceSynthesizer

        channels = config["triplane_dim"]
        synthesizer = SurfaceSynthesizer(channels, 48, config["grid_scale"])
        head = synthesizer.decoder.net_sdf
        tensors = read_tensors(locate_model(str(folder)).weights)
        prefix = "synthesizer.decoder.net_sdf."
        for name, parameter in head.parameters_and_names():
            parameter.set_data(Tensor(tensors[prefix + name]))
        field = zoom(rng.standard_normal((1, 3, channels, 5, 5)), (1, 1, 1, 64 / 5, 64 / 5), order=3)
        field = field.astype(np.float32)
        sdf = synthesizer.distances(Tensor(field))
        factor = _SPREAD / sdf.std()
        bias = tensors[prefix + "6.bias"] * factor - np.quantile(sdf * factor, _INSIDE)
        given |= {
            "field": field,
            "decoder.net_sdf.6.weight": tensors[prefix + "6.weight"] * factor,
            "decoder.net_sdf.6.bias": bias.astype(np.float32),
        }
    np.savez(folder / "given.npz", **given)


def measure(folder: Path) -> dict:
    """Our figures; writes ours.npz."""
    from mindspore import Tensor

    from openlrm.families.reconstructor import load_pretrained
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    model = load_pretrained(str(next(folder.glob("instant_*.ckpt"))))
    with np.load(folder / "given.npz") as arrays:
        given = {name: Tensor(arrays[name]) for name in arrays.files}
    small = given["images"][:, :2, :, :64, :64], given["cameras"][:, :2]
    model(*small)  # compiles the loops
    figures, found = {}, {}
    planes, figures["planes"] = timed(lambda: model(given["images"], given["cameras"]).asnumpy())
    figures["planes"]["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found["planes"] = planes
    if "field" in given:
        synthesizer = model.synthesizer
        last = synthesizer.decoder.net_sdf[6]
        last.weight.set_data(given["decoder.net_sdf.6.weight"])
        last.bias.set_data(given["decoder.net_sdf.6.bias"])
        synthesizer.geometry(given["field"]).mesh()
        made, figures["mesh"] = timed(lambda: synthesizer.geometry(given["field"]))
        mesh, figures["flexicubes"] = timed(made.mesh)
        for key in ("wall", "cpu"):
            figures["mesh"][key] += figures["flexicubes"][key]
        found |= {"vertices": mesh.vertices.asnumpy(), "faces": mesh.faces, "sdf": made.sdf.asnumpy()}
        figures["cubes"] = len(made.topology.cubes)
    np.savez(folder / "ours.npz", **found)
    return figures


def differences(folder: Path) -> dict[str, float]:
    """Largest differences of planes and distances relative to the largest entry, of vertices, and faces not shared."""
    with np.load(folder / "ours.npz") as ours, np.load(folder / "peer.npz") as peer:
        told = {"planes": np.abs(ours["planes"] - peer["planes"]).max() / np.abs(peer["planes"]).max()}
        if "sdf" in ours.files:
            sdf = peer["sdf"].reshape(ours["sdf"].shape)
            told["sdf"] = np.abs(ours["sdf"] - sdf).max() / np.abs(sdf).max()
            # Vertices come in another order: each is looked for among the peer's.
            from scipy.spatial import cKDTree

            distance, match = cKDTree(peer["vertices"]).query(ours["vertices"])
            told["vertices"], told["extra vertices"] = distance.max(), len(ours["vertices"]) - len(peer["vertices"])
            triples = [set(map(frozenset, faces.tolist())) for faces in (match[ours["faces"]], peer["faces"])]
            told["faces"], told["faces not shared"] = len(peer["faces"]), len(triples[0] ^ triples[1])
        return {name: float(value) for name, value in told.items()}


def last_line(command: list[str]) -> dict:
    """What a process prints, JSON in its last line."""
    out = subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return json.loads(out.stdout.splitlines()[-1])


def compare(kind: str, views: int, python: str, script: Path) -> list[str]:
    """Lines of a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([python, str(script), "weights", kind, str(folder), "ckpt"], check=True)
        from openlrm.families import find_family

        config = {preset.name: preset.config for preset in find_family("instantmesh").presets()}[kind]
        theirs = (folder / "config.json").read_text()
        (folder / "config.json").write_text(json.dumps({"model_type": "instantmesh"} | config))
        write_given(kind, views, folder)
        ours = last_line([sys.executable, "-m", "benchmarks.instantmesh", "--only-ours", str(folder)])
        (folder / "config.json").write_text(theirs)
        peer = last_line(
            [python, str(HERE / "instantmesh_peer.py"), str(script), str(folder), str(folder / "given.npz")]
        )
        told = differences(folder)
    lines = ["", f"## {kind}, {views} views", "", ", ".join(f"{name} {value:.2g}" for name, value in told.items()), ""]
    lines += ["| | ours, CPU s | peer | ratio | ours, wall s | peer | ratio |", "|---|---|---|---|---|---|---|"]
    for key, title in (("planes", "views to planes"), ("mesh", f"mesh, {ours.get('cubes', 0):,} surface cubes")):
        if key in ours:
            cells = [title]
            for clock in ("cpu", "wall"):
                a, b = ours[key][clock] / 1000, peer[key][clock] / 1000
                cells += [f"{a:.2f}", f"{b:.2f}", f"{a / b:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    peaks = ours["planes"]["peak_gib"], peer["planes"]["peak_gib"]
    return [*lines, "", f"Peak memory of a process up to the planes: {peaks[0]:.2f} GiB, peer {peaks[1]:.2f} GiB."]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="models; mesh-base without any")
    parser.add_argument("--views", type=int, default=6, choices=[6, 21])
    parser.add_argument("--peer-python", help="a Python with PyTorch")
    parser.add_argument("--peer", type=Path, default=PEER, help="the peer's file")
    parser.add_argument("--only-ours", type=Path, metavar="FOLDER", help="print our figures for a folder as JSON")
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(measure(arguments.only_ours)))
        return
    if not arguments.peer_python:
        parser.error("--peer-python is missing")
    lines = ["# InstantMesh at full size", "", "By `python -m benchmarks.instantmesh`; one run each, random weights."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items())]
    for kind in arguments.kinds or ["mesh-base"]:
        lines += compare(kind, arguments.views, arguments.peer_python, arguments.peer.resolve())
    Path(__file__).with_name("instantmesh.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
