"""What `openlrm.launch` can run; each is imported only when it is asked for."""

RUNNERS = {
    "infer.lrm": ("openlrm.runners.infer.lrm:InferLRM", "one picture -> turntable video and mesh"),
    "fit.triplane": (
        "openlrm.runners.fit.triplane:FitTriplane",
        "posed views of one object -> a fitted triplane",
    ),
    "train.lrm": ("openlrm.runners.train.lrm:TrainLRM", "rendered objects -> a trained LRM"),
    "prepare.images": ("openlrm.runners.prepare.images:PrepareImages", "photographs -> objects cut out and centred"),
    "render.objaverse": ("openlrm.runners.render.objaverse:RenderObjaverse", "3D files -> rendered objects"),
    "check.data": ("openlrm.runners.check.data:CheckData", "rendered objects -> what is wrong with them"),
    "eval.lrm": ("openlrm.runners.evaluate.lrm:EvalLRM", "rendered objects -> PSNR, SSIM, LPIPS and more"),
    "report": ("openlrm.runners.report:Report", "results of a run -> an HTML page"),
    "compare": ("openlrm.runners.compare:Compare", "two results -> what is better in which"),
    "app": ("openlrm.runners.app:App", "a web page: uploaded pictures -> 3D models"),
    "doctor": ("openlrm.runners.doctor:Doctor", "check that this machine computes what it should"),
}
"""Name -> ("module:Class", what it does in a line)."""
