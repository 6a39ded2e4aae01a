# SPDX-License-Identifier: Apache-2.0
"""The baselines that hear something, fitted on training clips and asked about test clips, their features cached."""

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
    eGeMAPS functionals with an SVM.

    Args:
        training: clips of several speakers.
        tests: by corpus.
        labels: the label set.
        cache_dir: where functionals are kept, under the audio's content.

    Raises:
        ImportError: openSMILE is not installed.
        ValueError: a corpus without a usable clip, or training clips of one speaker.
    """
    encoder = EgemapsEncoder(MSERProcessor(WhisperFeatureExtractor(), build_tokenizer()))
    features = ClipFeatures(encoder, cache_dir, cache_gb=float("inf"))
    machine = fit_egemaps_svm(*clip_vectors(features, training, labels))
    answers = {}
    for name, clips in tests.items():
        functionals, usable = clip_vectors(features, clips, labels)
        answers[name] = usable.to_predictions(labels.words, machine.predict(functionals))
    return System("eGeMAPS + SVM", machine.description, answers, {"validation_UA": machine.validation})


def probe_systems(
    audio_backbone: str,
    training: LabeledClips,
    tests: Mapping[str, LabeledClips],
    labels: LabelSet,
    cache_dir: str,
    pad_to: str = "longest",
) -> tuple[list[System], list[System]]:
    """
    Linear probes of a frozen encoder.

    Args:
        audio_backbone: folder or Hub id of a Whisper.
        training, tests, labels, cache_dir: as in `egemaps_system`.
        pad_to: as `MSERProcessor` takes it.

    Returns:
        The probe of the layer that held-out training speakers choose and the probe of a learned mean of all layers;
        and, apart, that of every layer.

    Raises:
        ValueError: a corpus without a usable clip, or training clips of one speaker.
    """
    extractor = WhisperFeatureExtractor.from_pretrained(audio_backbone)
    processor = MSERProcessor(extractor, build_tokenizer(), pad_to=pad_to)
    pooled = PooledLayers(load_audio_backbone(audio_backbone).eval(), processor)
    features = ClipFeatures(pooled, cache_dir, cache_gb=float("inf"))
    fitting = clip_vectors(features, training, labels)
    measured = {name: clip_vectors(features, clips, labels) for name, clips in tests.items()}

    def system(name: str, detail: str, probe: LayerProbe) -> System:
        answers = {corpus: probe.predictions(*given, labels.words) for corpus, given in measured.items()}
        facts = {"layer": probe.layer, "C": probe.C, "validation_UA": probe.validation}
        return System(name, detail, answers, {**facts, "layer_weights": probe.layer_weights})

    each, chosen = probe_layers(*fitting)
    weighted = probe_weighted_layers(*fitting)
    named = [
        system("probe of the chosen layer", f"layer {chosen.layer}, C = {chosen.C:g}", chosen),
        system("probe of all layers, weighted", f"C = {weighted.C:g}", weighted),
    ]
    return named, [system(f"layer {probe.layer}", "", probe) for probe in each]
