# SPDX-License-Identifier: Apache-2.0
"""Predict with a small complete model and real audio files."""

import itertools
import os
import threading
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch

from mser_llm.inference.prefetch import load_ahead
from mser_llm.inference.recognition import BATCHES_PER_CHUNK, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.errors import InputError
from processing_mser import SAMPLING_RATE, UNPARSED, AudioError, label_set, load_audio


WORDS = label_set("seven").words


def tone(seconds: float, seed: int) -> np.ndarray:
    """A modulated tone in noise, different for each seed."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    pitch = generator.uniform(100, 400) * (1 + 0.1 * np.sin(2 * np.pi * generator.uniform(1, 6) * time))
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLING_RATE) * generator.uniform(0.05, 0.6)
    return (wave + 0.01 * generator.standard_normal(len(time))).astype(np.float32)


@pytest.fixture
def clips() -> list[np.ndarray]:
    lengths = [1.0, 0.4, 2.3, 0.15, 1.7, 0.9, 3.1, 0.5, 1.2]
    return [tone(seconds, seed) for seed, seconds in enumerate(lengths)]


def plain_probabilities(model, processor, clip) -> np.ndarray:
    """Compute the probabilities of one clip with the processor alone."""
    with torch.no_grad():
        scores = model.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(WORDS))
    return scores[0].softmax(-1).numpy()


def probabilities(prediction) -> np.ndarray:
    return np.array([prediction.scores[word] for word in WORDS])


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_recognize_keeps_order_and_equals_single_clips(tiny, clips, batch_size):
    predictions = list(recognize(*tiny, clips, WORDS, ScoringOptions(batch_size=batch_size)))

    assert [prediction.source is clip for prediction, clip in zip(predictions, clips, strict=True)] == [True] * len(
        clips
    )
    expected = np.stack([plain_probabilities(*tiny, clip) for clip in clips])
    np.testing.assert_allclose(
        np.stack([probabilities(prediction) for prediction in predictions]), expected, atol=1e-4
    )
    assert np.ptp(expected, axis=0).max() > 1e-3, "the clips must differ, or any order would pass"
    assert [prediction.label for prediction in predictions] == [WORDS[row.argmax()] for row in expected]
    assert [prediction.seconds for prediction in predictions] == pytest.approx(
        [len(clip) / SAMPLING_RATE for clip in clips]
    )
    assert all(sum(prediction.scores.values()) == pytest.approx(1) for prediction in predictions)


def test_recognize_accepts_mixed_sources_and_rates(tiny, clips, tmp_path):
    path = tmp_path / "eight kHz.wav"
    soundfile.write(path, clips[0][::2], 8000)
    sources = [
        path,
        str(path),
        path.read_bytes(),
        {"bytes": None, "path": str(path)},
        clips[1],
        torch.tensor(clips[2]),
    ]

    predictions = list(recognize(*tiny, iter(sources), WORDS))

    loaded = load_audio(path)
    for prediction, clip in zip(predictions, [loaded] * 4 + [clips[1], clips[2]], strict=True):
        np.testing.assert_allclose(probabilities(prediction), plain_probabilities(*tiny, clip), atol=1e-4)


def test_recognize_averages_windows_by_duration(tiny, clips):
    long = np.concatenate([tone(24, 20), tone(23, 21), tone(23.00005, 22)])
    prediction = list(recognize(*tiny, [clips[0], long, clips[1]], WORDS, ScoringOptions(batch_size=2)))[1]

    size, rest = divmod(len(long), 3)
    ends = np.cumsum([size + (part < rest) for part in range(3)])
    windows = np.split(long, ends[:-1])
    assert max(map(len, windows)) <= 30 * SAMPLING_RATE
    rows = np.stack([plain_probabilities(*tiny, window) for window in windows])
    assert np.ptp(rows, axis=0).max() > 1e-3, "the windows must differ, or any weighting would pass"
    expected = np.average(rows, axis=0, weights=[len(window) for window in windows])
    np.testing.assert_allclose(probabilities(prediction), expected, atol=1e-4)
    assert prediction.seconds == pytest.approx(len(long) / SAMPLING_RATE)


def test_recognize_leaves_out_silent_windows(tiny):
    recording = np.concatenate([tone(10, 1), np.zeros(50 * SAMPLING_RATE, np.float32)])

    (prediction,) = recognize(*tiny, [recording], WORDS)

    assert prediction.error is None
    assert sum(prediction.scores.values()) == pytest.approx(1)


def test_recognize_reports_broken_clips_and_continues(tiny, clips, tmp_path):
    broken = tmp_path / "not_sound.wav"
    broken.write_text("these are words")
    sources = [clips[0], broken, tmp_path / "nowhere.wav", np.zeros(SAMPLING_RATE, np.float32), clips[1]]

    predictions = list(recognize(*tiny, sources, WORDS, ScoringOptions(batch_size=2)))

    assert [prediction.error is None for prediction in predictions] == [True, False, False, False, True]
    for source, prediction in zip(sources[1:4], predictions[1:4], strict=True):
        with pytest.raises(AudioError) as raised:
            load_audio(source)
        assert prediction.error == str(raised.value)
        assert "\n" not in prediction.error
        assert (prediction.label, prediction.scores) == (None, None)
    np.testing.assert_allclose(probabilities(predictions[4]), plain_probabilities(*tiny, clips[1]), atol=1e-4)


def test_recognize_reads_at_most_two_windows_ahead(tiny, clips):
    taken = 0

    def stream():
        nonlocal taken
        for clip in itertools.islice(itertools.cycle(clips), 100):
            taken += 1
            yield clip

    bound = 2 * BATCHES_PER_CHUNK * 2
    most_ahead = 0
    for returned, _ in enumerate(recognize(*tiny, stream(), WORDS, ScoringOptions(batch_size=2))):
        most_ahead = max(most_ahead, taken - returned)
    assert taken == 100
    assert BATCHES_PER_CHUNK * 2 < most_ahead <= bound


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mser-")]


@pytest.mark.parametrize("ended_by", ["close", "interrupt", "stream"])
def test_recognize_ends_its_reader_threads(tiny, clips, ended_by, monkeypatch):
    def stream():
        yield from clips
        if ended_by == "stream":
            raise RuntimeError("the disk is gone")
        yield from itertools.repeat(clips[0], 100)

    if ended_by == "interrupt":
        interrupt = Mock(side_effect=KeyboardInterrupt)
        monkeypatch.setattr("mser_llm.inference.recognition.label_probabilities", interrupt)
    source = stream()
    predictions = recognize(*tiny, source, WORDS, ScoringOptions(batch_size=1))
    if ended_by == "close":
        next(predictions)
        assert readers()
        predictions.close()
        assert len(list(source)) >= len(clips) + 100 - 2 * BATCHES_PER_CHUNK, "more was read ahead than two chunks"
    else:
        with pytest.raises((KeyboardInterrupt, RuntimeError), match="gone" if ended_by == "stream" else None):
            list(predictions)
    assert not readers()


def test_windows_are_limited_by_total_duration(monkeypatch):
    monkeypatch.setattr("mser_llm.inference.prefetch.CHUNK_SECONDS", 5.0)
    lengths = [2, 2, 2, 1, 1, 1, 1, 9, 1, 1]

    windows = list(load_ahead([tone(seconds, 0) for seconds in lengths], chunk_clips=4))

    assert [[clip.seconds for clip in window] for window in windows] == [[2, 2, 2], [1, 1, 1, 1], [9], [1, 1]]


def test_generated_text_is_parsed_or_unparsed(tiny, clips, monkeypatch):
    model, processor = tiny
    (nonsense,) = recognize(model, processor, clips[:1], WORDS, ScoringOptions(decode="generate"))
    assert nonsense.label == UNPARSED
    assert nonsense.scores is None
    assert nonsense.error is None
    assert nonsense.text is not None

    for label, text in {"angry": " Angry.", "sad": " sad", UNPARSED: " happy or sad"}.items():
        written = [*processor.tokenizer.encode(text, add_special_tokens=False), processor.tokenizer.eos_token_id]
        monkeypatch.setattr("mser_llm.inference.recognition.generate_texts", Mock(return_value=([written], None)))
        (prediction,) = recognize(model, processor, clips[:1], WORDS, ScoringOptions(decode="generate"))
        assert (prediction.label, prediction.text) == (label, text.strip())


def test_scoring_options_reach_the_model(tiny, clips):
    model, processor = tiny
    (plain,) = recognize(model, processor, clips[:1], WORDS)
    for setting in ("length_normalize", "prior_correction"):
        (changed,) = recognize(model, processor, clips[:1], WORDS, ScoringOptions(**{setting: True}))
        with torch.no_grad():
            scores = model.score_emotions(
                **processor(audio=clips[:1]), candidate_ids=processor.candidate_ids(WORDS), **{setting: True}
            )
        np.testing.assert_allclose(probabilities(changed), scores[0].softmax(-1).numpy(), atol=1e-5)
        assert np.abs(probabilities(changed) - probabilities(plain)).max() > 1e-4


def test_recognize_restores_training_mode(tiny, clips):
    model, processor = tiny
    model.train()
    evaluated = list(recognize(model, processor, clips[:2], WORDS))
    assert model.training
    model.eval()
    for prediction, again in zip(evaluated, recognize(model, processor, clips[:2], WORDS), strict=True):
        assert prediction.scores == again.scores


def test_recognize_rejects_scores_that_are_nan(tiny, clips):
    model, processor = tiny
    with torch.no_grad():
        model.projection.weight.fill_(float("nan"))
    (prediction,) = recognize(model, processor, clips[:1], WORDS)
    assert prediction.label is None
    assert "NaN" in prediction.error


def test_recognize_accepts_no_sources_and_rejects_no_labels(tiny):
    assert list(recognize(*tiny, [], WORDS)) == []
    with pytest.raises(ValueError, match="label_set"):
        recognize(*tiny, [], ())


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"decode": "x"}, "decode 'x'"),
        ({"decode": "generate", "compile": True}, "compile"),
    ],
)
def test_scoring_options_reject_impossible_values(options, source):
    with pytest.raises(InputError) as caught:
        ScoringOptions(**options)
    assert caught.value.source == source and caught.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_recognize_reports_a_file_without_permission(tiny, tmp_path):
    path = tmp_path / "secret.wav"
    soundfile.write(path, tone(1, 0), SAMPLING_RATE)
    path.chmod(0)
    (prediction,) = recognize(*tiny, [path], WORDS)
    assert "permission" in prediction.error
