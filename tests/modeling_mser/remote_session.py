# SPDX-License-Identifier: Apache-2.0
"""What a user without this project does with a folder of it: `python -I remote_session.py FOLDER CLIP OUT`.

Prints one JSON object. Run by the tests in a process of its own, which finds none of the project's packages.
"""

import importlib.util
import json
import sys


# An editable installation leaves a finder and a path behind; neither is there for a user.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
for package in ("modeling_mser", "processing_mser"):
    assert importlib.util.find_spec(package) is None, f"{package} can be imported"
for package in ("audiomentations", "peft", "datatrove"):
    sys.modules[package] = None  # as if it were not installed

from transformers import (  # noqa: E402
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoProcessor,
    pipeline,
)


folder, clip, out = sys.argv[1:]


def scores(place: str) -> list[dict]:
    return pipeline(model=place, trust_remote_code=True)(clip)


told = {"pipeline": scores(folder)}
told["task given"] = pipeline("audio-classification", model=folder, trust_remote_code=True)(clip)
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
words = processor.words(config.emotion_words)
logits = model.score_emotions(**processor(audio=[clip]), candidate_ids=processor.candidate_ids(words))
told["classes"] = dict(zip(words, logits[0].softmax(-1).tolist(), strict=True))
classifier = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
probabilities = classifier(**processor(audio=[clip])).logits[0].softmax(-1).tolist()
told["audio classification"] = {classifier.config.id2label[index]: one for index, one in enumerate(probabilities)}
told["causal"] = type(AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)).__name__

pipeline(model=folder, trust_remote_code=True).save_pretrained(f"{out}/pipeline")
told["pipeline saved again"] = scores(f"{out}/pipeline")
model.save_pretrained(f"{out}/parts")
processor.save_pretrained(f"{out}/parts")
told["parts saved again"] = scores(f"{out}/parts")
print(json.dumps(told))
