# SPDX-License-Identifier: Apache-2.0
"""Clips are mixed with suitable others, reproducibly."""

import numpy as np
import pytest
import soundfile

from mser_llm.data.schema import new_row
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.robustness.conditions import BABBLE_SPEAKERS, CONDITIONS, select_conditions
from mser_llm.evaluation.robustness.perturbation import ClipPerturber, MissingPartnerError
from processing_mser import SAMPLING_RATE, load_audio


# Each clip is a different tone, which identifies it in a mixture.
FREQUENCIES = [300 + 130 * number for number in range(24)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """24 clips: two emotions, a German corpus of 16 clips by two speakers and an Italian one of 8 by four."""
    folder = tmp_path_factory.mktemp("tones")
    rows, corpora, truths = [], [], []
    for number, frequency in enumerate(FREQUENCIES):
        path = folder / f"{number}.wav"
        sound = 0.2 * np.sin(2 * np.pi * frequency * np.arange(SAMPLING_RATE) / SAMPLING_RATE)
        soundfile.write(path, sound, SAMPLING_RATE, subtype="FLOAT")
        german = number < 16
        corpora.append("tedesco" if german else "italiano")
        truths.append("happy" if number % 2 else "sad")
        speaker = f"g{number % 4 // 2}" if german else f"i{number % 4}"
        place = {"language": "de" if german else "it", "speaker": speaker}
        rows.append(new_row(id=str(number), path=path, corpus=corpora[-1], emotion=truths[-1], **place))
    return LabeledClips(corpora, rows, truths)


def clips_in(waveform):
    """Return the numbers of the clips whose tone is in a waveform."""
    power = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))) ** 2
    bins = np.array(FREQUENCIES) * len(waveform) // SAMPLING_RATE
    strength = np.array([power[place - 3 : place + 4].sum() for place in bins])
    return {int(number) for number in np.flatnonzero(strength > 0.002 * strength.max())}


def perturbed(clips, index, name, level=0.0, seed=0, pool=None):
    waveform = load_audio(clips.rows[index]["audio"])
    return ClipPerturber(pool or clips, seed).perturb(waveform, clips, index, CONDITIONS[name], level)


@pytest.mark.parametrize(("name", "count"), [("babble", BABBLE_SPEAKERS), ("overlap", 1)])
def test_mixed_speakers_are_others_of_the_corpus(clips, name, count):
    for index in (0, 5, 11, 20):
        others = clips_in(perturbed(clips, index, name)) - {index}
        assert len(others) == count
        speaker = clips.rows[index]["speaker"]
        assert all(clips.corpora[i] == clips.corpora[index] for i in others)
        assert all(clips.rows[i]["speaker"] != speaker for i in others)


@pytest.mark.parametrize(("name", "same"), [("joined", True), ("code_switch", False)])
def test_joined_halves_share_emotion_not_speaker(clips, name, same):
    for index in range(24):
        sound = perturbed(clips, index, name)
        assert clips_in(sound[: len(sound) // 2 - 200]) == {index}
        (other,) = clips_in(sound[len(sound) // 2 + 200 :])
        assert clips.truths[other] == clips.truths[index]
        assert clips.rows[other]["speaker"] != clips.rows[index]["speaker"]
        assert (clips.rows[other]["language"] == clips.rows[index]["language"]) is same


def test_check_rejects_code_switch_without_other_language(clips):
    german = clips.subset(range(16))
    with pytest.raises(MissingPartnerError, match=r"^code_switch: 0 of tedesco.*--others"):
        ClipPerturber(german).check(german, CONDITIONS["code_switch"])
    ClipPerturber(clips).check(german, CONDITIONS["code_switch"])
    ClipPerturber(german).check(german, CONDITIONS["joined"])


def test_check_rejects_babble_with_too_few_clips(clips, tmp_path):
    """The first speaker's clips have five others, and four without one of these or if it is unreadable."""
    five = clips.subset([0, 1, 4, 2, 3, 6, 7, 10])
    alone = clips.subset([0])
    ClipPerturber(five).check(alone, CONDITIONS["babble"])
    four = clips.subset([0, 1, 4, 2, 3, 6, 7])
    with pytest.raises(MissingPartnerError, match=r"^babble: 0 of tedesco needs 5 .*found 4"):
        ClipPerturber(four).check(alone, CONDITIONS["babble"])
    ClipPerturber(four).check(alone, CONDITIONS["overlap"])
    rows = [dict(row) for row in five.rows]
    rows[-1] |= {"audio": {"bytes": None, "path": str(tmp_path / "missing.wav")}}
    torn = LabeledClips(five.corpora, rows, five.truths)
    with pytest.raises(MissingPartnerError, match=r"5 other readable.*found 4"):
        perturbed(alone, 0, "babble", pool=torn)


def unread_clips(number: int) -> LabeledClips:
    """Clips that are never read: two corpora, three emotions, languages and speakers partly unknown."""
    drawn = np.random.default_rng(0).integers(12, size=(number, 4)).tolist()
    corpora = ["ab"[corpus % 2] for corpus, *_ in drawn]
    truths = [("happy", "sad", "angry")[emotion % 3] for _, emotion, *_ in drawn]
    rows = []
    for place, (_, _, language, speaker) in enumerate(drawn):
        known = {"language": ("de", "en", "fr", None)[language % 4], "speaker": f"s{speaker}" if speaker % 4 else None}
        rows.append(new_row(id=str(place), path=f"{place}.wav", corpus=corpora[place], emotion=truths[place], **known))
    return LabeledClips(corpora, rows, truths)


@pytest.mark.parametrize("name", ["babble", "overlap", "joined", "code_switch"])
def test_partner_candidates_match_explicit_loop(name):
    pool = unread_clips(300)
    perturber = ClipPerturber(pool)
    for clips in (pool.subset(range(0, 300, 14)), LabeledClips(["c"], pool.rows[:1], ["fear"])):
        for index, row in enumerate(clips.rows):
            fitting = []
            for place, other in enumerate(pool.rows):
                if other["id"] == row["id"] or (other["speaker"] and other["speaker"] == row["speaker"]):
                    continue
                if name in ("babble", "overlap"):
                    fits = pool.corpora[place] == clips.corpora[index]
                else:
                    known = None not in (other["language"], row["language"])
                    same = other["language"] == row["language"]
                    fits = known and same is (name == "joined") and pool.truths[place] == clips.truths[index]
                fitting += [place] if fits else []
            assert perturber._candidates(clips, index, CONDITIONS[name]).tolist() == fitting


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_perturb_does_not_depend_on_order(clips, name):
    condition = CONDITIONS[name]
    level = condition.levels[-1]
    in_order = [source["array"] for source in ClipPerturber(clips).sources(clips, condition, level)]
    for index in (23, 7):
        assert np.array_equal(perturbed(clips, index, name, level), in_order[index])
    assert all(np.isfinite(sound).all() and sound.dtype == np.float32 for sound in in_order)


@pytest.mark.parametrize("name", ["white", "babble", "reverberation", "overlap"])
def test_perturb_depends_on_seed_and_scales_with_level(clips, name):
    clean = load_audio(clips.rows[0]["audio"])
    assert not np.allclose(perturbed(clips, 0, name, 10.0), perturbed(clips, 0, name, 10.0, seed=1))
    weak, strong = (perturbed(clips, 0, name, level) - clean for level in (20.0, 10.0))
    assert np.std(strong) > 2 * np.std(weak)
    if name != "reverberation":  # which keeps the loudness, so the direct sound is lowered too
        assert np.allclose(strong, np.sqrt(10) * weak, atol=1e-5)


def test_sources_pass_unreadable_clips_through(clips, tmp_path):
    broken = {"bytes": None, "path": str(tmp_path / "missing.wav")}
    rows = [*clips.rows[:3], clips.rows[3] | {"audio": broken}, *clips.rows[4:]]
    torn = LabeledClips(clips.corpora, rows, clips.truths)
    sources = list(ClipPerturber(torn).sources(torn, CONDITIONS["babble"], 0.0))
    assert sources[3] == broken
    assert all("array" in source for index, source in enumerate(sources) if index != 3)


def test_select_conditions_keeps_table_order():
    assert [condition.name for condition in select_conditions(["opus", "white"])] == ["white", "opus"]
    assert [condition.name for condition in select_conditions([])] == list(CONDITIONS)
    with pytest.raises(ValueError, match=r"wite.*white, babble"):
        select_conditions(["wite"])
