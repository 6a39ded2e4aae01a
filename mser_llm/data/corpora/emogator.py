# SPDX-License-Identifier: Apache-2.0
"""EmoGator."""

from collections import Counter

from mser_llm.data.corpora.spec import CorpusSpec


# In the order of their codes, 01 to 30.
_CATEGORIES = (
    "adoration", "amusement", "anger", "awe", "confusion", "contempt", "contentment", "desire", "disappointment",
    "disgust", "distress", "ecstasy", "elation", "embarrassment", "fear", "guilt", "interest", "neutral", "pain",
    "pride", "realization", "relief", "romantic love", "sadness", "serenity", "shame", "negative surprise",
    "positive surprise", "sympathy", "triumph",
)  # fmt: skip
_CANONICAL = {
    "amusement": "happy",
    "anger": "angry",
    "contempt": "contempt",
    "disgust": "disgust",
    "elation": "happy",
    "fear": "fear",
    "neutral": "neutral",
    "sadness": "sad",
    "serenity": "calm",
    "negative surprise": "surprise",
    "positive surprise": "surprise",
}


CORPUS = CorpusSpec(
    name="emogator",
    title="EmoGator, vocal bursts",
    language="zxx",
    pattern=r"(?P<speaker>\d{6})-(?P<emotion>0[1-9]|[12]\d|30)-(?P<take>[123])",
    example="000001-03-1",
    labels={f"{code:02d}": _CANONICAL.get(name, "other") for code, name in enumerate(_CATEGORIES, 1)},
    # 357 people, three clips of each of the thirty categories.
    expected={
        word: 1071 * count for word, count in Counter(_CANONICAL.get(name, "other") for name in _CATEGORIES).items()
    },
    speakers=357,
    license="Apache-2.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://github.com/fredbuhl/EmoGator, folder data/mp3",
    citation=(
        "Buhl, EmoGator: A New Open Source Vocal Burst Dataset with Baseline Machine Learning Classification "
        "Methodologies, arXiv 2301.00508, 2022"
    ),
    note="Cries, laughs and sighs, no words. Nineteen of its thirty categories are read as other.",
)
