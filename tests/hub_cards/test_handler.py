# SPDX-License-Identifier: Apache-2.0
"""The endpoint handler in a separate process without this project, as on an Inference Endpoint."""

import base64
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile


pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# Records the files and connections that a request opens; libraries may load their own files.
SERVER = """
import json, os, pickle, re, sys
packages = {"processing_mser", "modeling_mser", "mser_llm"}
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in packages:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, NotInstalled())
sys.path.insert(0, sys.argv[1])
from handler import EndpointHandler
handler = EndpointHandler(sys.argv[1])
touched, watching = [], False
def watch(event, arguments):
    if watching and event in ("open", "socket.connect", "socket.getaddrinfo", "os.system", "subprocess.Popen"):
        touched.append(str(arguments[0]))
sys.addaudithook(watch)
def peak():
    # Not ru_maxrss, which includes that of the parent process.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
handler(pickle.load(open(sys.argv[2], "rb"))[0])
requests, answers = pickle.load(open(sys.argv[2], "rb")), []
# Resets the peak: loading all requests does not count.
open("/proc/self/clear_refs", "w").write("5")
before = peak()
watching = True
for request in requests:
    try:
        answers.append({"answer": handler(request)})
    except Exception as error:
        answers.append({"error": str(error), "kind": type(error).__name__, "status": getattr(error, "status", 500)})
watching = False
grown = peak() - before
libraries = tuple({sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), "/proc", "/sys"})
touched = [path for path in touched if not path.startswith(libraries)]
print(json.dumps({"answers": answers, "touched": touched, "grown_mb": grown / 1024}))
"""


@pytest.fixture(scope="module")
def endpoint(tiny_model_dir, tmp_path_factory):
    """A function that sends requests to a server and returns its results."""
    folder = tmp_path_factory.mktemp("endpoint") / "repository"
    shutil.copytree(tiny_model_dir, folder)
    shutil.copy(ROOT / "hub_cards" / "handler.py", folder)

    def serve(requests):
        (folder.parent / "requests").write_bytes(pickle.dumps(requests))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "home")}
        command = [sys.executable, "-P", "-c", SERVER, str(folder), str(folder.parent / "requests")]
        done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return serve


def tone(seconds=0.5, rate=16_000, channels=1, form="WAV", **options):
    """Return a file with a falling tone."""
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * (300 - 40 * time) * time)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(sound[:, None], channels, axis=1), rate, format=form, **options)
    return file.getvalue()


def text(sound):
    return base64.b64encode(sound).decode()


def silence(hours, rate=16_000):
    """Return hours of silence as a FLAC of a few kilobytes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format="FLAC", subtype="PCM_16") as sound:
        block = np.zeros(rate * 600, np.int16)
        for _ in range(int(hours * 6)):
            sound.write(block)
    return file.getvalue()


def with_too_long_header(sound, seconds=10**6):
    """Return a WAV with too great a length in its header."""
    return sound[:40] + (seconds * 32_000 % 2**32).to_bytes(4, "little") + sound[44:]


def good_requests():
    sounds = [
        tone(0.2 + 0.05 * n, rate, channels) for n in range(2) for rate in (8_000, 16_000) for channels in (1, 2)
    ]
    sounds += [tone(0.5, 16_000, 1, form) for form in ("FLAC", "OGG", "AIFF", "MP3")] + [tone(1.0, 44_100)]
    parameters = [None, {}, {"top_k": 2}, {"candidate_labels": ["happy", "sad"]}]
    requests = [{"inputs": sound} for sound in sounds] + [{"inputs": text(sound)} for sound in sounds]
    requests += [{"inputs": "data:audio/wav;base64," + text(sounds[0])}, {"inputs": bytearray(sounds[1])}]
    requests += [{"inputs": sounds[0], "parameters": {"candidate_labels": "happy, sad", "timeline": True}}]
    allowed = {"candidate_labels": ["calm", "tired"], "allow_unlearned_labels": True}
    requests += [{"inputs": sounds[0], "parameters": allowed}]
    return requests + [{"inputs": sounds[n % 7], "parameters": parameters[n % 4]} for n in range(28)]


def hostile_requests(secret):
    """Pairs of a request and a part of the expected error."""
    fine, emoji = tone(), [chr(0x1F600 + n) * 60 for n in range(64)]
    inputs = {
        "inputs are NoneType": [None],
        "inputs are int": [7],
        "inputs are list": [[text(fine)]],
        "inputs are dict": [{"path": str(secret)}, {"array": [0.0] * 9, "sampling_rate": 16_000}],
        "empty": [b"", "", "data:audio/wav;base64,"],
        "not readable audio": [
            *(b"\0", os.urandom(5_000), b"<html><body>no</body></html>", b"PK\3\4" + bytes(500)),
            *(b"RIFF" + b"\xff" * 4 + b"WAVEfmt ", str(secret).encode()),
        ],
        "": [
            *(b"fLaC" + b"\xff" * 60, b"OggS" + bytes(100), b"ID3\4" + bytes(200), fine[:30], fine[:46]),
            *(tone(form="FLAC")[:2_000], str(secret), "/dev/zero"),
        ],
        "damaged or cut short": [with_too_long_header(fine)],
        "too short": [tone(0.02)],
        "silent": [tone(0.5)[:44] + bytes(16_000)],
        "base64": [
            *("../" * 12 + "etc/passwd", f"file://{secret}", "http://127.0.0.1:9/clip.wav", "ünïcode", "\ud800"),
        ],
        "longer than 32 MiB": ["A" * (50 << 20), bytes(33 << 20)],
        "longer than 600 s": [silence(3), tone(660, 8_000, 1, "FLAC")],
        "150 s at 192000 Hz": [silence(1, rate=192_000)],
        "64 channels": [tone(0.2, 16_000, 64, "WAV")],
    }
    parameters = [
        ([], "parameters are list"),
        ({"model": "/etc"}, "'model'"),
        ({"top_k": 0}, "top_k is '0'"),
        ({"top_k": True}, "top_k is 'True'"),
        ({"top_k": "9" * 10_000}, "top_k is '999"),
        ({"timeline": "yes"}, "timeline is 'yes'"),
        ({"allow_unlearned_labels": 1}, "allow_unlearned_labels is '1'"),
        ({"candidate_labels": ["calm", "tired"]}, "choose from neutral, happy"),
        (
            {"candidate_labels": ["a" + one for one in emoji], "allow_unlearned_labels": True},
            "tokens together, the limit is 512",
        ),
        ({"candidate_labels": emoji}, "a letter"),
        ({"candidate_labels": []}, "0 words"),
        ({"candidate_labels": ["sad"]}, "1 words"),
        ({"candidate_labels": [1, 2]}, "not a list of words"),
        ({"candidate_labels": ["sad", "sad"]}, "2 words"),
        ({"candidate_labels": ["sad", "x" * 10_000]}, "64 letters"),
        ({"candidate_labels": [f"w{n}" for n in range(5_000)]}, "5000 words"),
        ({"candidate_labels": "a," * 10_000_000}, "not a list of words"),
    ]
    return [
        *((request, 'no "inputs"') for request in ({}, [], None, {"input": fine})),
        *(({"inputs": one}, expected) for expected, forms in inputs.items() for one in forms),
        *(({"inputs": fine, "parameters": given}, expected) for given, expected in parameters),
    ]


@pytest.fixture(scope="module")
def served(endpoint, tmp_path_factory):
    """Results of the valid requests mixed with the hostile ones."""
    secret = tmp_path_factory.mktemp("secret") / "secret.wav"
    secret.write_bytes(tone())
    good, hostile = good_requests(), hostile_requests(secret)
    requests = [(request, None) for request in good[1:]] + hostile
    random.Random(0).shuffle(requests)
    requests.insert(0, (good[0], None))
    found = endpoint([request for request, _ in requests])
    results = list(zip(requests, found["answers"], strict=True))
    found["good"] = [(request, response) for (request, expected), response in results if expected is None]
    found["hostile"] = [(expected, response) for (_, expected), response in results if expected is not None]
    return found


def test_handler_answers_valid_requests(served):
    assert len(served["good"]) > 50
    for request, response in served["good"]:
        parameters = request.get("parameters") or {}
        scores = response["answer"]
        if parameters.get("timeline"):
            assert [(one["start"], one["end"]) for one in scores] == [(0.0, 0.2)]
            continue
        mark = {"unlearned"} if "allow_unlearned_labels" in parameters else set()
        assert all(set(one) - {"bandwidth_hz"} == {"label", "score"} | mark for one in scores)
        values = [one["score"] for one in scores]
        assert values == sorted(values, reverse=True)
        if "top_k" in parameters:
            assert len(scores) == 2
        else:
            assert sum(values) == pytest.approx(1, abs=1e-5)
        if "candidate_labels" in parameters:
            assert {one["label"] for one in scores} == ({"calm", "tired"} if mark else {"happy", "sad"})


def test_bytes_and_base64_give_equal_results(served):
    plain = [(request["inputs"], response) for request, response in served["good"] if request.keys() == {"inputs"}]
    of_bytes, of_text = (
        [one for given, one in plain if given == form] for form in (tone(0.2, 8_000), text(tone(0.2, 8_000)))
    )
    assert of_bytes == of_text != []


def test_hostile_requests_give_status_400_and_one_line(served):
    assert len(served["hostile"]) >= 40
    for expected, response in served["hostile"]:
        assert response.get("kind") == "BadRequest" and response["status"] == 400, (expected, response)
        assert expected in response["error"] and "\n" not in response["error"] and len(response["error"]) < 400


def test_requests_open_no_file_or_connection_and_take_limited_memory(served):
    assert served["touched"] == []
    # The largest request has 50 MB of text; ten decoded minutes at 48 kHz take 115 MB.
    assert served["grown_mb"] < 300
