"""The documentation: what it shows runs, what is written by scripts is up to date, and it builds without complaint."""

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from openlrm import launch
from openlrm.config import describe
from openlrm.runners import RUNNERS, find_runner, runner_table

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"

RUNNABLE = ("first-run.md", "python.md", "preprocessing.md", "checkpoints.md", "extending.md", "building-blocks.md")

# What makes each command small; everything else is as the page has it.
SMALLER = {
    "fit.triplane": ["steps=3", "render_size=16", "render_views=2", "export_mesh=false", "triplane_res=8"],
    "infer.lrm": ["mesh_size=16", "mesh_thres=0.01"],
    "train.lrm": ["val.val_views=1", "val.val_size=16", "report.watch_interval=0"],
    "eval.lrm": ["render_size=16"],
}
STEPS = {"60": "3"}


def script(name):
    spec = importlib.util.spec_from_file_location(name, REPO / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page):
    """(language, content) of the page's runnable blocks, in order."""
    return re.findall(r"^```(bash|python)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.M)


def commands(block):
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


def at_time(word):
    """A path with the start of a run in place of <time>: the one that is there."""
    if "<time>" not in word:
        return word
    (found,) = Path().glob(word.replace("<time>", "*"))
    return str(found)


def run_command(words, monkeypatch):
    words = [at_time(STEPS.get(word, word)) for word in words]
    if words[:3] == ["python", "-m", "openlrm.launch"]:
        words = words[3:]
    elif words[:2] == ["python", "eval.py"]:
        words = ["eval.lrm", *words[2:]]
    else:
        assert words[0] == "python"
        monkeypatch.setattr(sys, "argv", words[1:])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(words[1], run_name="__main__")
        assert not end.value.code
        return
    more = list(SMALLER.get(words[0], []))
    if words[0] == "train.lrm" and "--train_steps" not in words:
        more.append("train.train_steps=2")
    assert launch.main([*words, *more]) == 0


def run_python(code, name, monkeypatch):
    path = Path(f"{name}.py")
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)


@pytest.fixture
def _same_runners():
    """A page adds one of its own."""
    before = dict(RUNNERS)
    yield
    RUNNERS.clear()
    RUNNERS.update(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_same_runners")
@pytest.mark.parametrize("page", RUNNABLE)
def test_blocks_run(page, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("configs", "assets", "scripts", "tests"):
        (tmp_path / name).symlink_to(REPO / name)
    found = blocks(page)
    assert found, "a page without blocks"
    for number, (language, content) in enumerate(found):
        if language == "python":
            run_python(content, f"block_{number}", monkeypatch)
        else:
            for words in commands(content):
                run_command(words, monkeypatch)
    out = capfd.readouterr().out
    if page == "first-run.md":
        assert "A  outputs/eval-a/e2\nB  outputs/eval-b/e3\n" in out
        assert "train.train_steps: 2 / 3" in out
        assert (tmp_path / "comparison.html").is_file()
        assert list((tmp_path / "outputs" / "meshes").glob("*.glb"))


@pytest.mark.slow
def test_notebook_runs(tmp_path, monkeypatch):
    """Cell after cell, as a kernel does."""
    notebook = json.loads((DOCS / "reconstruct.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells), "clear its outputs: they are large"
    (tmp_path / "docs").mkdir()
    (tmp_path / "assets").symlink_to(REPO / "assets")
    monkeypatch.chdir(tmp_path / "docs")
    names: dict = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert {path.suffix for path in Path().iterdir()} == {".glb", ".mp4"}
    assert len(names["mesh"].faces) > 1000


def test_option_pages_are_up_to_date():
    pages = script("docs_options").pages()
    written = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "options").glob("*.md")}
    stale = [name for name in {**pages, **written} if pages.get(name) != written.get(name)]
    assert stale == [], "run python scripts/docs_options.py"


def test_every_option_is_on_its_page():
    """Independently of how the page is laid out: each key of the schema, with its help."""
    for name in runner_table():
        page = (DOCS / "options" / f"{name}.md").read_text(encoding="utf-8").replace("\\|", "|").replace("&lt;", "<")
        for key, kind, _, meaning in describe(find_runner(name).Config):
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
            assert kind in row
            assert meaning in row


def test_camera_drawing_is_up_to_date():
    drawing = script("docs_cameras").drawing()
    assert (DOCS / "images" / "cameras.svg").read_text(encoding="utf-8") == drawing, (
        "run python scripts/docs_cameras.py"
    )


def test_camera_drawing_keeps_the_conventions():
    """View 0's pyramid opens towards the object, its X axis runs along the world's."""
    drawing = script("docs_cameras")
    origin, centre, right, ahead = (drawing._pixel(p) for p in ((0, 0, 0), (0, -2, 0), (0.5, -2, 0), (0, -1.45, 0)))
    world_x = drawing._pixel((0.5, 0, 0)) - origin
    assert (right - centre) @ world_x > 0.95 * ((right - centre) ** 2).sum() ** 0.5 * (world_x @ world_x) ** 0.5
    towards = origin - centre
    assert (ahead - centre) @ towards > 0


def test_performance_has_the_measured_table():
    rows = [line for line in (REPO / "benchmarks" / "results.md").read_text().splitlines() if line.startswith("|")]
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in page] == [], "copy the table of benchmarks/results.md"


def test_builds_without_a_complaint(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for path in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"?([^\">\s]+)", path.read_text(encoding="utf-8")
        )
        assert [address for address in fetched if re.match(r"(https?:)?//", address)] == [], path.name


def test_contributing_names_what_is_there():
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:^|[\s`(])((?:tests|scripts|docs|openlrm|\.ci)/[\w./-]*\w)", text)
    assert named
    assert [name for name in named if not (REPO / name).exists()] == []


def test_architecture_names_every_part_with_its_level():
    spec = importlib.util.spec_from_file_location("architecture_rules", REPO / "tests" / "test_architecture.py")
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.M)
    told = {f"openlrm.{name}": int(level) for level, cell in rows for name in re.findall(r"`([\w.]+)`", cell)}
    assert told == rules.LEVELS
