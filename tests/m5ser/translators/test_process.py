# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest
from m5ser_building.toy_corpus import ROOT, TOY
from m5ser_building.toy_translators import Toy

from mser_llm.data.translator import LanguageError, Translation, TranslationError, TranslatorStartError
from mser_llm.m5ser.translators.process import TranslatorProcess


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def start(log):
    started = []

    def start(seconds=10.0, **options):
        started.append(TranslatorProcess(TOY, {"log": str(log), **options}, seconds_per_batch=seconds))
        return started[-1]

    yield start
    for process in started:
        process.close()


def batches(log):
    """Return (pid, ids) of every batch that reached a child."""
    return [(int(line.split()[0]), line.split()[1:]) for line in log.read_text().splitlines()]


def check_speech(translation, clip, **options):
    """Check that a translation is what the translator gives in this process."""
    (expected,) = Toy(**options).translate([clip], "fr")
    np.testing.assert_array_equal(translation.waveform, expected.waveform)


def test_clips_and_translations_pass_unchanged(start, log, make_clips):
    process = start(loudness=0.25)
    # Larger than the buffer of the socket.
    clips = make_clips("good-1", "good-2", repeats=200, speaker="s1", gender="female")
    for _ in range(2):
        for clip, translation in zip(clips, process.translate(clips, "fr")):
            check_speech(translation, clip, loudness=0.25)
            assert translation.sampling_rate == 22_050
            assert translation.transcript == "fr:hello:s1:female:test:en"
            assert translation.metadata == {"seconds": len(translation.waveform), "voice": "m1"}
    assert [ids for _, ids in batches(log)] == [["good-1", "good-2"]] * 2
    assert process.translate([], "fr") == []
    assert process.fingerprint() == {"name": "toy", "loudness": 0.25}
    assert (process.name, process.sampling_rate, process.license) == ("toy", 22_050, "none")
    assert process.non_commercial and not process.redistribution


def test_child_stays_until_it_is_killed_or_closed(start, log, make_clips):
    process = start()
    (clip,) = make_clips("good")
    check_speech(process.translate([clip], "fr")[0], clip)
    with pytest.raises(LanguageError, match="'xx'"):
        process.translate([clip], "xx")
    process.translate([clip], "fr")
    assert len({pid for pid, _ in batches(log)} - {os.getpid()}) == 1
    psutil.Process(batches(log)[0][0]).kill()
    check_speech(process.translate([clip], "fr")[0], clip)
    process.close()
    assert not psutil.pid_exists(batches(log)[-1][0])
    process.close()


@pytest.mark.parametrize(("action", "how"), [("dies", "SIGKILL"), ("exits", "status 3"), ("raises", "a bug")])
def test_crash_costs_one_clip(start, log, make_clips, action, how):
    process = start()
    clips = make_clips("1-crowd", action, "good")  # the first fails in a batch only
    translations = process.translate(clips, "fr")
    assert [type(translation) for translation in translations] == [Translation, TranslationError, Translation]
    check_speech(translations[0], clips[0])
    check_speech(translations[2], clips[2])
    assert how in str(translations[1])
    assert [ids for _, ids in batches(log)] == [["1-crowd", action, "good"], ["1-crowd"], [action], ["good"]]
    assert isinstance(process.translate(clips[2:], "fr")[0], Translation)
    running = {pid for pid, _ in batches(log) if psutil.pid_exists(pid)}
    assert running == {batches(log)[-1][0]}


def test_hang_costs_one_clip_and_its_time_limit(start, log, make_clips):
    process = start(seconds=1.0)
    begin = time.monotonic()
    translations = process.translate(make_clips("good-1", "hangs"), "fr")
    assert 2.0 < time.monotonic() - begin < 60.0
    assert isinstance(translations[0], Translation) and isinstance(translations[1], TranslationError)
    assert not psutil.pid_exists(batches(log)[0][0])


def test_interrupted_batch_leaves_no_late_translation(start, log, make_clips):
    process = start()
    hanging, good = make_clips("hangs", "good")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.translate([hanging], "fr")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    (translation,) = process.translate([good], "fr")
    check_speech(translation, good)
    assert not psutil.pid_exists(batches(log)[0][0])


def test_invalid_output_costs_one_clip_and_no_restart(start, log, make_clips):
    values = {"silence": "peak 0", "nan": "2 of", "empty": "empty", "flat": "(1, 6"}
    values |= {"slow": "4000 Hz", "rate": "8000 Hz", "declines": "cannot say that"}
    first, *translations, last = start().translate(make_clips("good-1", *values, "good-2"), "fr")
    assert isinstance(first, Translation) and isinstance(last, Translation)
    for translation, value in zip(translations, values.values(), strict=True):
        assert isinstance(translation, TranslationError) and value in str(translation)
    assert len(batches(log)) == 1


@pytest.mark.parametrize(("at_start", "how"), [("raises", "a bug"), ("dies", "SIGKILL"), ("hangs", "2 s")])
def test_start_errors_say_how_the_translator_failed(at_start, how):
    with pytest.raises(TranslatorStartError, match=how):
        TranslatorProcess(TOY, {"at_start": at_start}, seconds_to_start=2.0 if at_start == "hangs" else 60.0)


def test_unknown_option_raises_as_in_the_parent():
    with pytest.raises(ValueError, match="gian"):
        TranslatorProcess(TOY, {"gian": 1.0})


@pytest.mark.skipif(sys.platform != "linux", reason="relies on Linux's parent-death signal")
def test_child_dies_with_its_parent(log):
    # A grandchild keeps the socket open, and a hanging child does not read it: neither may keep the child alive.
    code = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import numpy as np\n"
        "from mser_llm.data.translator import SourceClip\n"
        "from mser_llm.m5ser.translators.process import TranslatorProcess\n"
        f"process = TranslatorProcess({TOY!r}, {{'log': {str(log)!r}}})\n"
        "if os.fork() == 0:\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "process.translate([SourceClip('hangs', np.ones(100, np.float32), 'en')], 'fr')\n"
        "time.sleep(60)\n"
    )
    parent = psutil.Popen([sys.executable, "-c", code], cwd=ROOT)
    children = []
    try:
        end = time.monotonic() + 60
        while not (log.exists() and batches(log)):
            assert time.monotonic() < end
            time.sleep(0.01)
        children = parent.children()
    finally:
        parent.kill()
        parent.wait()
    try:
        (translator,) = [child for child in children if child.pid == batches(log)[0][0]]
        assert psutil.wait_procs([translator], timeout=60)[1] == []
    finally:
        for child in children:
            if child.is_running():
                child.kill()
