"""On Ascend init() comes before any Tensor, Parameter and primitive (`mindspore.communication.init`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

# Runs a command; what it makes of MindSpore is written down until init() is called, which ends the process. A ProxyOp
# is what `ops.constexpr` makes of a function: the compiler asks it, no device does.
WATCH = """
import sys
import mindspore as ms
from mindspore import communication

def watched(cls, made):
    before = cls.__init__
    def init(self, *args, **kwargs):
        if type(self).__name__ != "ProxyOp":
            made.append(type(self).__name__)
        before(self, *args, **kwargs)
    cls.__init__ = init

made = []
for cls in (ms.Tensor, ms.Parameter, ms.ops.Primitive):
    watched(cls, made)
def init():
    print("made before init():", made)
    sys.exit(0)
communication.init = init
{more}
from openlrm.launch import main
main({command})
print("init() was never called")
"""


def run(command: list[str], more: str = "") -> str:
    environment = os.environ | {"PYTHONPATH": str(REPO), "MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "2", "GLOG_v": "3"}
    script = WATCH.format(command=command, more=more)
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr[-2000:]


COMMANDS = {
    "train.lrm": ["--config", "configs/train-sample-debug.yaml", "--device_target=CPU"],
    "eval.lrm": ["model_path=openlrm/families/lrm/golden", "data_root=assets/sample_object", "device_target=CPU"],
    "infer.lrm": [
        "model_name=openlrm/families/lrm/golden",
        "image_input=assets/sample_input/mug_full.png",
        "device_target=CPU",
        "export_mesh=true",
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_made_before_init(name, tmp_path):
    output = [f"saver.output_path={tmp_path}"] if name == "train.lrm" else []
    assert "made before init(): []" in run([name, *COMMANDS[name], *output])


def test_it_would_be_seen(tmp_path):
    more = "import openlrm.ops.layers as layers; layers.matmul(False, True); ms.Tensor([1.0])"
    command = ["train.lrm", *COMMANDS["train.lrm"], f"saver.output_path={tmp_path}"]
    assert "made before init(): ['MatMul', 'Tensor']" in run(command, more)
