# SPDX-License-Identifier: Apache-2.0
"""Use a saved folder as a user without this project does: `python -I remote_session.py CLIP FOLDER …`.

Prints in JSON, for each folder, the label probabilities by way of loading.
"""

import importlib.util
import json
import sys


# Remove what an editable installation adds.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
for package in ("modeling_mser", "processing_mser"):
    assert importlib.util.find_spec(package) is None, f"{package} can be imported"
for package in ("audiomentations", "peft", "datatrove"):
    sys.modules[package] = None  # as if not installed

from transformers import (  # noqa: E402
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoProcessor,
    pipeline,
)


clip, *folders = sys.argv[1:]


def run_pipeline(path: str, *task: str) -> dict[str, float]:
    return {one["label"]: one["score"] for one in pipeline(*task, model=path, trust_remote_code=True)(clip)}


def load_every_way(folder: str) -> dict[str, dict[str, float]]:
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    labels = model.config.emotion_words
    inputs = processor(audio=[clip])
    logits = model.score_emotions(**inputs, candidate_ids=processor.candidate_ids(labels))
    classifier = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
    probabilities = classifier(**inputs).logits[0].softmax(-1).tolist()
    if model.config.model_type == "mser":
        AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    results = {
        "scores": dict(zip(labels, logits[0].softmax(-1).tolist(), strict=True)),
        "audio classification": {classifier.config.id2label[index]: one for index, one in enumerate(probabilities)},
        "pipeline": run_pipeline(folder),
        "pipeline with task": run_pipeline(folder, "audio-classification"),
    }
    pipeline(model=folder, trust_remote_code=True).save_pretrained(f"{folder}-pipeline")
    results["saved pipeline"] = run_pipeline(f"{folder}-pipeline")
    model.save_pretrained(f"{folder}-parts")
    processor.save_pretrained(f"{folder}-parts")
    results["saved parts"] = run_pipeline(f"{folder}-parts")
    return results


print(json.dumps([load_every_way(folder) for folder in folders]))
