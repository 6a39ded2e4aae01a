# SPDX-License-Identifier: Apache-2.0
"""Kept answers: served where nothing changed, without the model; never where anything did."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from modeling_mser.file_digests_mser import MODEL_DIGESTS, PROCESSOR_DIGESTS, write_digests
from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.loading import ModelNotFoundError, load_processor
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import SAMPLING_RATE


WORDS = ("happy", "sad", "angry")


class UnloadableModel(DeferredModel):
    def load(self):
        raise AssertionError("the network was loaded")


@pytest.fixture
def place(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.fixture
def clips(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for path in paths:
        soundfile.write(path, 0.3 * generator.standard_normal(int(SAMPLING_RATE * generator.uniform(0.2, 0.6))), 16000)
    return paths


def answers(cache_dir, place, sources, words=WORDS, kind=DeferredModel, prompt=None, pad_to="longest", **settings):
    """The answers, and how many of them the model was asked for."""
    processor = load_processor(str(place), prompt)
    processor.pad_to = pad_to
    cache = PredictionCache(cache_dir)
    made = list(cache.recognize(kind(str(place), "cpu"), processor, sources, words, ScoringOptions(**settings)))
    assert cache.found + cache.given == len(made) == len(sources)
    return made, cache.given


@pytest.mark.parametrize("settings", [{}, {"decode": "generate"}])
def test_the_same_question_is_answered_without_the_network(settings, place, clips, tmp_path):
    soundfile.write(clips[0], 0.3 * np.random.default_rng(0).standard_normal(4000), 8000)
    first, given = answers(tmp_path / "cache", place, clips, **settings)
    assert given == len(clips)
    assert [answer.bandwidth_hz is not None for answer in first] == [True, *[False] * 4]
    again, given = answers(tmp_path / "cache", place, clips, kind=UnloadableModel, **settings)
    assert given == 0
    assert again == first
    assert all((answer.scores is None) == bool(settings) for answer in again)


def test_sound_is_known_by_its_content(place, clips, tmp_path):
    first, _ = answers(tmp_path / "cache", place, clips)
    moved = [shutil.copyfile(clip, tmp_path / f"moved {clip.name}") for clip in clips]
    forms = [str(moved[0]), moved[1].read_bytes(), {"bytes": None, "path": str(moved[2])}]
    forms.append({"bytes": moved[3].read_bytes(), "path": "nowhere.wav"})
    again, given = answers(tmp_path / "cache", place, forms, kind=UnloadableModel)
    assert given == 0
    assert [answer.scores for answer in again] == [answer.scores for answer in first[:4]]
    assert [answer.source for answer in again] == forms


def test_only_what_is_new_is_asked_and_the_order_is_kept(place, clips, tmp_path):
    whole, _ = answers(tmp_path / "other cache", place, clips)
    answers(tmp_path / "cache", place, [clips[1], clips[3]])
    mixed, given = answers(tmp_path / "cache", place, clips)
    assert given == 3
    assert [answer.source for answer in mixed] == clips
    for one, other in zip(mixed, whole, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "v2"},
        {"words": ("happy", "sad")},
        {"words": ("sad", "happy", "angry")},
        {"words": ("happy", "sad", "fear")},
        {"decode": "generate"},
        {"pad_to": "30s"},
        {"length_normalize": True},
        {"prior_correction": True},
    ],
    ids=str,
)
def test_another_question_is_asked_anew(change, place, clips, tmp_path):
    answers(tmp_path / "cache", place, clips[:2])
    again, given = answers(tmp_path / "cache", place, clips[:2], **change)
    assert given == 2
    fresh, _ = answers(tmp_path / "empty", place, clips[:2], **change)
    assert again == fresh


def test_another_clip_under_the_same_name_is_asked_anew(place, clips, tmp_path):
    answers(tmp_path / "cache", place, clips[:2])
    shutil.copyfile(clips[4], clips[0])
    assert answers(tmp_path / "cache", place, clips[:2])[1] == 1


def change_a_weight(place):
    weights = load_file(place / "model.safetensors")
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 0.5
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def change_a_setting(place):
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"emotion_words": ["sad"]}))


def change_the_tokenizer(place):
    (place / "tokenizer.json").write_text((place / "tokenizer.json").read_text() + " ")


@pytest.mark.parametrize("change", [change_a_weight, change_a_setting, change_the_tokenizer])
def test_another_model_in_the_same_place_is_asked_anew(change, place, clips, tmp_path):
    answers(tmp_path / "cache", place, clips[:2])
    change(place)
    write_digests(place, MODEL_DIGESTS)
    write_digests(place, PROCESSOR_DIGESTS)
    assert answers(tmp_path / "cache", place, clips[:2])[1] == 2


def test_a_copy_of_a_model_is_the_same_model(place, clips, tmp_path):
    answers(tmp_path / "cache", place, clips[:2])
    copy = shutil.copytree(place, tmp_path / "copy")
    assert answers(tmp_path / "cache", copy, clips[:2], kind=UnloadableModel)[1] == 0


def test_a_backbone_without_a_recorded_fingerprint_is_known_by_its_files(place, tmp_path):
    config = json.loads((place / "config.json").read_text())
    backbone = shutil.copytree(place, tmp_path / "backbone")
    (place / "config.json").write_text(json.dumps(config | {"audio_backbone": str(backbone)}))
    before = DeferredModel(str(place), "cpu").fingerprint
    assert DeferredModel(str(place), "cpu").fingerprint == before
    change_a_weight(backbone)
    assert DeferredModel(str(place), "cpu").fingerprint != before


def test_other_libraries_or_other_code_are_another_model(place, monkeypatch):
    before = DeferredModel(str(place), "cpu").fingerprint
    with monkeypatch.context() as patch:
        patch.setattr("mser_llm.inference.deferred_model.versions", lambda: {"torch": "0.1"})
        assert DeferredModel(str(place), "cpu").fingerprint != before
    with monkeypatch.context() as patch:
        patch.setattr("mser_llm.inference.deferred_model.PREDICTIONS_VERSION", 0)
        assert DeferredModel(str(place), "cpu").fingerprint != before
    assert DeferredModel(str(place), "cpu").fingerprint == before


def test_full_disk_is_reported_once_and_costs_no_prediction(place, clips, tmp_path, monkeypatch, capsys):
    whole, _ = answers(tmp_path / "other cache", place, clips)

    def full(file, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mser_llm.io.store._write_all", full)
    cache, processor = PredictionCache(tmp_path / "cache"), load_processor(str(place))
    for _ in range(2):  # as an evaluation asks for corpus after corpus
        made = list(cache.recognize(DeferredModel(str(place), "cpu"), processor, clips, WORDS, ScoringOptions()))
        assert [answer.scores for answer in made] == [answer.scores for answer in whole]
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "--cache_dir" in line]
    assert str(tmp_path / "cache") in warning and os.strerror(errno.ENOSPC) in warning
    monkeypatch.undo()
    assert answers(tmp_path / "cache", place, clips)[1] == len(clips)
    assert answers(tmp_path / "cache", place, clips, kind=UnloadableModel)[1] == 0


def test_what_cannot_be_read_is_told_again_under_its_own_name(place, clips, tmp_path):
    empty, copy, missing = tmp_path / "empty.wav", tmp_path / "copy.wav", tmp_path / "missing.wav"
    empty.write_bytes(b"")
    first, given = answers(tmp_path / "cache", place, [empty, clips[0], missing])
    assert given == 2
    assert first[0].error.startswith(str(empty))
    assert first[2].error.startswith(str(missing))
    again, given = answers(tmp_path / "cache", place, [empty, clips[0], missing], kind=UnloadableModel)
    assert (again, given) == (first, 0)
    shutil.copyfile(empty, copy)
    (told, *_), given = answers(tmp_path / "cache", place, [copy, empty])
    assert given == 1
    assert told.error.startswith(str(copy))


def test_nothing_is_written_where_nothing_was_given(place, tmp_path):
    assert answers(tmp_path / "cache", place, []) == ([], 0)
    assert not (tmp_path / "cache").exists()


def test_no_model_is_told_at_once(tmp_path):
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        DeferredModel(str(tmp_path))


def test_an_evaluation_repeats_itself_without_the_network(place, clips, tmp_path):
    rows = [
        {"id": clip.stem, "audio": {"bytes": None, "path": str(clip)}, "emotion": WORDS[index % 3]}
        for index, clip in enumerate(clips)
    ]
    made = []
    for kind in (DeferredModel, UnloadableModel):
        cache = PredictionCache(tmp_path / "cache")
        processor = load_processor(str(place))
        output = tmp_path / kind.__name__
        settings = {"prompts": ["v1", "v2"], "cache": cache, "output_dir": output, "progress": False}
        evaluate_corpora(kind(str(place), "cpu"), processor, {"one": rows}, WORDS, **settings)
        made.append([(output / name).read_bytes() for name in ("results.json", "predictions.csv")])
        assert processor.prompt_version == "v1"
    assert cache.given == 0
    assert cache.found == 2 * len(clips)
    assert made[0] == made[1]
