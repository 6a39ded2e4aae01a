# SPDX-License-Identifier: Apache-2.0
"""What a user without this project does with a classifier: `python -I remote_classifier_session.py FOLDER CLIP OUT`.

Prints one JSON object. Run by the tests in a process of its own, which finds none of the project's packages.
"""

import importlib.util
import json
import sys


# An editable installation leaves a finder and a path behind; neither is there for a user.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
for package in ("modeling_mser", "processing_mser"):
    assert importlib.util.find_spec(package) is None, f"{package} can be imported"

from transformers import AutoModelForAudioClassification, AutoProcessor, pipeline  # noqa: E402


folder, clip, out = sys.argv[1:]


def scores(place: str) -> dict[str, float]:
    return {one["label"]: one["score"] for one in pipeline(model=place, trust_remote_code=True)(clip)}


model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
probabilities = model(**processor(audio=[clip])).logits[0].softmax(-1).tolist()
told = {
    "model": type(model).__name__,
    "classes": {model.config.id2label[index]: value for index, value in enumerate(probabilities)},
    "pipeline": scores(folder),
}
model.save_pretrained(out)
processor.save_pretrained(out)
told["saved again"] = scores(out)
print(json.dumps(told))
