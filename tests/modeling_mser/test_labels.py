# SPDX-License-Identifier: Apache-2.0
"""Labels that a language model trained from scratch never learned."""

import pickle

import numpy as np
import pytest
from audio_files import encoded

from modeling_mser.labels_mser import UnlearnedLabelError, check_labels, unlearned_labels
from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.evaluation.evaluation import evaluate_corpora
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.loading import load_processor
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions


LABELS = ["happy", "calm", "tired"]
NOISE = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)


def with_recognize(model, processor, **options):
    (result,) = recognize(model, processor, [NOISE], LABELS, ScoringOptions(**options))
    return result.unlearned_labels, result.scores


def with_pipeline(model, processor, **options):
    ranked = MSERPipeline(model, processor=processor, device="cpu")(NOISE, candidate_labels=LABELS, **options)
    marked = {entry["label"] for entry in ranked if entry.get("unlearned")}
    return tuple(label for label in LABELS if label in marked), {entry["label"]: entry["score"] for entry in ranked}


def with_evaluation(model, processor, **options):
    row = {"id": "1", "audio": {"array": NOISE, "sampling_rate": 16000, "path": None}, "emotion": "happy"}
    results = evaluate_corpora(model, processor, {"own": [row]}, LABELS, ScoringOptions(**options), progress=False)
    return tuple(results["unlearned_labels"]), None


WAYS = [with_recognize, with_pipeline, with_evaluation]


@pytest.mark.parametrize("query", WAYS)
def test_unlearned_labels_are_rejected_unless_allowed(query, tiny, make_tiny):
    assert query(*make_tiny(learned_words=None))[0] == (), "a pretrained language model knows any label"
    model, processor = tiny
    with pytest.raises(UnlearnedLabelError) as caught:
        query(model, processor)
    assert (caught.value.unlearned, caught.value.learned) == (("calm", "tired"), tuple(model.config.learned_words))
    marked, scores = query(model, processor, allow_unlearned_labels=True)
    assert marked == ("calm", "tired")
    assert scores is None or sum(scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("mode", ["score", "generate"])
def test_pipeline_checks_labels_before_reading(mode, tiny):
    model, processor = tiny
    with pytest.raises(UnlearnedLabelError):
        MSERPipeline(model, processor=processor, candidate_labels=LABELS, mode=mode)
    pipe = MSERPipeline(model, processor=processor, device="cpu", allow_unlearned_labels=True)
    assert {entry["label"] for entry in pipe(NOISE, candidate_labels=LABELS)} == set(LABELS)
    (entry,) = pipe(NOISE, candidate_labels=["calm", "tired"], timeline=True)
    assert entry["unlearned"] and all(one["unlearned"] for one in entry["scores"])
    with pytest.raises(UnlearnedLabelError):
        pipe("missing.wav", candidate_labels=LABELS, mode=mode, allow_unlearned_labels=False)


def test_cached_predictions_are_checked_too(tiny_model_dir, tmp_path):
    clip = {"bytes": encoded(NOISE), "path": None}
    cache, processor = PredictionCache(tmp_path), load_processor(str(tiny_model_dir))
    allowed = ScoringOptions(allow_unlearned_labels=True)
    for _ in range(2):
        model = DeferredModel(str(tiny_model_dir), "cpu")
        (result,) = cache.recognize(model, processor, [clip], LABELS, allowed)
        assert result.unlearned_labels == ("calm", "tired")
    assert (cache.found, cache.computed) == (1, 1)
    with pytest.raises(UnlearnedLabelError):
        list(cache.recognize(model, processor, [clip], LABELS, ScoringOptions()))


def test_error_suggests_near_label_and_stays_short(tiny):
    config = tiny[0].config
    with pytest.raises(UnlearnedLabelError, match="happy for Hapy") as caught:
        check_labels(config, ["Hapy", *(f"{'x' * 50} {number}" for number in range(1000))])
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert unlearned_labels(config, ["happy", "sad"]) == ()
