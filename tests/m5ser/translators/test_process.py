# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from mser_llm.data.translator import LanguageError, Translation, TranslationError, TranslatorStartError
from mser_llm.m5ser.translators.process import TranslatorProcess


ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def start(misbehaving, log):
    started = []

    def start(seconds=10.0, **options):
        started.append(TranslatorProcess(misbehaving, {"log": str(log), **options}, seconds_per_batch=seconds))
        return started[-1]

    yield start
    for process in started:
        process.close()


def batches(log):
    """Return (pid, ids) of every batch that reached a child."""
    return [(int(line.split()[0]), line.split()[1:]) for line in log.read_text().splitlines()]


def test_clips_and_translations_pass_unchanged(start, log, make_clips):
    process = start(gain=0.25)
    clips = make_clips("good-1", "good-2", speaker="s1", gender="female")
    for _ in range(2):
        for clip, translation in zip(clips, process.translate(clips, "de")):
            np.testing.assert_array_equal(translation.waveform, clip.waveform * np.float32(0.25))
            assert translation.sampling_rate == 16_000
            assert translation.transcript == "de:hello:s1:female:test:en"
            assert translation.metadata == {"seconds": len(clip.waveform), "voice": "m1"}
    assert [ids for _, ids in batches(log)] == [["good-1", "good-2"]] * 2
    assert len({pid for pid, _ in batches(log)} - {os.getpid()}) == 1, "one child for all batches"
    assert process.translate([], "de") == []
    assert process.fingerprint() == {"name": "misbehaving", "gain": 0.25}
    assert (process.name, process.sampling_rate, process.license) == ("misbehaving", 16_000, "none")
    assert process.non_commercial and not process.redistribution


@pytest.mark.parametrize(("action", "how"), [("die", "SIGSEGV"), ("exit", "status 3"), ("raise", "out of memory")])
def test_crash_costs_one_clip(start, log, make_clips, action, how):
    process = start()
    clips = make_clips("good-1", action, "good-2")
    translations = process.translate(clips, "fr")
    assert [type(translation) for translation in translations] == [Translation, TranslationError, Translation]
    assert (translations[0].waveform == clips[0].waveform / 2).all()
    assert (translations[2].waveform == clips[2].waveform / 2).all()
    assert how in str(translations[1])
    assert [ids for _, ids in batches(log)] == [["good-1", action, "good-2"], ["good-1"], [action], ["good-2"]]
    assert isinstance(process.translate(clips[:1], "fr")[0], Translation)
    running = {pid for pid, _ in batches(log) if psutil.pid_exists(pid)}
    assert running == {batches(log)[-1][0]}


def test_hang_costs_one_clip_and_its_time_limit(start, log, make_clips):
    process = start(seconds=1.0)
    begin = time.monotonic()
    translations = process.translate(make_clips("good-1", "hang"), "fr")
    assert 2.0 < time.monotonic() - begin < 60.0
    assert isinstance(translations[0], Translation) and isinstance(translations[1], TranslationError)
    assert not psutil.pid_exists(batches(log)[0][0])


def test_no_clip_is_lost_if_only_the_batch_fails(start, make_clips):
    translations = start().translate(make_clips("crowd-1", "crowd-2", "good"), "fr")
    assert [type(translation) for translation in translations] == [Translation] * 3


def test_child_killed_between_batches_is_replaced(start, log, make_clips):
    process = start()
    (first,) = process.translate(make_clips("good"), "fr")
    psutil.Process(batches(log)[0][0]).kill()
    (second,) = process.translate(make_clips("good"), "fr")
    assert (first.waveform == second.waveform).all()


def test_interrupted_batch_leaves_no_late_translation(start, log, make_clips):
    process = start()
    delayed, good = make_clips("delay", "good")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.translate([delayed], "fr")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    (translation,) = process.translate([good], "fr")
    np.testing.assert_array_equal(translation.waveform, good.waveform / 2)
    assert not psutil.pid_exists(batches(log)[0][0])


def test_invalid_output_costs_one_clip_and_no_restart(start, log, make_clips):
    values = {"silent": "peak 0", "nan": "2 of", "empty": "empty", "flat": "(1, 4"}
    values |= {"slow": "4000 Hz", "rate": "22050 Hz", "decline": "no speech in it"}
    first, *translations, last = start().translate(make_clips("good-1", *values, "good-2"), "fr")
    assert isinstance(first, Translation) and isinstance(last, Translation)
    for translation, value in zip(translations, values.values(), strict=True):
        assert isinstance(translation, TranslationError) and value in str(translation)
    assert len(batches(log)) == 1


def test_batch_larger_than_the_socket_buffer_passes_both_ways(start, make_clips):
    clips = [clip for clip in make_clips("good") for _ in range(3)]
    clips = [type(clip)(**{**vars(clip), "waveform": np.tile(clip.waveform, 200)}) for clip in clips]
    assert [len(translation.waveform) for translation in start().translate(clips, "fr")] == [800_000] * 3


def test_unsupported_language_raises_and_keeps_the_child(start, log, make_clips):
    process = start()
    with pytest.raises(LanguageError, match="'xx'"):
        process.translate(make_clips("good"), "xx")
    for _ in range(2):
        assert isinstance(process.translate(make_clips("good"), "fr")[0], Translation)
    assert len({pid for pid, _ in batches(log)}) == 1


@pytest.mark.parametrize(("at_start", "how"), [("raise", "/nowhere"), ("die", "SIGKILL"), ("hang", "2 s")])
def test_start_errors_say_how_the_translator_failed(misbehaving, at_start, how):
    with pytest.raises(TranslatorStartError, match=how):
        TranslatorProcess(misbehaving, {"at_start": at_start}, seconds_to_start=2.0 if at_start == "hang" else 60.0)


def test_unknown_option_raises_as_in_the_parent(misbehaving):
    with pytest.raises(ValueError, match="gian"):
        TranslatorProcess(misbehaving, {"gian": 1.0})


def test_close_ends_the_child(start, log, make_clips):
    process = start()
    process.translate(make_clips("good"), "fr")
    process.close()
    assert not psutil.pid_exists(batches(log)[0][0])
    process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="relies on Linux's parent-death signal")
@pytest.mark.parametrize("clip", ["good", "hang"])
def test_child_dies_with_its_parent(misbehaving, log, clip):
    # A grandchild keeps the socket open, and a hanging child does not read it: neither may keep the child alive.
    code = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import numpy as np\n"
        "from mser_llm.data.translator import SourceClip\n"
        "from mser_llm.m5ser.translators.process import TranslatorProcess\n"
        f"process = TranslatorProcess({misbehaving!r}, {{'log': {str(log)!r}}})\n"
        "if os.fork() == 0:\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        f"process.translate([SourceClip({clip!r}, np.ones(100, np.float32), 'en')], 'fr')\n"
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
