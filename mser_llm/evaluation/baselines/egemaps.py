# SPDX-License-Identifier: Apache-2.0
"""Classical baseline: eGeMAPS functionals and a support vector machine.

eGeMAPS (Eyben et al. 2016, doi:10.1109/TAFFC.2015.2457417) has 88 features per clip for pitch, loudness, spectrum,
voice quality and rhythm. This uses version v02 as computed by openSMILE.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mser_llm.evaluation.baselines.model_selection import Selection, select_by_speakers
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.io.hashing import digest
from processing_mser import SAMPLING_RATE, MSERProcessor


NUM_FUNCTIONALS = 88
CANDIDATES: tuple[tuple[str, float], ...] = (
    ("linear", 0.001), ("linear", 0.01), ("linear", 0.1), ("rbf", 0.1), ("rbf", 1.0), ("rbf", 10.0),
)  # fmt: skip
"""Kernels and values of C to select from on training speakers."""


class EgemapsEncoder:
    """
    Compute eGeMAPSv02 functionals of waveforms.

    Raises:
        ImportError: openSMILE (extra `baselines`) is not installed. It is free for research and education only.
    """

    bytes_per_second = 4.0 * NUM_FUNCTIONALS

    def __init__(self, processor: MSERProcessor):
        try:
            import opensmile
        except ImportError:
            raise ImportError(
                "openSMILE: is not installed; pip install 'mser-llm[baselines]' (licensed for research and education, "
                "not for commercial use), or leave egemaps out of --systems"
            ) from None
        self.processor = processor
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
        )

    def fingerprint(self) -> str:
        """Hash everything except the clip that determines its functionals."""
        return digest("eGeMAPSv02 functionals", version("opensmile"))[:32]

    def __call__(self, waveforms: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Return `(NUM_FUNCTIONALS,)` float32 for each mono waveform `(num_samples,)` at 16 kHz."""
        features = (self.smile.process_signal(waveform, SAMPLING_RATE).to_numpy()[0] for waveform in waveforms)
        return [torch.from_numpy(vector.astype(np.float32)) for vector in features]


def fit_egemaps_svm(features: np.ndarray, clips: LabeledClips, title: str = "") -> Selection:
    """Fit an SVM on standardized functionals; kernel and C are selected on held-out training speakers.

    Its probabilities are not used, because Platt scaling may contradict the SVM's predictions.

    Args:
        features: `(num_clips, NUM_FUNCTIONALS)`.
        title: of the progress bar; empty shows none.

    Raises:
        InputError: the clips have one speaker or one emotion only.
    """
    candidates = {
        (kernel, cost): make_pipeline(StandardScaler(), SVC(C=cost, kernel=kernel, class_weight="balanced"))
        for kernel, cost in CANDIDATES
    }
    return select_by_speakers(candidates, features, np.array(clips.truths), clips.speakers, title)
