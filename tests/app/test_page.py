"""The page in a real browser, from the upload to the download, with the miniature model and no outside network."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlrm import launch

pytest.importorskip("gradio", reason="the extra `app` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

REPO = Path(__file__).resolve().parents[2]
SAMPLES = REPO / "assets" / "sample_input"
# No test is about speed: a busy machine may take minutes over a page.
PATIENCE = 240


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, served as a user starts it."""
    folder = tmp_path_factory.mktemp("app")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        str(REPO / "app.py"),
        "model_name=openlrm/families/lrm/golden",
        f"port={port}",
        "max_upload_mb=1",
    ]
    command += ["render_size=48", "render_views=4", "render_fps=4", "mesh_size=32"]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "cache"), "PYTHONPATH": str(REPO)}
    log = folder / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen([*command, "device_target=CPU"], cwd=REPO, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE
        while "open http" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # The drawing of 3D models is done by the processor: no graphics card is asked for.
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-unsafe-swiftshader"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options, timeout=1000 * PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page as a visitor first sees it; asks nothing of other machines."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(1000 * PATIENCE)
    foreign = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((address, "blob:", "data:")) else foreign.append(request.url),
    )
    page.goto(address)
    page.get_by_role("button", name="Generate").wait_for()
    yield page
    assert foreign == []
    page.close()


def upload(page, path: Path) -> None:
    with page.expect_response(re.compile("/upload")):
        page.set_input_files("input[type=file]", path)


def generate(page) -> None:
    page.get_by_role("button", name="Generate").click()


def shown_error(page) -> str:
    toast = page.get_by_test_id("toast-body").first
    toast.wait_for()
    return toast.inner_text()


def test_upload_generate_play_turn_and_download(page, tmp_path):
    upload(page, SAMPLES / "knight.png")
    page.locator(".image-frame img").wait_for()
    generate(page)
    # The last thing to appear is the list of downloads.
    page.locator("a[download='scene.safetensors']").wait_for()
    assert page.get_by_text("The picture is cut out already").is_visible()

    playing = "v => v.readyState >= 2 && v.videoWidth === 48 && v.currentTime > 0"
    page.locator("video").wait_for()
    page.wait_for_function(f"({playing})(document.querySelector('video'))")

    canvas = page.locator("canvas").first
    canvas.wait_for()
    before = drawn(canvas, tmp_path / "before.png")
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 40, steps=5)
    page.mouse.up()
    deadline = time.monotonic() + PATIENCE
    while np.abs(drawn(canvas, tmp_path / "after.png") - before).max() < 30:
        assert time.monotonic() < deadline, "dragging did not turn the model"

    for name, start in {"model.glb": b"glTF", "input.png": b"\x89PNG"}.items():
        with page.expect_download() as download:
            page.locator(f"a[download='{name}']").last.click()
        assert Path(download.value.path()).read_bytes().startswith(start), name


def drawn(canvas, path: Path) -> np.ndarray:
    """Pixels of the viewer, once there is a model in it: more than the few colours of an empty one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        canvas.screenshot(path=path)
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        if len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50:
            return pixels
        assert time.monotonic() < deadline, "nothing in the viewer"


def test_a_sample_can_be_picked(page):
    page.locator(".gallery img").first.click()
    page.locator(".image-frame img").wait_for()


def test_bad_uploads_give_a_message(page, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    upload(page, tmp_path / "bad.png")
    for _ in range(2):  # the second time gradio takes another way through its own state
        generate(page)
        told = shown_error(page)
        assert "not a png, jpeg or webp picture" in told and "convert it to png" in told
        assert str(tmp_path) not in told and "cache" not in told
        page.get_by_test_id("toast-close").first.click()
        page.get_by_test_id("toast-body").wait_for(state="detached")


def test_a_background_that_is_not_plain_gives_a_message(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "room.png")
    page.get_by_label("Background").click()
    page.get_by_role("option", name="plain").click()
    upload(page, tmp_path / "room.png")
    generate(page)
    assert "the background is not plain" in shown_error(page)


def test_no_picture_gives_a_message(page):
    generate(page)
    assert "Give a picture first" in shown_error(page)


def test_large_uploads_are_refused(page, address, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 2**20
    page.set_input_files("input[type=file]", tmp_path / "large.png")
    assert "the maximum allowed size" in shown_error(page)
    # A program that does not ask the page first is refused as well.
    content = {"name": "large.png", "mimeType": "image/png", "buffer": (tmp_path / "large.png").read_bytes()}
    answer = page.request.post(f"{address}/gradio_api/upload", multipart={"files": content})
    assert answer.status == 413


def test_other_machines_cannot_reach_it(address):
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=PATIENCE)


def test_a_port_that_is_taken_is_an_error_in_one_line(address, capsys):
    port = int(address.rpartition(":")[2])
    assert launch.main(["app", "model_name=openlrm/families/lrm/golden", f"port={port}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: cannot listen on 127.0.0.1:{port} (")
