# SPDX-License-Identifier: Apache-2.0
"""Each clip is encoded once, and cached features equal computed ones."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mser_llm.data.clips import Clip, Rejection, index_clips
from mser_llm.data.read_corpus import read_corpus
from mser_llm.inference.feature_cache import ClipFeatures, FeatureEncoder
from mser_llm.io.hashing import digest
from mser_llm.training.data.dataset import EmotionCollator
from mser_llm.training.run_training import train
from processing_mser import MSERProcessor, label_set
from processing_mser.augmentation_mser import WaveformAugmenter


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    rng = np.random.default_rng(0)
    rows = []
    for index, seconds in enumerate([0.5, 1.7, 0.9, 0.31, 1.2]):
        path = tmp_path / f"clip{index}.flac"
        soundfile.write(path, 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
        rows.append({"id": str(index), "corpus": "c", "emotion": "happy", "audio": {"bytes": None, "path": str(path)}})
    found, rejected = index_clips(rows, label_set("four"))
    assert not rejected
    return found


@pytest.mark.parametrize("frozen", [True, False])
def test_cached_features_equal_computed_ones(make_tiny, clips, tmp_path: Path, frozen: bool):
    model, processor = make_tiny(freeze_audio=frozen)
    encoder = FeatureEncoder(model, processor)
    features = ClipFeatures(encoder, str(tmp_path / "cache"), cache_gb=1)
    assert features.prepare([(clip, 0) for clip in clips]) == []
    encoded = []
    again = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path / "cache"), cache_gb=1)
    monitored, again.encoder = again.encoder, lambda waveforms: encoded.append(waveforms)
    computed = ClipFeatures(monitored, str(tmp_path / "empty"), cache_gb=0)
    for clip in clips:
        kept = again(clip, 0)
        frames = round(clip.seconds * 16000) // 160
        assert kept.shape == ((3, (frames + 1) // 2, 32) if frozen else (20, frames))
        torch.testing.assert_close(kept, computed(clip, 0), atol=2e-3, rtol=1e-3)
    assert encoded == []


def test_fingerprint_covers_weights_layers_and_feature_extraction(make_tiny, tmp_path: Path):
    model, processor = make_tiny(freeze_audio=True)
    before = FeatureEncoder(model, processor).fingerprint()
    # Layers after the encoder do not count, nor does a reload, so that a second stage encodes no clip again.
    with torch.no_grad():
        model.projection.bias += 1
    processor.save_pretrained(tmp_path)
    assert FeatureEncoder(model, processor).fingerprint() == before
    assert FeatureEncoder(model, MSERProcessor.from_pretrained(tmp_path)).fingerprint() == before
    prints = {before} | {
        FeatureEncoder(*make_tiny(**change)).fingerprint()
        for change in ({"freeze_audio": False}, {"freeze_audio": True, "encoder_layers": [1]})
    }
    for name, value in {"dither": 0.1, "n_fft": 512, "hop_length": 80, "padding_value": 1.0}.items():
        setattr(processor.feature_extractor, name, value)
        prints.add(FeatureEncoder(model, processor).fingerprint())
    processor.pad_to = "30s"
    prints.add(FeatureEncoder(model, processor).fingerprint())
    with torch.no_grad():
        model.audio_tower.conv1.bias[0] += 1e-3
    prints.add(FeatureEncoder(model, processor).fingerprint())
    assert len(prints) == 9


def test_feature_cache_encodes_clips_beyond_the_limit_anew(make_tiny, clips, tmp_path: Path, capsys):
    model, processor = make_tiny(freeze_audio=True)
    encoder = FeatureEncoder(model, processor)
    bound = sum(clip.seconds for clip in clips[:3]) * encoder.bytes_per_second / 1e9 + 1e-9
    features = ClipFeatures(encoder, str(tmp_path / "cache"), cache_gb=bound)
    features.prepare([(clip, 0) for clip in clips])
    assert "3 of 5 clips" in capsys.readouterr().out
    assert [digest(clip.key) in features.store for clip in clips] == [True, True, True, False, False]
    size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.store"))
    assert size < 1.15 * bound * 1e9
    unlimited = ClipFeatures(encoder, str(tmp_path / "whole"), cache_gb=1)
    unlimited.prepare([(clip, 0) for clip in clips])
    for clip in clips:
        torch.testing.assert_close(features(clip, 0), unlimited(clip, 0), atol=2e-3, rtol=1e-3)


def test_feature_cache_rejects_workers_that_run_the_encoder(tones: Path, recipe, tiny_model_dir: Path, tmp_path: Path):
    """Workers are forks, in which CUDA fails; spectrograms and cached features need no encoder."""
    rows = read_corpus("folder", tones).rows
    flags = ["--dataloader_num_workers", "2", "--max_steps", "1", "--eval_strategy", "no", "--save_strategy", "no"]
    flags += ["--load_best_model_at_end", "False"]
    frozen = ["--init_from", str(tiny_model_dir), "--freeze_audio"]
    with pytest.raises(ValueError, match="dataloader_num_workers: 72 of 72"):
        train(rows, *recipe(*flags, *frozen, "--cache_gb", "0"))
    assert not list((tmp_path / "cache").rglob("*.store"))
    train(rows, *recipe(*flags, "--cache_gb", "0"))


def test_feature_cache_separates_augmented_views(make_tiny, clips, tmp_path: Path):
    pytest.importorskip("audiomentations")
    model, processor = make_tiny(freeze_audio=True)
    augmenter = WaveformAugmenter(seed=4, probability=1.0)
    features = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path / "cache"), 1, augmenter)
    features.prepare([(clip, view) for clip in clips[:2] for view in range(3)])
    assert len(features.store) == 6
    views = [features(clips[0], view) for view in range(3)]
    assert not any(views[0].shape == view.shape and torch.equal(views[0], view) for view in views[1:])
    plain = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path / "cache"), 1)
    assert torch.equal(plain(clips[0], 0), views[0])


def test_feature_cache_rejects_broken_clips_with_a_reason(make_tiny, clips, tmp_path: Path):
    broken = tmp_path / "silent.wav"
    soundfile.write(broken, np.zeros(8000), 16000)
    long = tmp_path / "long.wav"
    soundfile.write(long, 0.1 * np.ones(31 * 16000), 16000)
    (tmp_path / "text.wav").write_text("not audio")
    names = ["silent.wav", "long.wav", "text.wav", "missing.wav"]
    rows = [
        {"id": n, "corpus": "c", "emotion": "sad", "audio": {"bytes": None, "path": str(tmp_path / n)}} for n in names
    ]
    indexed, rejected = index_clips(rows, label_set("four"))
    assert [item.row["id"] for item in rejected] == ["long.wav", "text.wav", "missing.wav"]
    assert "longer than 30 s (31.0 s); cut it into labeled pieces" in rejected[0].reason
    assert all(str(tmp_path) in item.reason for item in rejected)
    model, processor = make_tiny(freeze_audio=True)
    features = ClipFeatures(FeatureEncoder(model, processor), str(tmp_path / "cache"), 1)
    (silent,) = features.prepare([(clip, 0) for clip in [*clips, *indexed]])
    assert isinstance(silent, Rejection) and silent.row["id"] == "silent.wav" and "silen" in silent.reason
    assert all(digest(clip.key) in features.store for clip in clips)


def test_feature_cache_replaces_damaged_features(make_tiny, clips, tmp_path: Path):
    features = ClipFeatures(FeatureEncoder(*make_tiny(freeze_audio=True)), str(tmp_path / "cache"), 1)
    features.prepare([(clips[0], 0)])
    expected = features(clips[0], 0)
    (file,) = (tmp_path / "cache").rglob("*.store")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    torch.testing.assert_close(features(clips[0], 0), expected)


def test_feature_cache_on_a_full_disk_names_folder_and_flags(make_tiny, clips, tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mser_llm.io.store.Store.write", full)
    with pytest.raises(OSError, match=f"{tmp_path}.*--cache_dir"):
        ClipFeatures(FeatureEncoder(*make_tiny()), str(tmp_path), 1).prepare([(clips[0], 0)])


def test_collator_pads_batches_under_a_mask(make_tiny):
    _, processor = make_tiny()
    labels = {"view": 2, "emotion_label": 1, "language_label": 0, "speaker_label": -1}
    items = [
        {"features": torch.full((3, frames, 32), float(frames)), "emotion": "happy", **labels} for frames in (5, 9)
    ]
    batch = EmotionCollator(processor, encoded=True)(items)
    assert {name: batch[f"{name}s"].tolist() for name in labels} == {
        name: [value] * 2 for name, value in labels.items()
    }
    assert batch["encoder_states"].shape == (2, 3, 9, 32)
    assert batch["encoder_mask"].sum(1).tolist() == [5, 9]
    assert batch["encoder_states"][0, :, 5:].abs().sum() == 0
    spectrograms = [item | {"features": item["features"][0].T} for item in items]
    batch = EmotionCollator(processor, encoded=False)(spectrograms)
    assert batch["input_features"].shape == (2, 32, 9)
    assert batch["input_features_mask"].sum(1).tolist() == [5, 9]
