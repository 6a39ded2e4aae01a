# SPDX-License-Identifier: Apache-2.0
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from processes import gone, wait_for

from mser_llm.data.synthesis.espeak import Espeak, EspeakError, utterance_seed


pytest.importorskip("espeakng_loader")

ROOT = Path(__file__).resolve().parents[3]
UTTERANCES = [
    ("Die Schlüssel liegen auf dem Küchentisch.", "de+f2"),
    ("The bus stops at the corner.", "en+m3"),
    ("钥匙在厨房的桌子上。", "cmn+linda"),
    ("The bus stops at the corner.", "en+f5"),
    ("Το παράθυρο είναι ανοιχτό.", "el+m4"),
]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def espeak():
    with Espeak() as espeak:
        yield espeak


def speak_all(espeak, order) -> dict[int, bytes]:
    return {i: espeak.speak(UTTERANCES[i][0], voice=UTTERANCES[i][1], seed=i).tobytes() for i in order}


def test_bytes_do_not_depend_on_order_and_process(espeak):
    reference = speak_all(espeak, range(len(UTTERANCES)))
    order = [*range(len(UTTERANCES))] * 2
    random.Random(0).shuffle(order)
    assert speak_all(espeak, order) == reference
    assert len(set(reference.values())) == len(UTTERANCES)
    with Espeak() as other:
        assert speak_all(other, reversed(reference)) == reference


def test_seed_and_prosody_change_the_samples(espeak):
    text, voice = UTTERANCES[1]
    plain = espeak.speak(text, voice=voice, seed=1)
    assert plain.dtype == np.int16
    assert 1.0 < len(plain) / espeak.sampling_rate < 3.0
    # Only breathy voices contain noise.
    breathy = [espeak.speak(text, voice="en+f5", seed=seed).tobytes() for seed in (1, 1, 2)]
    assert breathy[0] == breathy[1] != breathy[2]
    assert len(espeak.speak(text, voice=voice, seed=1, rate=300)) < 0.8 * len(plain)

    def crossings(samples):
        return np.mean(np.diff(np.sign(samples.astype(float) - samples.mean())) != 0)

    low, high = (espeak.speak("aaaa", voice="en+m3", seed=1, pitch=pitch) for pitch in (10, 90))
    assert crossings(high) > crossings(low)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_killed_child_is_replaced(espeak):
    text = "The bus stops at the corner. " * 400
    reference = espeak.speak(text, voice="en+f2", seed=7).tobytes()
    spoken = []
    speaker = threading.Thread(target=lambda: spoken.append(espeak.speak(text, voice="en+f2", seed=7).tobytes()))
    speaker.start()
    server = espeak._process.pid
    wait_for(lambda: children(server))
    os.kill(children(server)[0], signal.SIGKILL)
    speaker.join()
    assert spoken == [reference]


def test_killed_server_is_restarted(espeak):
    reference = speak_all(espeak, [0, 1])
    espeak._process.kill()
    espeak._process.wait()
    assert speak_all(espeak, [1, 0]) == reference


def test_wrong_request_raises_and_the_next_one_works(espeak):
    reference = speak_all(espeak, [0])
    for text, voice in (("hello", "xx-none"), ("", "en")):
        with pytest.raises(EspeakError) as caught:
            espeak.speak(text, voice=voice, seed=1)
        assert repr(voice) in str(caught.value)
    assert speak_all(espeak, [0]) == reference


def test_close_ends_the_process():
    espeak = Espeak()
    process = espeak._process
    espeak.close()
    assert process.returncode == 0
    espeak.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_process_ends_with_its_parent():
    # The fork keeps the pipe open, as the worker of a data loader does.
    code = (
        "import subprocess, sys, time, os\n"
        "from mser_llm.data.synthesis.espeak import Espeak\n"
        "espeak = Espeak()\n"
        "if os.fork() == 0:\n"
        "    time.sleep(30)\n"
        "    os._exit(0)\n"
        "print(espeak._process.pid, flush=True)\n"
        "time.sleep(30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    server = int(parent.stdout.readline())
    worker = next(pid for pid in children(parent.pid) if pid != server)
    try:
        assert not gone(server)
        parent.kill()
        parent.wait()
        wait_for(lambda: gone(server))
    finally:
        parent.stdout.close()
        os.kill(worker, signal.SIGKILL)


def test_utterance_seed_is_equal_everywhere():
    # blake2b of "row-1\0de\0" + "3", as `b2sum -l 32` prints it: four bytes, big-endian, halved.
    assert utterance_seed("row-1", "de", 3) == 0xEE975C06 // 2
    seeds = {utterance_seed(row, language, seed) for row in ("a", "b") for language in ("de", "en") for seed in (0, 1)}
    assert len(seeds) == 8
    assert max(seeds) < 2**31


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EspeakError) as caught:
        Espeak()
    assert "mser-llm[demo]" in caught.value.fix and "GPL-3.0" in caught.value.fix
