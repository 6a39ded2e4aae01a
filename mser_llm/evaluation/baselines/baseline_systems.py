# SPDX-License-Identifier: Apache-2.0
"""The baselines: guessing, the majority class, eGeMAPS + SVM, and linear probes of a frozen encoder."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import WhisperFeatureExtractor

from modeling_mser.backbones_mser import load_audio_backbone
from mser_llm.data.clips import index_clips
from mser_llm.evaluation.baselines.comparison import System
from mser_llm.evaluation.baselines.egemaps import EgemapsEncoder, fit_egemaps_svm
from mser_llm.evaluation.baselines.linear_probe import LayerProbe, probe_layers, probe_weighted_layers
from mser_llm.evaluation.baselines.pooled_layers import PooledLayers
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.metrics.emotion_metrics import METRICS, metrics_from_counts
from mser_llm.evaluation.predictions import Predictions
from mser_llm.inference.feature_cache import ClipFeatures
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.io.errors import InputError
from processing_mser import LabelSet, MSERProcessor


# Simulated guesses per clip.
_DRAWS = 10_000


def chance_level(clips: LabeledClips, labels: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Compute the metrics of uniform guessing.

    Returns:
        the expected value of each of `METRICS`, `n`, and `intervals`, which contain 95 % of guessing systems. `UA` and
        `WA` are exactly 1 / `len(labels)`; WF1, macro-F1 and precision are means of the draws.
    """
    support, size = Counter(clips.truths), len(labels)
    random = np.random.default_rng(seed)
    rows = [random.multinomial(support[label], [1 / size] * size, size=_DRAWS) for label in labels]
    counts = np.pad(np.stack(rows, axis=1), ((0, 0), (0, 0), (0, 1)))  # nothing is unparsed
    drawn = {name: np.asarray(of) for name, of in metrics_from_counts(counts).items() if name in METRICS}
    expected = {name: float(of.mean()) for name, of in drawn.items()} | {"UA": 1 / size, "WA": 1 / size}
    intervals = {name: [float(bound) for bound in np.percentile(of, [2.5, 97.5])] for name, of in drawn.items()}
    return {**expected, "n": len(clips), "intervals": intervals}


def majority_class(train_truths: Sequence[str], test: LabeledClips, labels: Sequence[str]) -> Predictions:
    """Predict the most frequent training emotion for every test clip; ties go to the first of `labels`."""
    counts: Mapping[str, int] = Counter(train_truths)
    word = max(labels, key=lambda label: counts[label])
    certain = np.tile([float(label == word) for label in labels], (len(test), 1))
    return test.to_predictions(labels, [word] * len(test), certain)


def clip_vectors(features: ClipFeatures, clips: LabeledClips, labels: LabelSet) -> tuple[np.ndarray, LabeledClips]:
    """
    Compute or load the features of all usable clips; report unusable clips on standard error.

    Args:
        features: of an encoder whose outputs have the same shape for every clip.

    Returns:
        `(num_clips, ...)` float32, and the usable clips in the given order.

    Raises:
        InputError: no clip is usable.
    """
    indexed, rejected = index_clips(clips.rows, labels)
    rejected += features.prepare([(clip, 0) for clip in indexed])
    unusable = {id(item.row) for item in rejected}
    usable = [index for index, row in enumerate(clips.rows) if id(row) not in unusable]
    if not usable:
        raise InputError(clips.corpora[0], f"none of {len(clips)} clips is usable (first: {rejected[0].reason})")
    if rejected:
        print(f"{len(rejected)} clips are unusable; the first: {rejected[0].reason}", file=sys.stderr)
    vectors = [features(clip, 0).float().numpy() for clip in indexed if id(clip.row) not in unusable]
    return np.stack(vectors), clips.subset(usable)


def egemaps_system(
    training: LabeledClips, tests: Mapping[str, LabeledClips], labels: LabelSet, cache_dir: str
) -> System:
    """
    Fit an SVM on eGeMAPS functionals of the training clips and predict the test clips of each corpus.

    Raises:
        ImportError: openSMILE is not installed.
        InputError: a corpus has no usable clip, or the training clips have one speaker only.
    """
    name, predictions = "eGeMAPS + SVM", {}
    encoder = EgemapsEncoder(MSERProcessor(WhisperFeatureExtractor(), build_tokenizer()))
    features = ClipFeatures(encoder, cache_dir, cache_gb=float("inf"))
    machine = fit_egemaps_svm(*clip_vectors(features, training, labels), title=name)
    for corpus, clips in tests.items():
        functionals, usable = clip_vectors(features, clips, labels)
        predictions[corpus] = usable.to_predictions(labels.words, machine.classifier.predict(functionals))
    kernel, cost = machine.name
    return System(name, f"{kernel} kernel, C = {cost:g}", predictions, {"validation_UA": machine.best_validation})


def probe_systems(
    audio_backbone: str,
    training: LabeledClips,
    tests: Mapping[str, LabeledClips],
    labels: LabelSet,
    cache_dir: str,
    pad_to: str = "longest",
) -> tuple[list[System], list[System]]:
    """
    Fit linear probes of a frozen encoder and predict the test clips.

    Args:
        audio_backbone: folder or Hub id of a Whisper model.

    Returns:
        the probes of the selected layer and of a learned mean of all layers; and the probes of every layer.

    Raises:
        InputError: a corpus has no usable clip, or the training clips have one speaker only.
    """
    extractor = WhisperFeatureExtractor.from_pretrained(audio_backbone)
    processor = MSERProcessor(extractor, build_tokenizer(), pad_to=pad_to)
    pooled = PooledLayers(load_audio_backbone(audio_backbone).eval(), processor)
    features = ClipFeatures(pooled, cache_dir, cache_gb=float("inf"))
    fitting = clip_vectors(features, training, labels)
    vectors = {name: clip_vectors(features, clips, labels) for name, clips in tests.items()}

    def system(name: str, detail: str, probe: LayerProbe) -> System:
        predictions = {corpus: probe.predictions(*given, labels.words) for corpus, given in vectors.items()}
        facts = {"layer": probe.layer, "C": probe.C, "validation_UA": probe.validation}
        return System(name, detail, predictions, {**facts, "layer_weights": probe.layer_weights})

    each, chosen = probe_layers(*fitting)
    weighted = probe_weighted_layers(*fitting)
    named = [
        system("probe of the chosen layer", f"layer {chosen.layer}, C = {chosen.C:g}", chosen),
        system("probe of all layers, weighted", f"C = {weighted.C:g}", weighted),
    ]
    return named, [system(f"layer {probe.layer}", "", probe) for probe in each]
