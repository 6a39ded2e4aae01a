# SPDX-License-Identifier: Apache-2.0
"""Mix, crop and mask features, compared with numpy."""

import numpy as np
import pytest
import torch

from mser_llm.training.data.batch_features import BatchFeatures, Masking
from mser_llm.training.objectives.byol_views import ViewStrength, mixed_up, resized_crop


MASKING = Masking(time_masks=2, time_width=20, channel_masks=2, channel_width=8)


def clips(lengths=(40, 40, 25), channels=12, encoded=False, layers=1) -> BatchFeatures:
    torch.manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    values = torch.randn(len(lengths), layers, max(lengths), channels) / 4
    return BatchFeatures(values * mask[:, None, :, None], mask, encoded)


def test_mix_combines_sounds_by_power():
    """Mixing in a part p leaves 1 - p of one tone's power and p of the other's."""
    silent, loud = -1.5, 1.0  # 10^-10 and 1 as powers
    values = torch.full((2, 1, 6, 4), silent)
    values[0, :, :, 0] = loud
    values[1, :, :, 1] = loud
    features = BatchFeatures(values, torch.ones(2, 6, dtype=torch.bool), False)
    torch.manual_seed(0)
    mixed = mixed_up(features, 0.4).values
    power = 10 ** (4 * mixed - 4)
    for clip, (own, other) in enumerate(((0, 1), (1, 0))):
        part = power[clip, 0, 0, other].item()
        assert 0 < part <= 0.4
        torch.testing.assert_close(power[clip, ..., own], torch.full((1, 6), 1 - part), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(power[clip, ..., other], torch.full((1, 6), part), atol=1e-5, rtol=1e-4)
        assert (power[clip, ..., 2:] < 1e-8).all()


def test_mix_interpolates_states_over_shared_frames():
    features = clips(encoded=True, layers=2)
    torch.manual_seed(1)
    mixed = mixed_up(features, 0.4).values
    partners = set()
    for clip in range(3):
        found = []
        for other in {0, 1, 2} - {clip}:
            both = features.mask[clip] & features.mask[other]
            towards = (features.values[other] - features.values[clip])[:, both]
            moved = (mixed[clip] - features.values[clip])[:, both]
            part = (moved * towards).sum() / (towards**2).sum()
            if torch.allclose(moved, part * towards, atol=1e-5):
                found.append(other)
                assert 0 < part <= 0.4
                assert torch.equal(mixed[clip][:, ~both], features.values[clip][:, ~both])
        (partner,) = found
        partners.add((clip, partner))
    assert len(partners) == 3
    alone = features.rows(torch.tensor([0]))
    assert torch.equal(mixed_up(alone, 0.4).values, alone.values)


@pytest.mark.parametrize("encoded", [False, True])
def test_crop_resizes_a_range_linearly(encoded):
    """A ramp shows which positions were read: a straight line, slope within limits, inside the clip."""
    lengths, channels = torch.tensor([50, 50, 31]), 20
    mask = torch.arange(50) < lengths[:, None]
    time = torch.arange(50.0)[None, None, :, None].expand(3, 1, 50, channels)
    frequency = torch.arange(float(channels)).expand(3, 1, 50, channels)
    slopes = []
    for seed in range(20):
        torch.manual_seed(seed)
        read_time = resized_crop(BatchFeatures(time, mask, encoded), 0.6, 1.5).values
        torch.manual_seed(seed)
        read_band = resized_crop(BatchFeatures(frequency, mask, encoded), 0.6, 1.5).values
        torch.manual_seed(seed)
        mixture = BatchFeatures((time * 0.01).sin() + (frequency * 0.3).cos(), mask, encoded)
        read = resized_crop(mixture, 0.6, 1.5)
        assert torch.equal(read.mask, mask)
        for clip, length in enumerate(lengths.tolist()):
            where = read_time[clip, 0, :length, 0].double().numpy()
            assert where.min() >= 0 and where.max() <= length - 1 + 1e-4
            steps = np.diff(where)
            inside = steps[(where[1:] < length - 1.001) & (where[:-1] > 0.001)]
            assert inside.max() - inside.min() < 1e-3
            slopes.append(inside[0])
            assert torch.equal(read_time[clip, 0, length:], time[clip, 0, length:]), "padding is unchanged"
            bands = read_band[clip, 0, 0].double().numpy()
            if encoded:
                assert np.allclose(bands, np.arange(channels), atol=1e-4), "the channels of states have no order"
            else:
                assert 0.6 - 1e-3 <= np.diff(bands).max() <= 1 + 1e-3
            # Each axis equals numpy's interpolation.
            plane = mixture.values[clip, 0].double().numpy()
            rows = np.stack([np.interp(where, np.arange(length), plane[:length, c]) for c in range(channels)], axis=1)
            expected = np.stack([np.interp(bands, np.arange(channels), row) for row in rows])
            assert np.allclose(read.values[clip, 0, :length].numpy(), expected, atol=1e-3)
    assert 0.6 - 1e-3 <= min(slopes) < 0.75 and 1.2 < max(slopes) <= 1.5 + 1e-3
    assert len({round(slope, 4) for slope in slopes}) > 40, "each clip has its own"


@pytest.mark.parametrize("encoded", [False, True])
def test_views_differ_by_strength(encoded):
    features = clips(lengths=(100,) * 24, channels=40, encoded=encoded)
    again = BatchFeatures.of(features.inputs())
    assert torch.equal(again.values, features.values) and torch.equal(again.mask, features.mask)
    assert again.encoded == encoded and (encoded or features.inputs()["input_features"].shape == (24, 40, 100))
    # Smooth like speech, so that a small shift is a small difference.
    slow = torch.arange(100)[:, None] / 15 + torch.arange(40) / 10 + torch.arange(24)[:, None, None, None]
    features = BatchFeatures(slow.sin(), features.mask, encoded)
    strong = ViewStrength(MASKING, mixup=0.4, least_crop=0.6, greatest_crop=1.5)
    weak = strong.reduced(0.5)
    assert weak.masking.time_width == 10 and weak.masking.channel_width == 4 and weak.mixup == 0
    assert 0.6 < weak.least_crop < 1 < weak.greatest_crop < 1.5
    first, second = strong.view(features).values, strong.view(features).values
    assert not torch.equal(first, second)

    def away(view: torch.Tensor) -> float:
        return (view - features.values).pow(2).mean().item()

    distances = [np.mean([away(one.view(features).values) for _ in range(10)]) for one in (strong, weak)]
    assert distances[1] < 0.9 * distances[0]
    none = strong.reduced(0.0)
    assert torch.equal(none.view(features).values, features.values)


def test_masks_are_equal_in_all_layers():
    features = BatchFeatures(torch.ones(4, 3, 100, 40), torch.ones(4, 100, dtype=torch.bool), True)
    torch.manual_seed(0)
    kept = features.masked(MASKING).values
    assert torch.equal(kept[:, 0], kept[:, 1]) and torch.equal(kept[:, 0], kept[:, 2])
    frames, channels = (kept[:, 0] == 0).all(2), (kept[:, 0] == 0).all(1)
    assert torch.equal(kept[:, 0] == 0, frames[:, :, None] | channels[:, None, :])
    assert 0 < frames.sum(1).max() <= 40 and 0 < channels.sum(1).max() <= 16
