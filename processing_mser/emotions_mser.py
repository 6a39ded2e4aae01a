# SPDX-License-Identifier: Apache-2.0
"""Emotion words, their synonyms, label sets, and parsing of free text.

Three tables, each with one purpose:

- `EMOTION_SYNONYMS`: words in users' own data to canonical words, used to read rows. A published corpus has its own
  table of labels.
- `LabelSet.merges`: words that a protocol merges (`four` counts excited as happy), used to select rows.
- `INFLECTIONS`: forms of the same word (anger, angrily), used only to parse free text.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache


_SYNONYMS: dict[str, tuple[str, ...]] = {
    "neutral": ("neu",),
    "happy": ("hap", "happiness", "joy", "joyful"),
    "sad": ("sadness",),
    "angry": ("ang", "anger"),
    "surprise": ("surprised",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "calm": ("calmness",),
    "excited": ("exc", "excitement"),
    "frustrated": ("fru", "frustration"),
    "contempt": ("contemptuous",),
    "boredom": ("bored",),
    "enthusiasm": ("enthusiastic",),
    "other": ("others",),
}
EMOTIONS: tuple[str, ...] = tuple(_SYNONYMS)
EMOTION_SYNONYMS: dict[str, str] = {
    **{word: word for word in EMOTIONS},
    **{synonym: word for word, synonyms in _SYNONYMS.items() for synonym in synonyms},
}
"""Lower-case words in users' own data to canonical words."""

# Forms of one word, the canonical one first. Synonyms (joy, furious) are not forms and are not parsed.
INFLECTIONS: tuple[tuple[str, ...], ...] = (
    ("neutral", "neutrally", "neutrality"),
    ("happy", "happily", "happiness", "happier"),
    ("sad", "sadly", "sadness", "saddened"),
    ("angry", "anger", "angrily", "angered"),
    ("surprise", "surprised"),
    ("disgust", "disgusted"),
    ("fear", "fearful", "fearfully"),
    ("calm", "calmly", "calmness"),
    ("excited", "excitement", "excitedly"),
    ("frustrated", "frustration"),
    ("contempt", "contemptuous", "contemptuously"),
    ("boredom", "bored"),
    ("enthusiasm", "enthusiastic", "enthusiastically"),
)

UNPARSED = "unparsed"
"""Result of `parse_emotion` for a text with no word of the set, or with several. Never a label."""


def _normalized(word: str) -> str:
    """Use single spaces and composed letters (NFC): folder names on macOS have separate accents."""
    return " ".join(unicodedata.normalize("NFC", word).split())


def canonical_emotion(label: str) -> str:
    """
    Return the canonical word for a user's label, ignoring case; an unknown word is returned in lower case.

    Raises:
        ValueError: the label is empty.
    """
    word = _normalized(label).lower()
    if not word:
        raise ValueError(f"emotion {label!r} is empty; pass a word")
    return EMOTION_SYNONYMS.get(word, word)


def _tokens(text: str) -> tuple[str, ...]:
    """Split into case-folded words. Combining marks (Devanagari), hyphens and apostrophes do not split a word."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    kept = "".join(c if c.isalnum() or c in "_-'’" or unicodedata.category(c)[0] == "M" else " " for c in text)
    return tuple(token for token in (raw.strip("_-'’") for raw in kept.split()) if token)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


@dataclass(frozen=True)
class LabelSet:
    """Candidate labels in the order of scores and reports.

    Args:
        name: name in reports.
        words: at least two different words.
        merges: canonical words outside the set to the word of the set that they count as; other words are dropped.
    """

    name: str
    words: tuple[str, ...]
    merges: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        name = _shortened(repr(self.name))
        if len(self.words) < 2:
            raise ValueError(f"label set {name} has {len(self.words)} word(s); pass at least two")
        folded = [word.casefold() for word in self.words]
        counts = Counter(folded)
        repeated = sorted({word for word, one in zip(self.words, folded) if counts[one] > 1})
        if repeated:
            raise ValueError(f"label set {name} repeats {_shortened(', '.join(repeated))}; pass each word once")
        for word in self.words:
            if not _tokens(word):
                shown = _shortened(repr(word))
                raise ValueError(f"label set {name} has the word {shown}; a word needs a letter or a digit")
            if word == UNPARSED:
                raise ValueError(f"label set {name} has the reserved word {word!r}; rename it")
        unknown = sorted(set(self.merges.values()) - set(self.words))
        if unknown:
            raise ValueError(f"label set {name} merges into {', '.join(unknown)}, not in it; add the word(s)")

    def map(self, emotion: str | None) -> str | None:
        """Return the word of the set that an emotion counts as, or `None` if it is outside the set."""
        if emotion in self.words:
            return emotion
        return self.merges.get(emotion) if emotion is not None else None

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.words


LABEL_SETS: dict[str, LabelSet] = {
    # The common four-class task on IEMOCAP.
    "four": LabelSet("four", ("neutral", "happy", "sad", "angry"), {"excited": "happy"}),
    # arXiv 2503.21806, in its order.
    "seven": LabelSet("seven", EMOTIONS[:7]),
}


def label_set(spec: str | Sequence[str] | LabelSet) -> LabelSet:
    """Build a label set from its name (`four`, `seven`) or from words (`"happy,very tired"` or a list).

    - A synonym (`anger,joy`) stays as written, and rows with the canonical emotion count as it. If several words mean
      the same, the canonical one gets the rows, else the first.
    - Words in this module's tables become lower case, others keep their case (`Freude,Wut`). Rows match in any case.

    Raises:
        ValueError: an unknown name, fewer than two words, or a repeated word.
    """
    if isinstance(spec, LabelSet):
        return spec
    if isinstance(spec, str):
        name = spec.strip().lower()
        if name in LABEL_SETS:
            return LABEL_SETS[name]
        if "," not in spec:
            raise ValueError(f"label set {spec!r} {_explain_single_label(name)}")
        spec = [word for word in spec.split(",") if word.strip()]
    words = tuple(spec) if isinstance(spec, Iterable) else (spec,)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(
            f"label set {spec!r} is not a list of words; pass {' or '.join(LABEL_SETS)}, or words as text"
        )
    normalized = map(_normalized, words)
    words = tuple(word.lower() if word.lower() in EMOTION_SYNONYMS else word for word in normalized)
    merges: dict[str, str] = {}
    for word in words:
        meaning = EMOTION_SYNONYMS.get(word, word.lower())
        if meaning not in words:
            merges.setdefault(meaning, word)
    return LabelSet(",".join(words), words, merges)


def _explain_single_label(spec: str) -> str:
    """Explain what is wrong with a label set that is neither a known name nor a list with commas."""
    near = difflib.get_close_matches(spec, LABEL_SETS, n=1, cutoff=0.7)
    if near:
        return f"is not known; did you mean {near[0]}?"
    parts = [part for part in re.split(r"[\s;|/+]+", spec) if part]
    if len(parts) > 1 and all(part in EMOTION_SYNONYMS for part in parts):
        return f"is one label; separate labels by commas, e.g. {','.join(parts)}"
    example = f"{spec or 'happy'},{'happy' if spec == 'sad' else 'sad'}"
    return f"needs at least two labels, separated by commas; pass e.g. {example}, or {' or '.join(LABEL_SETS)}"


def suggest_emotion(word: str) -> str | None:
    """Return the known emotion word that `word` may misspell, or `None`.

    Words with at least four letters match if one letter was added, omitted, replaced or swapped with the next.
    """
    word, known = _normalized(word).lower(), EMOTION_SYNONYMS
    if word in known or len(word) < 4:
        return None
    return next((other for other in known if len(other) >= 4 and _one_letter_apart(word, other)), None)


def _one_letter_apart(first: str, second: str) -> bool:
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1:
        return False
    start = next((index for index, (a, b) in enumerate(zip(short, long)) if a != b), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    return swapped or short[start + 1 :] == long[start + 1 :]


def default_labels(emotion_words: Sequence[str] | None) -> tuple[str, ...]:
    """Return a model's default candidate labels: those of its last training stage, else `seven`."""
    return tuple(emotion_words) if emotion_words else LABEL_SETS["seven"].words


@lru_cache(maxsize=256)
def _forms(words: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Map the tokens of every form of a word to the word of the set."""
    forms = {_tokens(word): word for word in words}
    for family in INFLECTIONS:
        members = [word for word in words if word.casefold() in family]
        if len(members) == 1:
            for form in family:
                forms.setdefault((form,), members[0])
    return forms


def parse_emotion(text: str, words: Sequence[str] | LabelSet) -> str:
    """Find the word of the set in a free text, or return `UNPARSED`.

    - Case, punctuation and other words are ignored ("The speaker sounds angry").
    - Only complete words match ("unhappy" is not "happy"), and the longest wins ("very tired", not "tired").
    - `INFLECTIONS` of a word count as the word ("anger").
    - Two different words, or none, give `UNPARSED`.
    - Negation is ignored ("not angry" is angry). In scripts without spaces, the word must be the complete text.
    """
    forms = _forms(tuple(words))
    tokens = _tokens(text)
    longest = max((len(form) for form in forms), default=0)
    found: set[str] = set()
    start = 0
    while start < len(tokens):
        for size in range(min(longest, len(tokens) - start), 0, -1):
            word = forms.get(tokens[start : start + size])
            if word is not None:
                found.add(word)
                break
        else:
            size = 1
        start += size
    return found.pop() if len(found) == 1 else UNPARSED
