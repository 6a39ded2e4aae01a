# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import gone, wait_for

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
    """(pid, ids) of every batch that reached a child."""
    return [(int(line.split()[0]), line.split()[1:]) for line in log.read_text().splitlines()]


def test_what_goes_in_comes_out(start, log, make_clips):
    process = start(gain=0.25)
    clips = make_clips("good-1", "good-2", speaker="s1", gender="female")
    for _ in range(2):
        answers = process.translate(clips, "de")
        for clip, answer in zip(clips, answers):
            np.testing.assert_array_equal(answer.waveform, clip.waveform * np.float32(0.25))
            assert answer.sampling_rate == 16_000
            assert answer.transcript == "de:hello:s1:female:test:en"
            assert answer.metadata == {"seconds": len(clip.waveform), "voice": "m1"}
    assert [ids for _, ids in batches(log)] == [["good-1", "good-2"]] * 2
    assert len({pid for pid, _ in batches(log)} - {os.getpid()}) == 1, "one child for all batches"
    assert process.translate([], "de") == []


def test_licence_name_and_rate_are_the_translators_own(start):
    process = start()
    assert process.fingerprint() == {"name": "misbehaving", "gain": 0.5}
    assert (process.name, process.sampling_rate, process.license) == ("misbehaving", 16_000, "none")
    assert process.non_commercial
    assert not process.redistribution


@pytest.mark.parametrize(
    ("guilty", "message"),
    [
        ("die", r"died \(SIGSEGV\) on this clip"),
        ("exit", r"died \(status 3\) on this clip"),
        ("raise", r"failed \(RuntimeError: out of memory\) on this clip"),
    ],
)
def test_a_death_costs_the_guilty_clip_alone(start, log, make_clips, guilty, message):
    process = start()
    clips = make_clips("good-1", guilty, "good-2")
    answers = process.translate(clips, "fr")
    assert [type(answer) for answer in answers] == [Translation, TranslationError, Translation]
    assert (answers[0].waveform == clips[0].waveform / 2).all()
    assert (answers[2].waveform == clips[2].waveform / 2).all()
    with pytest.raises(TranslationError, match=message):
        raise answers[1]
    assert [ids for _, ids in batches(log)] == [["good-1", guilty, "good-2"], ["good-1"], [guilty], ["good-2"]]
    assert isinstance(process.translate(clips[:1], "fr")[0], Translation)
    assert all(gone(pid) for pid, _ in batches(log)[:-1] if pid != batches(log)[-1][0])


def test_hanging_costs_the_guilty_clip_and_its_time(start, log, make_clips):
    process = start(seconds=1.0)
    begin = time.monotonic()
    answers = process.translate(make_clips("good-1", "hang"), "fr")
    assert 2.0 < time.monotonic() - begin < 60.0
    assert isinstance(answers[0], Translation)
    assert str(answers[1]) == "the translator took longer than 1 s on this clip"
    assert gone(batches(log)[0][0])


def test_no_clip_is_lost_where_only_the_batch_was_too_much(start, make_clips):
    answers = start().translate(make_clips("crowd-1", "crowd-2", "good"), "fr")
    assert [type(answer) for answer in answers] == [Translation] * 3


def test_a_child_killed_between_two_batches_is_replaced(start, log, make_clips):
    process = start()
    (first,) = process.translate(make_clips("good"), "fr")
    os.kill(batches(log)[0][0], signal.SIGKILL)
    (second,) = process.translate(make_clips("good"), "fr")
    assert (first.waveform == second.waveform).all()


@pytest.mark.parametrize(
    ("guilty", "message"),
    [
        ("silent", "the translation is silent (peak 0)"),
        ("nan", "the translation has 2 of 4001 samples that are no finite numbers"),
        ("empty", "the translation is empty"),
        ("flat", "the translation has the shape (1, 4001), not (samples,)"),
        ("slow", "the translation has a sampling rate of 4000 Hz, not 8000 to 192000"),
        ("rate", "the translation has a sampling rate of 22050 Hz, and the translator declares 16000"),
        ("refuse", "no speech in it"),
    ],
)
def test_nonsense_costs_the_guilty_clip_alone_and_no_child(start, log, make_clips, guilty, message):
    answers = start().translate(make_clips("good-1", guilty, "good-2"), "fr")
    assert [type(answer) for answer in answers] == [Translation, TranslationError, Translation]
    assert str(answers[1]) == message
    assert len(batches(log)) == 1


def test_a_batch_longer_than_a_pipe_holds_passes_both_ways(start, make_clips):
    clips = [clip for clip in make_clips("good") for _ in range(3)]
    clips = [type(clip)(**{**vars(clip), "waveform": np.tile(clip.waveform, 200)}) for clip in clips]
    assert [len(answer.waveform) for answer in start().translate(clips, "fr")] == [800_000] * 3


def test_a_language_that_it_does_not_speak_stops_the_batch_and_leaves_the_child(start, make_clips):
    process = start()
    with pytest.raises(LanguageError, match="does not speak 'xx'"):
        process.translate(make_clips("good"), "xx")
    assert isinstance(process.translate(make_clips("good"), "fr")[0], Translation)


@pytest.mark.parametrize(
    ("at_start", "message"),
    [
        ("raise", "'misbehaving.*' did not start: RuntimeError: no weights in /nowhere"),
        ("die", r"'misbehaving.*' died \(SIGKILL\) while it was starting"),
        ("hang", "'misbehaving.*' took longer than 2 s while it was starting"),
    ],
)
def test_a_translator_that_cannot_start_is_a_clear_stop(misbehaving, at_start, message):
    with pytest.raises(TranslatorStartError, match=message):
        TranslatorProcess(misbehaving, {"at_start": at_start}, seconds_to_start=2.0 if at_start == "hang" else 60.0)


def test_a_wrong_option_is_told_as_without_a_process(misbehaving):
    with pytest.raises(ValueError, match=r"gian.*gain, at_start, log"):
        TranslatorProcess(misbehaving, {"gian": 1.0})


def test_closing_ends_the_child(start, log, make_clips):
    process = start()
    process.translate(make_clips("good"), "fr")
    process.close()
    assert gone(batches(log)[0][0])
    process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel, and looks in /proc")
@pytest.mark.parametrize("clip", ["good", "hang"])
def test_the_child_dies_with_its_parent(misbehaving, log, clip):
    # The grandchild keeps the pipes open, and a child that hangs reads none: neither may keep it alive.
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
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        wait_for(log.exists)
        wait_for(lambda: batches(log))
        child = batches(log)[0][0]
        others = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
        assert child in others
        assert not gone(child)
    finally:
        parent.kill()
        parent.wait()
    try:
        wait_for(lambda: gone(child))
    finally:
        for pid in others:
            if pid != child:
                os.kill(pid, signal.SIGKILL)
