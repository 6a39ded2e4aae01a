# SPDX-License-Identifier: Apache-2.0
"""Cached predictions equal computed ones, and are used only if everything they depend on is the same."""

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


LABELS = ("happy", "sad", "angry")


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


def predict(cache_dir, place, sources, labels=LABELS, kind=DeferredModel, prompt=None, pad_to="longest", **options):
    """Return the results and how many of them the model, or the one in the folder `place`, computed."""
    model = place if isinstance(place, DeferredModel) else kind(str(place), "cpu")
    processor = load_processor(model.name_or_path, prompt)
    processor.pad_to = pad_to
    cache = PredictionCache(cache_dir)
    results = list(cache.recognize(model, processor, sources, labels, ScoringOptions(**options)))
    assert cache.found + cache.computed == len(results) == len(sources)
    return results, cache.computed


@pytest.mark.parametrize("options", [{}, {"decode": "generate"}])
def test_prediction_cache_does_not_load_the_model(options, place, clips, tmp_path):
    soundfile.write(clips[0], 0.3 * np.random.default_rng(0).standard_normal(4000), 8000)
    first, computed = predict(tmp_path / "cache", place, clips, **options)
    assert computed == len(clips)
    assert [result.bandwidth_hz is not None for result in first] == [True, *[False] * 4]
    copy = shutil.copytree(place, tmp_path / "copy")
    assert predict(tmp_path / "cache", copy, clips, kind=UnloadableModel, **options) == (first, 0)
    assert all((result.scores is None) == bool(options) for result in first)
    assert predict(tmp_path / "empty", place, []) == ([], 0)
    assert not (tmp_path / "empty").exists()


def test_prediction_cache_finds_clips_by_content(place, clips, tmp_path):
    first, _ = predict(tmp_path / "cache", place, clips)
    moved = [shutil.copyfile(clip, tmp_path / f"moved {clip.name}") for clip in clips]
    forms = [str(moved[0]), moved[1].read_bytes(), {"bytes": None, "path": str(moved[2])}]
    forms.append({"bytes": moved[3].read_bytes(), "path": "nowhere.wav"})
    again, _ = predict(tmp_path / "cache", place, forms, kind=UnloadableModel)
    assert [result.scores for result in again] == [result.scores for result in first[:4]]
    assert [result.source for result in again] == forms
    shutil.copyfile(clips[4], clips[0])
    soundfile.write(clips[1], np.random.default_rng(1).standard_normal(4000) * 0.3, 16000)
    assert predict(tmp_path / "cache", place, clips[:2])[1] == 1


def test_prediction_cache_computes_missing_and_incomplete_predictions_in_order(place, clips, tmp_path):
    expected, _ = predict(tmp_path / "other cache", place, clips)
    predict(tmp_path / "cache", place, [clips[1], clips[3]])
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    mixed, computed = predict(tmp_path / "cache", place, clips)
    assert computed == 4
    assert [result.source for result in mixed] == clips
    for one, other in zip(mixed, expected, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert predict(tmp_path / "cache", place, clips, kind=UnloadableModel)[1] == 0


def test_prediction_cache_depends_on_settings(place, clips, tmp_path):
    model = DeferredModel(str(place), "cpu")
    predict(tmp_path / "cache", model, clips[:2])
    for change in (
        {"prompt": "v2"},
        {"labels": ("happy", "sad")},
        {"labels": ("sad", "happy", "angry")},
        {"labels": ("happy", "sad", "fear")},
        {"decode": "generate"},
        {"pad_to": "30s"},
        {"length_normalize": True},
        {"prior_correction": True},
    ):
        again, computed = predict(tmp_path / "cache", model, clips[:2], **change)
        assert computed == 2, change
        assert again == predict(tmp_path / f"empty {change}", model, clips[:2], **change)[0]


def change_a_weight(place):
    weights = load_file(place / "model.safetensors")
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 0.5
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def change_the_configuration(place):
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"emotion_words": ["sad"]}))


def change_the_tokenizer(place):
    (place / "tokenizer.json").write_text((place / "tokenizer.json").read_text() + " ")


def test_prediction_cache_detects_a_changed_model(place, clips, tmp_path):
    predict(tmp_path / "cache", place, clips[:2])
    for change in (change_a_weight, change_the_configuration, change_the_tokenizer):
        change(place)
        write_digests(place, MODEL_DIGESTS)
        write_digests(place, PROCESSOR_DIGESTS)
        assert predict(tmp_path / "cache", place, clips[:2])[1] == 2, change


def test_fingerprint_covers_backbones_libraries_version_and_quantization(place, tmp_path, monkeypatch):
    def fingerprint():
        return DeferredModel(str(place), "cpu").fingerprint

    before = fingerprint()
    for name, value in (("versions", lambda: {"torch": "0.1"}), ("PREDICTIONS_VERSION", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(f"mser_llm.inference.deferred_model.{name}", value)
            assert fingerprint() != before
    assert fingerprint() == before != DeferredModel(str(place), "cpu", "int8").fingerprint
    config = json.loads((place / "config.json").read_text())
    backbone = shutil.copytree(place, tmp_path / "backbone")
    (place / "config.json").write_text(json.dumps(config | {"audio_backbone": str(backbone)}))
    before = fingerprint()
    change_a_weight(backbone)
    assert fingerprint() != before


def test_prediction_cache_stops_on_a_full_disk(place, clips, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "cache"))

    expected, _ = predict(tmp_path / "other cache", place, clips)
    monkeypatch.setattr("mser_llm.io.store.Store.write", full)
    cache, processor = PredictionCache(tmp_path / "cache"), load_processor(str(place))
    for _ in range(2):  # as an evaluation of several corpora does
        results = list(cache.recognize(DeferredModel(str(place), "cpu"), processor, clips, LABELS))
        assert [result.scores for result in results] == [result.scores for result in expected]
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert str(tmp_path / "cache") in warning and "--cache_dir" in warning
    monkeypatch.undo()
    assert predict(tmp_path / "cache", place, clips)[1] == len(clips)


def test_prediction_cache_names_the_file_of_an_error(place, clips, tmp_path):
    empty, copy, missing = tmp_path / "empty.wav", tmp_path / "copy.wav", tmp_path / "missing.wav"
    empty.write_bytes(b"")
    first, computed = predict(tmp_path / "cache", place, [empty, clips[0], missing])
    assert computed == 2
    assert first[0].error.startswith(str(empty))
    assert first[2].error.startswith(str(missing))
    assert predict(tmp_path / "cache", place, [empty, clips[0], missing], kind=UnloadableModel) == (first, 0)
    shutil.copyfile(empty, copy)
    (result, *_), computed = predict(tmp_path / "cache", place, [copy, empty])
    assert computed == 1
    assert result.error.startswith(str(copy))


def test_deferred_model_rejects_a_folder_without_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=tmp_path.name):
        DeferredModel(str(tmp_path))


def test_evaluation_from_cache_writes_the_same_files(place, clips, tmp_path):
    rows = [
        {"id": clip.stem, "audio": {"bytes": None, "path": str(clip)}, "emotion": LABELS[index % 3]}
        for index, clip in enumerate(clips)
    ]
    written = []
    for kind in (DeferredModel, UnloadableModel):
        cache = PredictionCache(tmp_path / "cache")
        processor = load_processor(str(place))
        output = tmp_path / kind.__name__
        settings = {"prompts": ["v1", "v2"], "cache": cache, "output_dir": output, "progress": False}
        evaluate_corpora(kind(str(place), "cpu"), processor, {"one": rows}, LABELS, **settings)
        written.append([(output / name).read_bytes() for name in ("results.json", "predictions.csv")])
        assert processor.prompt_version == "v1"
    assert (cache.computed, cache.found) == (0, 2 * len(clips))
    assert written[0] == written[1]
