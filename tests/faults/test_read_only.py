"""A container: neither the package's folder nor the home can be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
COMMAND = [
    "infer.lrm", "model_name=assets/openlrm-tiny-demo", "image_input=assets/sample_input/knight.png",
    "export_mesh=true", "mesh_size=16", "device_target=CPU",
]  # fmt: skip


@pytest.mark.slow
def test_a_mesh_without_a_place_for_compiled_loops(tmp_path):
    application, home, temporary, work = (tmp_path / name for name in ("app", "home", "temporary", "work"))
    for folder in (application, home, temporary, work):
        folder.mkdir()
    for part in ("openlrm", "assets"):
        shutil.copytree(REPO / part, application / part, ignore=shutil.ignore_patterns("__pycache__"))
    # Files where folders for caches would be: not even root can write there.
    for folder in {path.parent for path in (application / "openlrm").rglob("*.py")}:
        (folder / "__pycache__").write_text("", encoding="utf-8")
    (home / ".cache").write_text("", encoding="utf-8")
    command = [part.replace("=assets", f"={application}/assets") for part in COMMAND]
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"PYTHONPATH": str(application), "HOME": str(home), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-m", "openlrm.launch", *command],
        cwd=work, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(work.rglob("knight.ply"))
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1 and "Traceback" not in done.stderr
