"""Uploading: what is checked, what is sent, and what is said when it cannot be."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from openlrm.launch import exit_code

REPO = Path(__file__).resolve().parents[2]
CARD = "---\ntags: [3d]\nlicense: cc-by-nc-4.0\n---\nA miniature.\n"


@pytest.fixture(scope="module")
def upload():
    """Run the command line in this process; returns its exit code."""
    spec = importlib.util.spec_from_file_location("upload_hub", REPO / "scripts" / "upload_hub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: exit_code(module.main, [str(argument) for argument in arguments])


@pytest.fixture
def release(golden_dir, tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden_dir / name, folder / name)
    (folder / "README.md").write_text(CARD)
    (folder / "secret.txt").write_text("not for the hub")
    return folder


@pytest.fixture
def hub(monkeypatch):
    """The hub's client, which notes its calls; `hub.error` is raised by the next one, `hub.private` is told."""
    state = SimpleNamespace(calls=[], error=None, private=True)

    def record(name):
        def call(self, *arguments, **options):
            if state.error is not None:
                raise state.error
            state.calls.append((name, arguments, options))
            return SimpleNamespace(private=state.private)

        return call

    for name in ("create_repo", "model_info", "create_branch", "upload_folder"):
        monkeypatch.setattr(huggingface_hub.HfApi, name, record(name))
    return state


def test_sends_the_model_and_nothing_else(upload, hub, release, capsys):
    assert upload(release, "me/mini") == 0
    (create, _, options), (send, _, sent) = hub.calls
    assert (create, send) == ("create_repo", "upload_folder")
    assert options == {"private": None, "exist_ok": True}
    assert (sent["repo_id"], sent["folder_path"], sent["revision"]) == ("me/mini", str(release), None)
    files = [str(path.relative_to(release)) for path in release.iterdir()]
    filtered = huggingface_hub.utils.filter_repo_objects(files, allow_patterns=sent["allow_patterns"])
    assert sorted(filtered) == ["README.md", "config.json", "model.safetensors"]
    captured = capsys.readouterr()
    assert captured.err.count("warning: ") == 1 and "CC BY-NC 4.0" in captured.err
    assert captured.out.splitlines()[-1] == "sent to me/mini"


def test_private_branch(upload, hub, release):
    assert upload(release, "me/mini", "--private", "--revision", "v2") == 0
    names = [name for name, _, _ in hub.calls]
    assert names == ["create_repo", "model_info", "create_branch", "upload_folder"]
    assert hub.calls[0][2]["private"] is True
    assert hub.calls[2][2] == {"branch": "v2", "exist_ok": True}
    assert hub.calls[3][2]["revision"] == "v2"


def test_private_weights_do_not_go_to_a_public_repository(upload, hub, release, capsys):
    hub.private = False
    assert upload(release, "me/mini", "--private") == 2
    assert "error: the repository exists and is public: me/mini" in capsys.readouterr().err
    assert "upload_folder" not in [name for name, _, _ in hub.calls]


def test_dry_run_sends_nothing(upload, hub, release, capsys):
    assert upload(release, "me/mini", "--dry-run") == 0
    assert hub.calls == []
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["config.json", "model.safetensors", "README.md", "nothing"]


@pytest.mark.parametrize(
    ("card", "warning"),
    [
        (None, "no README.md"),
        ("A miniature.\nlicense: mine\n", "`license:` entry"),
        ("---\ntags: [3d]\n---\nlicense: mine\n", "`license:` entry"),
    ],
)
def test_missing_licence_is_told(upload, hub, release, card, warning, capsys):
    (release / "README.md").unlink()
    if card is not None:
        (release / "README.md").write_text(card)
    assert upload(release, "me/mini", "--dry-run") == 0
    assert warning in capsys.readouterr().err


def test_broken_folders_are_not_sent(upload, hub, release, capsys):
    weights = (release / "model.safetensors").read_bytes()
    (release / "model.safetensors").write_bytes(weights[:-4])
    assert upload(release, "me/mini") == 2
    (release / "model.safetensors").unlink()
    assert upload(release, "me/mini") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: damaged safetensors file") and second.startswith("error: there is no model")
    assert upload(release, "mini") == 2
    assert hub.calls == []


def network_errors():
    """What a hub that is away, offline mode, and a missing token raise; the client's own error is a base."""
    client_error = HfHubHTTPError.__bases__[0]
    return [
        client_error("no route"),
        OfflineModeIsEnabled("offline"),
        LocalTokenNotFoundError("log in\nplease"),
        TimeoutError("timed out"),
    ]


@pytest.mark.parametrize("error", network_errors(), ids=lambda error: type(error).__name__)
def test_no_network_is_one_line(upload, hub, release, error, capsys):
    hub.error = error
    assert upload(release, "me/mini") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the hub is not reachable or refused (") and "hf auth login" in last
