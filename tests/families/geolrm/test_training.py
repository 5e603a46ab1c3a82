"""Both stages through the command line as a user types it, on two balls, and what comes out of them."""

import json
import re

import numpy as np
import pytest

from openlrm.families.geolrm.cells import cell_positions
from openlrm.families.geolrm.occupancy import occupied_cells, pack_cells, unpack_cells
from openlrm.launch import main

SIZES = [
    "model.encoder={img_size: 28, embed_dim: 24, depth: 1, num_heads: 2}",
    "model.feature_dim=12",
    "model.num_deform_points=2",
    "model.grid_size=8",
    *(
        f"model.{name}.{key}"
        for name in ("serializer", "lrm_generator")
        for key in ("transformer_dim=24", "transformer_layers=1", "transformer_heads=2")
    ),
    "model.serializer.token_res=4",
    "model.lrm_generator.gs_per_token=4",
    "model.lrm_generator.offset_max=0.1",
    "model.lrm_generator.scale_max=0.08",
    "model.voxels=centres",
    "model.offset=symmetric",
]


def train(balls, out, stage, *more):
    """Run `train.geolrm`; its folder."""
    arguments = [
        "train.geolrm",
        f"data.subsets=[{{root_dirs: [{balls}]}}]",
        "data.sample_side_views=3",
        "data.inputs=[1,3]",
        "data.source_image_res=28",
        "data.render_image_low=28",
        "data.render_image_high=28",
        "data.render_region_size=28",
        f"train.stage={stage}",
        "train.loss.perceptual_weight=0",
        "train.scheduler.warmup_steps=2",
        "train.optim.start_learning_rate=3e-3",
        f"saver.output_path={out}",
        f"saver.name={stage}",
        "report.log_interval=1",
        "report.watch_interval=0",
        "report.image_interval=0",
        "device_target=CPU",
    ]
    given = {argument.partition("=")[0] for argument in more}
    arguments += [argument for argument in SIZES if argument.partition("=")[0] not in given]
    arguments = [argument for argument in arguments if argument.partition("=")[0] not in given]
    arguments += more
    assert main(arguments) == 0
    return max((out / stage).iterdir())


def losses(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record["train"]["loss"] for record in records if "train" in record]


@pytest.fixture(scope="module")
def proposal(balls, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return train(
        balls, out, "proposal", "train.train_steps=10", "train.batch_size=2", "val.val_interval=5", "val.val_views=6"
    )


@pytest.fixture(scope="module")
def reconstruction(balls, proposal):
    return train(
        balls,
        proposal.parents[1],
        "reconstruction",
        f"train.proposal={proposal}",
        "train.train_steps=8",
        "val.val_interval=4",
        "val.val_views=6",
        "val.val_size=28",
    )


def test_the_first_stage_learns(proposal):
    told = losses(proposal)
    assert np.mean(told[-4:]) < 0.9 * np.mean(told[:4])


def test_the_first_stage_is_validated_by_its_cells(proposal):
    records = [json.loads(line) for line in (proposal / "metrics.jsonl").read_text().splitlines()]
    found = [record["iou"] for record in records if "iou" in record]
    assert len(found) >= 2 and all(0 <= iou <= 1 for iou in found)
    assert len(list((proposal / "validation").glob("*.png"))) == len(found)


def test_the_second_stage_learns_and_is_validated(reconstruction):
    told = losses(reconstruction)
    assert np.mean(told[-4:]) < 0.9 * np.mean(told[:4])
    records = [json.loads(line) for line in (reconstruction / "metrics.jsonl").read_text().splitlines()]
    assert any("psnr" in json.dumps(record) for record in records)


def test_the_second_stage_leaves_the_first_alone(proposal, reconstruction):
    from openlrm.checkpoint import locate_model, read_tensors

    one, other = (read_tensors(locate_model(str(run)).weights) for run in (proposal, reconstruction))
    shared = [name for name in one if name.startswith("serializer.")]
    assert shared and all(np.array_equal(one[name], other[name]) for name in shared)


def test_going_on_gives_what_one_run_gives(balls, tmp_path):
    """Dropout and draws are functions of seed and step; statistics of the norms are kept."""
    from openlrm.checkpoint import locate_model, read_tensors

    options = ["train.batch_size=2", "val.val_interval=0", "train.scheduler.scheduler=constant"]
    whole = train(balls, tmp_path / "whole", "proposal", "train.train_steps=3", *options)
    train(balls, tmp_path / "parts", "proposal", "train.train_steps=1", *options)
    parts = train(balls, tmp_path / "parts", "proposal", "train.train_steps=3", *options, "saver.resume=latest")
    assert losses(whole) == losses(parts)
    one, other = (read_tensors(locate_model(str(run)).weights) for run in (whole, parts))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_pictures_to_files(balls, reconstruction, tmp_path):
    """infer.geolrm of a posed object: splat files, page, video."""
    arguments = [
        "infer.geolrm",
        f"model_name={reconstruction}",
        f"views=[{balls / 'red'}]",
        "view=3",
        "source_size=28",
        "export_gaussians=[ply,splat,glb,html]",
        "raw=true",
        "export_video=true",
        "video_format=gif",
        "render_views=2",
        "render_size=32",
        f"gaussians_dump={tmp_path}/gaussians",
        f"viewer_dump={tmp_path}/viewer",
        f"video_dump={tmp_path}/videos",
        "device_target=CPU",
    ]
    assert main(arguments) == 0
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    wanted = ["gaussians/red.glb", "gaussians/red.ply", "gaussians/red.splat", "videos/red.gif", "viewer/red.html"]
    assert written == wanted
    from openlrm.representations import read_representation

    scene = read_representation(tmp_path / "gaussians" / "red.ply")
    assert len(scene.gaussians) > 20


def test_a_mesh_of_gaussians_is_refused(balls, reconstruction, tmp_path, capsys):
    arguments = ["infer.geolrm", f"model_name={reconstruction}", f"views=[{balls / 'red'}]", "view=3", "source_size=28"]
    assert main([*arguments, "export_mesh=true", f"mesh_dump={tmp_path}", "device_target=CPU"]) == 2
    assert "Gaussians have no mesh" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_python_interface(balls, reconstruction):
    import openlrm
    from openlrm.cameras import Camera
    from openlrm.datasets.objaverse import read_object

    red = read_object(balls, "red")
    views = [red.read_view(i) for i in (0, 4, 8)]
    cameras = Camera(np.stack([pose for _, pose in views]), red.intrinsics)
    scene = openlrm.reconstruct([rgba for rgba, _ in views], str(reconstruction), cameras=cameras)
    assert "Gaussians" in scene.describe()


def test_true_cells_lie_on_the_ball(balls):
    from openlrm.datasets.objaverse import read_object

    cells = occupied_cells(read_object(balls, "red"), 32, "centres")
    distances = np.linalg.norm(cell_positions(cells, 32, "centres"), axis=1)
    assert len(cells) > 500 and np.abs(distances - 0.3).max() < 3**0.5 / 64 + 1e-3
    assert np.array_equal(np.argwhere(unpack_cells(pack_cells(cells, 32)[None], 32)[0]), cells)


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("reconstruction", "seed=1", "has no proposal network"),
        ("proposal", "val.stop_drop=1", "the proposal stage renders none"),
        ("proposal", "data.inputs=[1,9]", r"inputs=\[1, 9\] of 4 drawn views"),
        ("proposal", "data.normalize_camera=true", "would turn the object's cells"),
        ("proposal", "model.serializer.token_res=3", "does not divide grid_size"),
        ("proposal", "data.occupancy=nowhere", "prepare.occupancy"),
    ],
)
def test_bad_options(balls, tmp_path, capsys, stage, change, words):
    with pytest.raises(AssertionError):
        train(balls, tmp_path, stage, "val.val_interval=0", "train.train_steps=1", change)
    assert re.search(words, capsys.readouterr().err)
