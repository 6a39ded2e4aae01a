# SPDX-License-Identifier: Apache-2.0
"""The Space page, used in a real browser."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from chromium import open_chromium
from clean_environment import build_clean_environment
from free_port import free_port

from mser_llm.inference.loading import load_model
from mser_llm.inference.recognition import recognize
from processing_mser import label_set


pytest.importorskip("gradio", reason="the page needs gradio")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TRACES = re.compile(r"Traceback|File \"|Error\b|Exception|\.py\b")


@contextmanager
def served(*command: object, stop: signal.Signals = signal.SIGINT, **options) -> Iterator[str]:
    """Run a program that serves a gradio page, yield its address, and stop it with a signal."""
    port = free_port()
    settings = {"GRADIO_SERVER_PORT": port, "GRADIO_ANALYTICS_ENABLED": "False", **options.pop("env")}
    process = subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Programs that a shell starts in the background ignore Ctrl-C by default.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        **options,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < end, "the page is not served"
                time.sleep(0.2)
        yield url
    finally:
        process.send_signal(stop)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def test_pushed_space_runs_from_its_own_files(tiny_model_dir, loopback_hub, hub_python, tmp_path):
    from gradio_client import Client, handle_file

    push = ["push", "--model", tiny_model_dir, "--repo_id", "org/shown", "--space"]
    assert hub_python.run(ROOT / "run_mser.py", *push).returncode == 0
    # Like the Hub: the files of the repository, its requirements, and gradio.
    folder = tmp_path / "space"
    for name, blob in loopback_hub.repos["space", "org/shown"].files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob.data)
    requirements = (folder / "requirements.txt").read_text().split()
    python = build_clean_environment(tmp_path / "venv", [*requirements, "gradio"])
    visitor = loopback_hub.environment(tmp_path / "visitor") | {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    soundfile.write(tmp_path / "clip.wav", tone(3), 16_000)
    words = ["happy", "sad", "angry"]
    network, processor = load_model(str(tiny_model_dir), "cpu")
    (expected,) = recognize(network, processor, [str(tmp_path / "clip.wav")], words)
    with served(python, "-E", "app.py", cwd=folder, env=visitor) as url:
        client = Client(url, verbose=False)
        bars, _ = client.predict(handle_file(tmp_path / "clip.wav"), "Happy, sad, angry", api_name="/analyse")
        found = {one["label"]: one["confidence"] for one in bars["confidences"]}
        assert bars["label"] == max(expected.scores, key=expected.scores.get)
        assert found == pytest.approx(expected.scores, abs=1e-5)
        soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
        bars, message = client.predict(handle_file(tmp_path / "silent.wav"), "happy, sad", api_name="/analyse")
        assert bars is None or not bars.get("confidences")
        assert "The recording is silent" in message and "alert" in message and not TRACES.search(message)
        with urllib.request.urlopen(f"{url}/config") as page:
            assert "org/shown" in page.read().decode()
        assert sorted(path.name for path in (folder / "examples").iterdir())


def local_page(model: Path, home: Path, stop: signal.Signals) -> AbstractContextManager[str]:
    """Serve the page of `run-mser space` with its files in a folder; return its address."""
    command = [sys.executable, ROOT / "run_mser.py", "space", "--model", model, "--device", "cpu"]
    return served(
        *command, stop=stop, env={"TMPDIR": str(home), "GRADIO_TEMP_DIR": f"{home}/gradio", "HF_HUB_OFFLINE": "1"}
    )


def sounds(home: Path) -> list[str]:
    return sorted({file.name for file in home.rglob("*") if file.suffix in (".flac", ".wav")})


def test_terminated_page_leaves_no_files(tiny_model_dir, tmp_path):
    from gradio_client import Client, handle_file

    home = tmp_path / "tmp"
    home.mkdir()
    soundfile.write(tmp_path / "clip.wav", tone(3), 16_000)
    with local_page(tiny_model_dir, home, signal.SIGTERM) as url:
        examples = sounds(home)
        Client(url, verbose=False).predict(handle_file(tmp_path / "clip.wav"), "happy, sad", api_name="/analyse")
        assert set(sounds(home)) == {*examples, "clip.wav"}
    assert not sounds(home) and not list(home.glob("mser-*"))


@pytest.fixture(scope="module")
def site(tiny_model_dir, tmp_path_factory):
    """A browser, and the address of the page. After Ctrl-C, the page leaves no files."""
    home = tmp_path_factory.mktemp("space")
    with open_chromium() as browser, local_page(tiny_model_dir, home, signal.SIGINT) as url:
        yield browser, url
        assert sounds(home)
    assert not sounds(home) and not list(home.glob("mser-*"))


def analyze(site, file: Path, width: int):
    """Open the page, upload a file and start the analysis; below a width of 600 on a telephone."""
    browser, url = site
    page = browser.new_page(viewport={"width": width, "height": 900}, is_mobile=width < 600)
    page.set_default_timeout(60_000)
    page.goto(url)
    # The page is visible before it reacts.
    page.wait_for_function("!!document.querySelector('textarea, input[type=text]')?.value")
    page.locator("input[type=file]").first.set_input_files(file)
    page.locator("audio, #waveform, [data-testid=waveform-Voice]").first.wait_for(state="attached")
    page.get_by_role("button", name="Analyze", exact=True).click()
    return page


def tone(seconds: float) -> np.ndarray:
    time = np.arange(int(16_000 * seconds)) / 16_000
    return 0.2 * np.sin(2 * np.pi * (220 + 20 * np.sin(time)) * time) * np.sin(3 * time) ** 2


def check_layout(page, file: Path, width: int) -> None:
    """Check that nothing exceeds the width and that the screenshot is not blank."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=file, full_page=True)
    picture = matplotlib.image.imread(file)
    assert picture.shape[1] == width and picture.std() > 0.05


@pytest.mark.parametrize("width", [1200, 400])
def test_clip_shows_its_label_and_a_bar_per_word(site, tiny_model_dir, tmp_path, width):
    soundfile.write(tmp_path / "clip.wav", tone(3), 16_000)
    page = analyze(site, tmp_path / "clip.wav", width)
    label = page.locator("[data-testid=label-output-value]").inner_text()
    network, processor = load_model(str(tiny_model_dir), "cpu")
    words = label_set("seven").words
    (prediction,) = recognize(network, processor, [str(tmp_path / "clip.wav")], words)
    assert label == max(prediction.scores, key=prediction.scores.get)
    bars = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.confidence-set')].map(one => [one.querySelector('dt')"
        ".innerText, [one.querySelector('dd').innerText, one.querySelector('.bar').getBoundingClientRect().width / "
        "one.querySelector('.bar').parentElement.getBoundingClientRect().width]]))"
    )
    assert set(bars) == set(words)
    for word, (percent, share) in bars.items():
        assert percent == f"{100 * prediction.scores[word]:.0f}%"
        assert share == pytest.approx(prediction.scores[word], abs=0.01)
    assert "timeline" not in page.inner_html("body").replace("data-testid", "")
    # Gradio's share button would publish the recording.
    assert page.evaluate("!!document.querySelector('[aria-label=Download]')")
    assert not page.evaluate("!!document.querySelector('[aria-label=Share]')")
    check_layout(page, tmp_path / "clip.png", width)


def test_long_recording_shows_a_timeline_and_custom_labels(site, tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(40), 16_000)
    page = analyze(site, tmp_path / "long.wav", 400)
    page.wait_for_function("!!document.querySelector('.timeline')")
    spans = page.evaluate("[...document.querySelectorAll('.timeline span')].map(one => one.title)")
    starts, ends = zip(*(re.match(r"(\d+:\d+) to (\d+:\d+): \w+, 0\.\d\d", title).groups() for title in spans))
    assert starts == ("0:00", *ends[:-1]) and ends[-1] == "0:40"
    check_layout(page, tmp_path / "long.png", 400)
    page.locator("textarea, input[type=text]").first.fill("sad, fear")
    page.get_by_role("button", name="Analyze", exact=True).click()
    page.wait_for_function("document.querySelectorAll('.confidence-set').length === 2")
    assert {"sad", "fear"} == set(page.evaluate("[...document.querySelectorAll('dt')].map(one => one.innerText)"))


def test_new_recording_clears_the_result(site, tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(20), 16_000)
    page = analyze(site, tmp_path / "long.wav", 1200)
    page.wait_for_function("!!document.querySelector('.timeline') && !!document.querySelector('.confidence-set')")
    page.locator(".gallery button").first.click()
    page.wait_for_function("!document.querySelector('.timeline') && !document.querySelector('.confidence-set')")
    page.get_by_role("button", name="Analyze", exact=True).click()
    page.wait_for_function("!!document.querySelector('.confidence-set') && !document.querySelector('.timeline')")


def test_unreadable_file_shows_a_sentence_without_stack_trace(site, tmp_path):
    file = tmp_path / "broken.wav"
    file.write_bytes(b"this is no sound\n" * 100)
    page = analyze(site, file, 1200)
    message = page.locator("[role=alert]").inner_text()
    assert "not readable audio" in message and len(message) < 200 and "\n" not in message
    assert not TRACES.search(page.inner_text("body")) and str(tmp_path) not in page.inner_text("body")
    assert not page.evaluate("document.querySelectorAll('.confidence-set').length")
    check_layout(page, tmp_path / "broken.png", 1200)
