# SPDX-License-Identifier: Apache-2.0
import random
import sys
import threading

import numpy as np
import pytest
import torch

from processing_mser.augmentation_mser import WaveformAugmenter, low_resource_augmenter, mask_features


RATE = 16_000
# Settings without any change, to test one change at a time.
NOTHING = {"time_rate": (1.0, 1.0), "semitones": (0.0, 0.0), "gain_db": (0.0, 0.0), "snr_db": (300.0, 300.0)}
NOTHING |= {"probability": 1.0}


def tone(seconds: float = 1.0, hertz: float = 200.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(waveform: np.ndarray) -> float:
    """Return the strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 1 << 18))
    return float(np.argmax(spectrum) * RATE / (1 << 18))


@pytest.fixture(autouse=True)
def _needs_audiomentations(request):
    if "masks" not in request.node.name:
        pytest.importorskip("audiomentations")


def test_views_depend_on_no_order_thread_or_global_generator():
    clips = {f"clip-{k}": tone(0.3 + 0.1 * k, 150 + 20 * k) for k in range(4)}
    keys = [(name, index) for name in clips for index in range(4)]
    first = {key: WaveformAugmenter(seed=3).view(clips[key[0]], *key).tobytes() for key in keys}

    assert first["clip-0", 0] == clips["clip-0"].tobytes() == tone(0.3, 150).tobytes()
    augmenter = WaveformAugmenter(seed=3)
    again = {}

    def augment(part):
        for key in part:
            again[key] = augmenter.view(clips[key[0]], *key).tobytes()

    np.random.seed(1)
    random.seed(1)
    threads = [threading.Thread(target=augment, args=(keys[::-1][k::2],)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert again == first
    drawn = (np.random.random(), random.random())
    np.random.seed(1)
    random.seed(1)
    assert drawn == (np.random.random(), random.random())


def test_views_differ_by_seed_clip_and_index():
    views = [
        WaveformAugmenter(seed=seed, probability=1.0).view(tone(), clip, index).tobytes()
        for seed in (0, 1)
        for clip in ("a", "b")
        for index in (1, 2, 12)
    ]
    assert len(set(views)) == len(views)


def test_gain_and_noise_are_in_decibels():
    plain = WaveformAugmenter(**NOTHING).view(tone(5.0), "a", 1)
    loud = WaveformAugmenter(**NOTHING | {"gain_db": (6.0, 6.0)}).view(tone(5.0), "a", 1)
    np.testing.assert_allclose(loud, plain * 1.9952623, rtol=1e-5, atol=1e-7)
    noisy = WaveformAugmenter(**NOTHING | {"snr_db": (15.0, 15.0)}).view(tone(5.0), "a", 1)
    ratio = 10 * np.log10(np.mean(plain**2) / np.mean((noisy - plain) ** 2))
    assert ratio == pytest.approx(15.0, abs=0.1)


def test_random_values_cover_their_range():
    augmenter = WaveformAugmenter(**NOTHING | {"time_rate": (0.8, 1.25)})
    rates = [RATE / 4 / len(augmenter.view(tone(0.25), f"clip-{k}", 1)) for k in range(40)]
    assert 0.79 <= min(rates) < 0.9
    assert 1.1 < max(rates) <= 1.27


def test_changes_occur_with_the_given_probability():
    clips = [f"clip-{k}" for k in range(400)]
    changed = WaveformAugmenter(**NOTHING | {"gain_db": (20.0, 20.0), "probability": 0.3})
    plain = tone(0.12)
    louder = [np.abs(changed.view(plain, clip, 1)).max() > 2 * plain.max() for clip in clips]
    assert np.mean(louder) == pytest.approx(0.3, abs=0.07)
    never = WaveformAugmenter(probability=0.0)
    assert all(np.array_equal(never.view(plain, clip, 1), plain) for clip in clips[:20])


def test_views_keep_a_length_that_the_model_accepts():
    slow = WaveformAugmenter(**NOTHING | {"time_rate": (0.5, 0.5)})
    assert len(slow.view(tone(29.0), "a", 1)) <= 30 * RATE
    for change in ("time_rate", "speed"):
        fast = WaveformAugmenter(**NOTHING | {change: (2.0, 2.0)})
        assert len(fast.view(tone(0.11), "a", 1)) >= 0.1 * RATE - 1


def test_augmenter_rejects_invalid_settings():
    with pytest.raises(ValueError, match=r"snr_db.*\(40, 10\)"):
        WaveformAugmenter(snr_db=(40, 10))
    with pytest.raises(ValueError, match=r"probability.*1\.5"):
        WaveformAugmenter(probability=1.5)


def test_missing_audiomentations_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    with pytest.raises(ImportError, match=r"mser-llm\[augment\]"):
        WaveformAugmenter()


def test_training_does_not_import_audiomentations(warm_python, tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys, mser_llm.training.run_training; sys.exit('audiomentations' in sys.modules)"
    )
    assert warm_python.run(tmp_path / "script.py").returncode == 0


def ragged(lengths: list[int], size: int = 24, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Build ones `(batch, frames, size)` and their mask. Zeros in a result are masked positions."""
    frames = max(lengths)
    mask = torch.zeros(len(lengths), frames, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, frames - length if left else 0 : frames if left else length] = 1
    return torch.ones(len(lengths), frames, size), mask


def runs(flags: torch.Tensor) -> list[int]:
    """Return the lengths of the runs of True."""
    text = "".join("x" if flag else " " for flag in flags.tolist())
    return [len(run) for run in text.split()]


def test_masks_depend_on_the_generator_and_differ_per_clip():
    hidden, mask = ragged([50, 40])
    one = mask_features(hidden, mask, generator=torch.Generator().manual_seed(5))
    state = torch.get_rng_state()
    two = mask_features(hidden, mask, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    other = mask_features(hidden, mask, generator=torch.Generator().manual_seed(6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    same_length, mask = ragged([100] * 8)
    masked = mask_features(same_length, mask, generator=torch.Generator().manual_seed(2)) == 0
    assert len({row.numpy().tobytes() for row in masked}) > 1


@pytest.mark.parametrize("left", [False, True])
def test_time_masks_are_ranges_of_frames_without_padding(left):
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 2, 5, 30, 100]
    hidden, mask = ragged(lengths, left=left)
    widest = [0] * len(lengths)
    for _ in range(300):
        masked = mask_features(hidden, mask, time_masks=2, time_width=12, channel_masks=0, generator=generator) == 0
        assert torch.equal(masked.any(2), masked.all(2)), "a frame is masked in all channels or in none"
        frames = masked.all(2)
        assert not frames[mask == 0].any(), "padding is unchanged"
        for row, length in enumerate(lengths):
            lengths_of_masks = runs(frames[row])
            assert len(lengths_of_masks) <= 2
            assert sum(lengths_of_masks) <= min(24, length // 2), "at most half of a clip"
            widest[row] = max(widest[row], *lengths_of_masks, 0)
    # Maximum width of one mask: 1, 7 and 12 of 5, 30 and 100 frames; two masks may touch.
    assert widest[:2] == [0, 0]
    assert widest[2] in (1, 2)
    assert widest[3] >= 7
    assert widest[4] >= 12


def test_time_masks_reach_all_frames_with_uniform_width():
    hidden, mask = ragged([40] * 4000, size=4)
    generator = torch.Generator().manual_seed(1)
    masked = mask_features(hidden, mask, time_masks=1, time_width=10, channel_masks=0, generator=generator)
    frames = (masked == 0).all(2)
    assert frames.any(0).all()
    widths = frames.sum(1)
    assert set(widths.tolist()) == set(range(11))
    assert widths.float().mean().item() == pytest.approx(5.0, abs=0.2)


def test_channel_masks_span_all_frames_and_half_the_channels():
    generator = torch.Generator().manual_seed(0)
    hidden, mask = ragged([20, 30], size=24)
    seen = torch.zeros(24, dtype=torch.bool)
    for _ in range(200):
        masked = mask_features(hidden, mask, time_masks=0, channel_masks=3, channel_width=100, generator=generator)
        masked = masked == 0
        assert torch.equal(masked, masked[:, :1].expand_as(masked))
        assert masked[:, 0].sum(1).max() <= 12
        seen |= masked[0, 0]
    assert seen.all()


def test_masks_keep_other_values_dtype_and_gradient():
    hidden = torch.randn(2, 30, 24, dtype=torch.float64, requires_grad=True)
    result = mask_features(hidden, generator=torch.Generator().manual_seed(0))
    assert result.dtype == torch.float64
    kept = result != 0
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(result[kept], hidden[kept])
    result.sum().backward()
    assert torch.equal(hidden.grad, kept.double())


def test_masks_of_width_or_number_0_change_nothing():
    hidden, mask = ragged([10, 20])
    assert torch.equal(mask_features(hidden, mask, time_width=0, channel_width=0), hidden)
    assert torch.equal(mask_features(hidden, mask, time_masks=0, channel_masks=0), hidden)
    with pytest.raises(ValueError, match=r"\(2, 19\).*\(2, 20\)"):
        mask_features(hidden, mask[:, 1:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_masks_on_gpu_with_generator_on_either_device():
    hidden, mask = ragged([50, 40])
    expected = mask_features(hidden, mask, generator=torch.Generator().manual_seed(5))
    result = mask_features(hidden.cuda(), mask.cuda(), generator=torch.Generator().manual_seed(5))
    assert torch.equal(result.cpu(), expected)
    assert mask_features(hidden.cuda(), mask.cuda(), generator=torch.Generator("cuda").manual_seed(5)).is_cuda


@pytest.mark.parametrize(
    ("change", "value", "seconds", "hertz"),
    [
        ("time_rate", 0.8, 1.25, 200),
        ("semitones", 2.0, 1.0, 200 * 2 ** (2 / 12)),
        ("speed", 1.25, 0.8, 250),
    ],
)
def test_change_has_its_effect_on_length_and_pitch(change, value, seconds, hertz):
    view = WaveformAugmenter(**NOTHING | {change: (value, value)}).view(tone(), "a", 1)
    assert len(view) == pytest.approx(seconds * RATE, rel=0.01)
    assert pitch(view) == pytest.approx(hertz, rel=0.01)


def test_low_resource_augmenter_has_other_views_and_name():
    default, other = WaveformAugmenter(seed=5), low_resource_augmenter(seed=5)
    assert default.name == "5"
    assert other.name.startswith("5-") and other.name != low_resource_augmenter(seed=6).name
    assert other.name == low_resource_augmenter(seed=5).name
    lengths = {len(other.view(tone(), "clip", index)) / RATE for index in range(1, 40)}
    assert min(lengths) >= 1 / 1.1 - 1e-3 and max(lengths) <= 1 / 0.9 + 1e-3
    assert len(lengths) > 10
