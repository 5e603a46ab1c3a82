"""The page in a real browser: its first frame is our own render; it turns, zooms and goes back; no network."""

import io
import os
import shutil
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import Camera, orbit
from openlrm.errors import UserError
from openlrm.representations.gaussians import Gaussians, save_viewer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# No test is about speed: a busy machine may take minutes over a page.
PATIENCE = 240
LENS = (1.2, 1.2, 0.5, 0.5)
BACKGROUND = (0.9, 0.8, 0.3)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-unsafe-swiftshader"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options, timeout=1000 * PATIENCE)
        yield chromium
        chromium.close()


def opened(browser, path, width: int, height: int):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(1000 * PATIENCE)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: None if request.url == path.as_uri() else page.complaints.append(request.url))
    page.goto(path.as_uri())
    page.add_style_tag(content="#caption { display: none }")
    drawn(page, 1)
    return page


def drawn(page, frames: int) -> np.ndarray:
    """The window's picture, (3, H, W) in [0, 1], once so many frames were drawn."""
    deadline = time.monotonic() + PATIENCE
    while int(page.locator("html").get_attribute("data-frames") or 0) < frames:
        assert page.complaints == [] and time.monotonic() < deadline
        time.sleep(0.05)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.asarray(picture).transpose(2, 0, 1) / 255


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * np.log10(np.mean(np.square(a - b)) + 1e-20)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "distance"), [(240, 240, 1.5), (300, 200, 1.5), (240, 240, 0.35)])
def test_first_frame_is_our_own_render(browser, cloud, tmp_path, width, height, distance):
    """From outside, in a window that is not square, and with some Gaussians behind the camera."""
    pose = orbit(35, 15, distance)
    # Not upright: the first frame shows the camera as it was given.
    pose[:, :2] = pose[:, :2] @ np.array([[0.8, -0.6], [0.6, 0.8]])
    save_viewer(tmp_path / "x.html", cloud, Camera(pose, LENS), background=BACKGROUND)
    page = opened(browser, tmp_path / "x.html", width, height)
    focal = LENS[1] * height / width, LENS[1], 0.5, 0.5
    wanted, _, _ = cloud.render(Camera(pose, focal), (height, width), BACKGROUND)
    assert wanted.std() > 0.1
    assert psnr(drawn(page, 1), wanted) >= 40
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_turns_zooms_and_goes_back(browser, cloud, tmp_path):
    camera = Camera(orbit(35, 15, 1.5), LENS)
    save_viewer(tmp_path / "x.html", cloud, camera)
    page = opened(browser, tmp_path / "x.html", 200, 200)
    first = drawn(page, 1)
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    turned = drawn(page, 2)
    # One press is 0.1 rad counter-clockwise seen from above, around what is in the middle.
    middle = float(np.dot(camera.c2w[:, 3] - np.median(cloud.means, 0), camera.c2w[:, 2]))
    target = camera.c2w[:, 3] - middle * camera.c2w[:, 2]
    pose = orbit(35 + np.rad2deg(0.1), 15, middle)
    pose[:, 3] += target
    wanted = cloud.render(Camera(pose, LENS), (200, 200))[0]
    assert psnr(turned, wanted) > max(40, psnr(first, wanted) + 10)
    page.mouse.move(100, 100)
    page.mouse.wheel(0, 400)
    assert np.mean(drawn(page, 3) < 0.98) < 0.8 * np.mean(turned < 0.98), "farther away it is smaller"
    page.mouse.down()
    page.mouse.move(160, 120)
    page.mouse.up()
    page.mouse.dblclick(100, 100)
    page.wait_for_timeout(500)
    assert psnr(drawn(page, 4), first) > 60
    assert page.complaints == []
    page.close()


def test_32_bytes_a_gaussian_and_nothing_from_elsewhere(cloud, tmp_path):
    camera = Camera(orbit(0, 0, 1.5), LENS)
    twice = Gaussians.joined(cloud, cloud)
    assert save_viewer(tmp_path / "one.html", cloud, camera) == 100
    save_viewer(tmp_path / "two.html", twice, camera)
    assert 3200 - 10 <= os.path.getsize(tmp_path / "two.html") - os.path.getsize(tmp_path / "one.html") <= 3200
    links = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: links.extend(k for k, _ in attributes if k in ("src", "href"))
    text = (tmp_path / "one.html").read_text(encoding="utf-8")
    parser.feed(text)
    assert links == [] and "default-src 'none'" in text and "import" not in text.split("<script>")[1]


def test_a_title_is_text_only(cloud, tmp_path):
    save_viewer(tmp_path / "x.html", cloud, Camera(orbit(0, 0, 1.5), LENS), title='</title><script>"$data')
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "&lt;/title&gt;&lt;script&gt;&quot;$data" in text and '</title><script>"' not in text


def test_what_cannot_be_shown(cloud, tmp_path):
    camera = Camera(orbit(0, 0, 1.5), LENS)
    with pytest.raises(UserError, match="no Gaussian that could be seen"):
        save_viewer(tmp_path / "x.html", cloud.kept(np.zeros(100, bool)), camera)
    with pytest.raises(UserError, match="not finite"):
        save_viewer(tmp_path / "x.html", cloud.moved([np.nan, 0, 0]), camera)
    assert not list(tmp_path.iterdir())
