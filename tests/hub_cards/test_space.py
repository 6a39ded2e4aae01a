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
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from chromium import Chromium, find_chromium
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


def test_pushed_space_runs_from_its_own_files(tiny_model_dir, loopback_hub, tmp_path):
    from gradio_client import Client, handle_file

    owner = {**os.environ, **loopback_hub.environment(tmp_path / "owner", token="hf_owner")}
    push = [
        sys.executable,
        ROOT / "run_mser.py",
        "push",
        "--model",
        tiny_model_dir,
        "--repo_id",
        "org/shown",
        "--space",
    ]
    subprocess.run([str(word) for word in push], env=owner, capture_output=True, check=True)
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


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_page_leaves_no_files(tiny_model_dir, tmp_path, stop):
    from gradio_client import Client, handle_file

    soundfile.write(tmp_path / "clip.wav", tone(3), 16_000)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, ROOT / "run_mser.py", "space", "--model", tiny_model_dir, "--device", "cpu"]
    settings = {"TMPDIR": str(tmp_path / "tmp"), "GRADIO_TEMP_DIR": str(tmp_path / "tmp" / "gradio")}

    def left() -> list[str]:
        return sorted({file.name for file in (tmp_path / "tmp").rglob("*") if file.suffix in (".flac", ".wav")})

    with served(*command, stop=stop, env=settings) as url:
        examples = left()
        Client(url, verbose=False).predict(handle_file(tmp_path / "clip.wav"), "happy, sad", api_name="/analyse")
        assert set(left()) == {*examples, "clip.wav"}
    assert not left() and not list((tmp_path / "tmp").glob("mser-*"))


@pytest.fixture(scope="module")
def page(tiny_model_dir, tmp_path_factory):
    """A browser with the address of the page of `run-mser space`."""
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine; apt install chromium")
    home = tmp_path_factory.mktemp("space")
    command = [sys.executable, ROOT / "run_mser.py", "space", "--model", tiny_model_dir, "--device", "cpu"]
    with (
        served(*command, env={"GRADIO_TEMP_DIR": str(home), "HF_HUB_OFFLINE": "1"}) as url,
        Chromium(program) as browser,
    ):
        browser.address = url
        yield browser


def upload(browser: Chromium, file: Path, width: int) -> None:
    """Reload the page, upload a file and start the analysis."""
    browser.open("about:blank", width)
    browser.open(browser.address, width)
    browser.wait_for("!!document.querySelector('input[type=file]')")
    # The page is visible before it reacts.
    browser.wait_for("!!document.querySelector('textarea, input[type=text]')?.value")
    browser.upload(file)
    browser.wait_for("!!document.querySelector('audio, #waveform, [data-testid=waveform-Voice]')")
    browser.click("Analyze")


def tone(seconds: float) -> np.ndarray:
    time = np.arange(int(16_000 * seconds)) / 16_000
    return 0.2 * np.sin(2 * np.pi * (220 + 20 * np.sin(time)) * time) * np.sin(3 * time) ** 2


def check_layout(browser: Chromium, file: Path, width: int) -> None:
    """Check that nothing exceeds the width and that the screenshot is not blank."""
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.screenshot(file)
    picture = matplotlib.image.imread(file)
    assert picture.shape[1] == width and picture.std() > 0.05


@pytest.mark.parametrize("width", [1200, 400])
def test_clip_shows_its_label_and_a_bar_per_word(page, tiny_model_dir, tmp_path, width):
    soundfile.write(tmp_path / "clip.wav", tone(3), 16_000)
    upload(page, tmp_path / "clip.wav", width)
    label = page.wait_for("document.querySelector('[data-testid=label-output-value]')?.innerText")
    network, processor = load_model(str(tiny_model_dir), "cpu")
    words = label_set("seven").words
    (prediction,) = recognize(network, processor, [str(tmp_path / "clip.wav")], words)
    assert label == max(prediction.scores, key=prediction.scores.get)
    bars = page.value(
        "Object.fromEntries([...document.querySelectorAll('.confidence-set')].map(one => [one.querySelector('dt')"
        ".innerText, [one.querySelector('dd').innerText, one.querySelector('.bar').getBoundingClientRect().width / "
        "one.querySelector('.bar').parentElement.getBoundingClientRect().width]]))"
    )
    assert set(bars) == set(words)
    for word, (percent, share) in bars.items():
        assert percent == f"{100 * prediction.scores[word]:.0f}%"
        assert share == pytest.approx(prediction.scores[word], abs=0.01)
    assert "timeline" not in page.value("document.body.innerHTML").replace("data-testid", "")
    # Gradio's share button would publish the recording.
    assert page.value("!!document.querySelector('[aria-label=Download]')")
    assert not page.value("!!document.querySelector('[aria-label=Share]')")
    check_layout(page, tmp_path / "clip.png", width)


def test_long_recording_shows_a_timeline_and_custom_labels(page, tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(40), 16_000)
    upload(page, tmp_path / "long.wav", 400)
    page.wait_for("!!document.querySelector('.timeline')")
    spans = page.value("[...document.querySelectorAll('.timeline span')].map(one => one.title)")
    starts, ends = zip(*(re.match(r"(\d+:\d+) to (\d+:\d+): \w+, 0\.\d\d", title).groups() for title in spans))
    assert starts == ("0:00", *ends[:-1]) and ends[-1] == "0:40"
    check_layout(page, tmp_path / "long.png", 400)
    page.value("document.querySelector('textarea, input[type=text]').select()")
    page.ask("Input.insertText", text="sad, fear")
    page.click("Analyze")
    page.wait_for("document.querySelectorAll('.confidence-set').length === 2")
    assert {"sad", "fear"} == set(page.value("[...document.querySelectorAll('dt')].map(one => one.innerText)"))


def test_new_recording_clears_the_result(page, tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(20), 16_000)
    upload(page, tmp_path / "long.wav", 1200)
    page.wait_for("!!document.querySelector('.timeline') && !!document.querySelector('.confidence-set')")
    page.value("document.querySelector('.gallery button').click()")
    page.wait_for("!document.querySelector('.timeline') && !document.querySelector('.confidence-set')")
    page.click("Analyze")
    page.wait_for("!!document.querySelector('.confidence-set') && !document.querySelector('.timeline')")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"this is no sound\n" * 100, "not readable audio"),
        (b"", "not readable audio"),
        (None, "The recording is silent"),
    ],
    ids=["text", "empty", "silence"],
)
def test_unreadable_file_shows_a_sentence_without_stack_trace(page, tmp_path, content, sentence):
    file = tmp_path / "broken.wav"
    if content is None:
        soundfile.write(file, np.zeros(32_000), 16_000)
    else:
        file.write_bytes(content)
    upload(page, file, 1200)
    message = page.wait_for("document.querySelector('[role=alert]')?.innerText")
    assert sentence in message and len(message) < 200 and "\n" not in message
    assert not TRACES.search(page.text()) and str(tmp_path) not in page.text()
    assert not page.value("document.querySelectorAll('.confidence-set').length")
    check_layout(page, tmp_path / "broken.png", 1200)
