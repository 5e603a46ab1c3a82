"""scripts/merge_adapter.py as a user types it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from mindspore import Tensor

from openlrm import ModelLRM

REPO = Path(__file__).resolve().parents[2]


def run(*arguments):
    command = [sys.executable, str(REPO / "scripts" / "merge_adapter.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_merged_release(golden_dir, tmp_path, golden, freq_golden, pynative):
    result = run(golden_dir, REPO / "tests" / "golden" / "freqloss" / "adapter", tmp_path / "merged")
    assert result.returncode == 0, result.stderr
    model = ModelLRM.from_pretrained(str(tmp_path / "merged"))
    planes = model.forward_planes(Tensor(golden["image"]), Tensor(golden["source_camera"])).asnumpy()
    np.testing.assert_allclose(planes, freq_golden["mini/planes"], atol=1e-5)


def test_no_adapter(golden_dir, tmp_path):
    result = run(golden_dir, tmp_path, tmp_path / "merged")
    assert result.returncode == 2 and "the adapter has no adapter_config.json" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not (tmp_path / "merged").exists()
