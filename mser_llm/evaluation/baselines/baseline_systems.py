# SPDX-License-Identifier: Apache-2.0
"""Fit the acoustic baselines on training clips and predict test clips, with cached features."""

from collections.abc import Mapping

from transformers import WhisperFeatureExtractor

from modeling_mser.backbones_mser import load_audio_backbone
from mser_llm.evaluation.baselines.clip_vectors import clip_vectors
from mser_llm.evaluation.baselines.comparison import System
from mser_llm.evaluation.baselines.egemaps import EgemapsEncoder, fit_egemaps_svm
from mser_llm.evaluation.baselines.linear_probe import LayerProbe, probe_layers, probe_weighted_layers
from mser_llm.evaluation.baselines.pooled_layers import PooledLayers
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.inference.feature_cache import ClipFeatures
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import LabelSet, MSERProcessor


def egemaps_system(
    training: LabeledClips, tests: Mapping[str, LabeledClips], labels: LabelSet, cache_dir: str
) -> System:
    """
    Fit an SVM on eGeMAPS functionals and predict the test clips.

    Args:
        training: clips of several speakers.
        tests: by corpus.
        labels: the label set.
        cache_dir: directory of the feature cache.

    Raises:
        ImportError: openSMILE is not installed.
        InputError: a corpus has no usable clip, or the training clips have one speaker only.
    """
    encoder = EgemapsEncoder(MSERProcessor(WhisperFeatureExtractor(), build_tokenizer()))
    features = ClipFeatures(encoder, cache_dir, cache_gb=float("inf"))
    machine = fit_egemaps_svm(*clip_vectors(features, training, labels))
    predictions = {}
    for name, clips in tests.items():
        functionals, usable = clip_vectors(features, clips, labels)
        predictions[name] = usable.to_predictions(labels.words, machine.predict(functionals))
    return System("eGeMAPS + SVM", machine.description, predictions, {"validation_UA": machine.validation})


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
        training, tests, labels, cache_dir: as in `egemaps_system`.
        pad_to: as in `MSERProcessor`.

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
