import errno
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import openlrm
from openlrm import launch
from openlrm.config import describe, load_config, option, parse_command_line
from openlrm.errors import UserError
from openlrm.runners import RUNNERS, find_runner, runner_table
from openlrm.runners.base import Runner

ROOT = Path(__file__).parents[1]


class Toy(Runner):
    """Does as it is told."""

    @dataclass
    class Config:
        act: str = option("greet", "what to do", choices=("greet", "fail", "crash", "interrupt", "three"))
        times: int = option(1, "how often", minimum=1)

    summary = "A toy."
    examples = ("python -m openlrm.launch toy times=2",)

    def run(self):
        if self.config.act == "fail":
            raise UserError("no such picture", "cup.png", "check image_input")
        if self.config.act == "crash":
            raise ValueError("our mistake")
        if self.config.act == "interrupt":
            raise KeyboardInterrupt
        if self.config.act == "three":
            return 3
        print("hello " * self.config.times)
        return None


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(RUNNERS, "toy", (f"{__name__}:Toy", "a toy"))


def test_runs_with_files_and_overrides(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("times: 2\nact: fail")
    assert launch.main(["toy", "--config", str(tmp_path / "a.yaml"), "act=greet"]) == 0
    assert capsys.readouterr().out == "hello hello \n"


@pytest.mark.parametrize(
    ("argv", "code", "err"),
    [
        (["toy", "act=fail"], 2, "error: no such picture: cup.png. check image_input\n"),
        (["toy", "act=interrupt"], 130, "interrupted\n"),
        (["toy", "act=three"], 3, ""),
        (["toy", "tims=2"], 2, "error: unknown option tims: command line. did you mean times?\n"),
        (["toy", "--times=0"], 2, "error: times=0 is not int >= 1: command line\n"),
    ],
)
def test_exit_codes(argv, code, err, capsys):
    assert launch.main(argv) == code
    captured = capsys.readouterr()
    assert captured.err == err
    assert captured.out == ""


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ValueError, match="our mistake"):
        launch.main(["toy", "act=crash"])


def test_lists_the_runners(capsys):
    assert launch.main(["--help"]) == 0
    listing = capsys.readouterr().out
    assert launch.main([]) == 2
    assert capsys.readouterr().err == listing
    for name, summary in runner_table().items():
        assert any(line.split(maxsplit=1) == [name, summary] for line in listing.splitlines())


@pytest.mark.parametrize(
    ("name", "hint"), [("infer.lmr", "did you mean infer.lrm?"), ("zzz", "choose one of the above")]
)
def test_a_wrong_runner_lists_them_and_says_so_last(name, hint, capsys):
    launch.main(["--help"])
    listing = capsys.readouterr().out
    assert launch.main([name]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{listing}\nerror: no runner {name!r}. {hint}\n"
    assert captured.out == ""


def test_version(capsys):
    assert launch.main(["--version"]) == 0
    assert capsys.readouterr().out == f"openlrm {openlrm.__version__}\n"


def test_usage_names_the_command_that_was_typed(monkeypatch, capsys):
    for typed, command in (("/usr/bin/openlrm", "openlrm"), ("launch.py", "python -m openlrm.launch")):
        monkeypatch.setattr(sys, "argv", [typed])
        launch.main(["toy", "--help"])
        assert capsys.readouterr().out.startswith(f"usage: {command} toy [--config FILE]")


def examples():
    return [(name, example) for name in runner_table() for example in find_runner(name).examples]


@pytest.mark.parametrize("name", runner_table())
def test_every_runner_shows_examples(name):
    assert find_runner(name).examples


@pytest.mark.parametrize(("name", "example"), examples())
def test_examples_fit_the_schema(name, example):
    """Every flag and key is known; the YAML files are there, their values and the given ones allowed."""
    words = shlex.split(example)
    start = ["python", "-m", "openlrm.launch", name] if "-m" in words else ["python", "eval.py"]
    assert words[: len(start)] == start
    schema = find_runner(name).Config
    files, overrides, _ = parse_command_line(schema, words[len(start) :])
    load_config(schema, [ROOT / file for file in files if "TIME" not in file], overrides + missing(schema, files))


def missing(schema, files):
    """Options without default that the run folder's own cfg.yaml, not there in a checkout, would give."""
    if not any("TIME" in file for file in files):
        return []
    required = [key for key, _, default, _ in describe(schema) if default == "???"]
    values = {"data.subsets": [{"root_dirs": ["x"]}], "model.triplane_high_res": 128}
    return [f"{key}={values.get(key, 64)}" for key in required]


def test_help_of_a_runner(capsys):
    assert launch.main(["toy", "--help"]) == 0
    page = capsys.readouterr().out
    assert "usage: python -m openlrm.launch toy " in page
    assert "times=1" in page
    assert Toy.examples[0] in page


def test_a_reader_that_leaves_is_no_error():
    code = "import sys; from openlrm.launch import main; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(0.2);" + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


TOY = "import sys; from openlrm.launch import exit_code; sys.exit(exit_code(lambda: {}))"
FULL = Path("/dev/full")


def run_toy(expression, stdout, **environment):
    command = [sys.executable, "-c", TOY.format(expression)]
    return subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, env=os.environ | environment)


@pytest.mark.skipif(not FULL.exists(), reason="no device here that is always full")
@pytest.mark.parametrize(
    "expression", ["print('x')", "print('x', flush=True)", "print('x' * 10**6)", "print('x\\n' * 10**5)"]
)
def test_full_output_is_one_line(expression):
    with FULL.open("w") as full:
        done = run_toy(expression, full)
    words = "error: cannot write to standard output (No space left on device). send it elsewhere\n"
    assert (done.returncode, done.stderr.decode()) == (2, words)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ENOENT])
def test_other_failures_to_write_are_no_full_output(number, tmp_path):
    code = f"(_ for _ in ()).throw(OSError({number}, 'no'))"
    with (tmp_path / "out").open("w") as file:
        done = run_toy(code, file)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


def test_closed_output_is_no_error():
    done = subprocess.run(["sh", "-c", f'exec "{sys.executable}" -m openlrm.launch --help >&-'], cwd=ROOT)
    assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "cp437", "utf-8"])
def test_letters_the_console_does_not_have_are_replaced(encoding):
    name = "chaise \u00e9 \u65e5\u672c \u2212 \udce9"  # the last one: a byte in a file's name that is no UTF-8
    done = run_toy(f"print({name!a})", subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).strip() == name.encode(encoding, "backslashreplace").decode(encoding)


def test_start_is_light():
    """Help imports nothing that takes long."""
    code = (
        "import sys; from openlrm.launch import main; main(['-h']);"
        "sys.exit(sum(name in sys.modules for name in ('mindspore', 'numpy', 'PIL', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
