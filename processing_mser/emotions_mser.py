# SPDX-License-Identifier: Apache-2.0
"""The emotion vocabulary: canonical words, their synonyms, label sets, and emotions found in free text.

Three tables, each for one purpose:

- `EMOTION_SYNONYMS`: what users write in their own data, to the canonical word. Used when rows are read; a published
  corpus has its own table of labels.
- `LabelSet.merges`: what a protocol folds together (`four` counts excited as happy). Used when rows are chosen.
- `INFLECTIONS`: other forms of the same word (anger, angrily). Used when free text is parsed, and nowhere else.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache


EMOTIONS: tuple[str, ...] = (
    "neutral",
    "happy",
    "sad",
    "angry",
    "surprise",
    "disgust",
    "fear",
    "calm",
    "excited",
    "frustrated",
    "contempt",
    "boredom",
    "enthusiasm",
    "other",
)

EMOTION_SYNONYMS: dict[str, str] = {
    **{word: word for word in EMOTIONS},
    "neu": "neutral",
    "hap": "happy",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "sadness": "sad",
    "ang": "angry",
    "anger": "angry",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "calmness": "calm",
    "exc": "excited",
    "excitement": "excited",
    "fru": "frustrated",
    "frustration": "frustrated",
    "contemptuous": "contempt",
    "bored": "boredom",
    "enthusiastic": "enthusiasm",
    "others": "other",
}
"""Lower-case words that users write for their own data, to the canonical word."""

# Forms of one word, the canonical one first. Synonyms (joy, furious) are not forms: a text that has only them is
# unparsed.
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
"""What `parse_emotion` answers when a text names no word of the set, or more than one. Never a label."""


def _own_word(word: str) -> str:
    """As `_written`, in lower case."""
    return _written(word).lower()


def _written(word: str) -> str:
    """Single spaces, and composed letters: a folder named on macOS arrives with its accents split off."""
    return " ".join(unicodedata.normalize("NFC", word).split())


def canonical_emotion(label: str) -> str:
    """
    Return the canonical word for an emotion as a user wrote it, in any case and with any spaces around it.

    A word that is not in `EMOTION_SYNONYMS` is the user's own label and is returned in lower case.

    Raises:
        ValueError: the label is empty.
    """
    word = _own_word(label)
    if not word:
        raise ValueError(f"emotion {label!r} is empty; write a word")
    return EMOTION_SYNONYMS.get(word, word)


def _tokens(text: str) -> tuple[str, ...]:
    """Whole words, caseless. Combining marks stay inside a word (Devanagari), hyphens and apostrophes join two."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    kept = "".join(c if c.isalnum() or c in "_-'’" or unicodedata.category(c)[0] == "M" else " " for c in text)
    return tuple(token for token in (raw.strip("_-'’") for raw in kept.split()) if token)


def _shown(text: str, form: Callable[[str], str] = repr) -> str:
    """A text as an error quotes it, of any length in one short line."""
    return form(text if len(text) <= 80 else f"{text[:79]}…")


@dataclass(frozen=True)
class LabelSet:
    """The words that compete in one protocol, in the order in which they are scored and reported.

    Args:
        name: what the set is called in a report.
        words: at least two different words.
        merges: canonical words outside the set to the word of the set that they are counted as; others are dropped.
    """

    name: str
    words: tuple[str, ...]
    merges: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        name = _shown(self.name)
        if len(self.words) < 2:
            raise ValueError(f"label set {name} has {len(self.words)} word(s); give at least two")
        folded = [word.casefold() for word in self.words]
        counts = Counter(folded)
        repeated = sorted({word for word, one in zip(self.words, folded) if counts[one] > 1})
        if repeated:
            raise ValueError(f"label set {name} repeats {_shown(', '.join(repeated), str)}; write each word once")
        for word in self.words:
            if not _tokens(word):
                raise ValueError(f"label set {name} has the word {_shown(word)}; a word needs a letter or a digit")
            if word == UNPARSED:
                raise ValueError(f"label set {name} has the word {word!r}, which means no answer; rename it")
        astray = sorted(set(self.merges.values()) - set(self.words))
        if astray:
            raise ValueError(f"label set {name} merges into {', '.join(astray)}, not in it; add the word(s)")

    def map(self, emotion: str | None) -> str | None:
        """The word of the set that a row of this emotion counts as; None means that the row is dropped."""
        if emotion in self.words:
            return emotion
        return self.merges.get(emotion) if emotion is not None else None

    def index(self, word: str) -> int:
        """The position of a word of the set."""
        if word not in self.words:
            raise ValueError(f"{word!r} is not in label set {self.name!r}; its words are {', '.join(self.words)}")
        return self.words.index(word)

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.words


LABEL_SETS: dict[str, LabelSet] = {
    # The usual four-class task on IEMOCAP: excited counts as happy.
    "four": LabelSet("four", ("neutral", "happy", "sad", "angry"), {"excited": "happy"}),
    # arXiv 2503.21806, in its order; calm and every other word is dropped.
    "seven": LabelSet("seven", EMOTIONS[:7]),
}


def label_set(spec: str | Sequence[str] | LabelSet) -> LabelSet:
    """A label set from its name (`four`, `seven`), from words (`"happy,very tired"` or a list), or as it is.

    A word that users write for a canonical one (`anger,joy`) stays as written, and rows of the canonical emotion count
    as it; where several words of the set mean the same, the canonical one gets the rows, else the first. Words of this
    project's tables are taken in lower case, others as they are written (`Freude,Wut`); rows match in any case.

    Raises:
        ValueError: an unknown name, fewer than two words, or a word twice.
    """
    if isinstance(spec, LabelSet):
        return spec
    if isinstance(spec, str):
        name = spec.strip().lower()
        if name in LABEL_SETS:
            return LABEL_SETS[name]
        if "," not in spec:
            raise ValueError(f"label set {spec!r} {_fault_of_single(name)}")
        spec = [word for word in spec.split(",") if word.strip()]
    words = tuple(spec) if isinstance(spec, Iterable) else (spec,)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"label set {spec!r} is no list of words; write {' or '.join(LABEL_SETS)}, or words as text")
    known = EMOTION_SYNONYMS
    words = tuple(own if (own := _own_word(word)) in known else _written(word) for word in words)
    merges: dict[str, str] = {}
    for word in words:
        meaning = known.get(word, word.lower())
        if meaning not in words:
            merges.setdefault(meaning, word)
    return LabelSet(",".join(words), words, merges)


def _fault_of_single(spec: str) -> str:
    """What to say of a label set that is neither a name nor several words separated by commas."""
    near = difflib.get_close_matches(spec, LABEL_SETS, n=1, cutoff=0.7)
    if near:
        return f"is not known; did you mean {near[0]}?"
    parts = [part for part in re.split(r"[\s;|/+]+", spec) if part]
    if len(parts) > 1 and all(part in EMOTION_SYNONYMS for part in parts):
        return f"is one label; separate several by commas, as {','.join(parts)}"
    example = f"{spec or 'happy'},{'happy' if spec == 'sad' else 'sad'}"
    return f"needs at least two labels, separated by commas; pass for example {example}, or {' or '.join(LABEL_SETS)}"


def suggest_emotion(word: str) -> str | None:
    """The known emotion word of which this may be a misspelling; None for a known word and where none is near.

    Near are words of four letters or more that differ by one letter: added, left out, replaced, or swapped with the
    next.
    """
    word, known = _own_word(word), EMOTION_SYNONYMS
    if word in known or len(word) < 4:
        return None
    return next((other for other in known if len(other) >= 4 and _one_letter_apart(word, other)), None)


def _one_letter_apart(first: str, second: str) -> bool:
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1:
        return False
    start = next((place for place, (a, b) in enumerate(zip(short, long)) if a != b), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    return swapped or short[start + 1 :] == long[start + 1 :]


def default_labels(emotion_words: Sequence[str] | None) -> tuple[str, ...]:
    """The words to ask a model for by default: those of its last training stage, else those of `seven`."""
    return tuple(emotion_words) if emotion_words else LABEL_SETS["seven"].words


@lru_cache(maxsize=256)
def _forms(words: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Tokens of every form that may stand in a text to the word of the set that it names."""
    forms = {_tokens(word): word for word in words}
    for family in INFLECTIONS:
        members = [word for word in words if word.casefold() in family]
        if len(members) == 1:
            for form in family:
                forms.setdefault((form,), members[0])
    forms.pop((), None)
    return forms


def parse_emotion(text: str, words: Sequence[str] | LabelSet) -> str:
    """The one word of the set that a free text names, or `UNPARSED`.

    Case, punctuation and everything around the word are ignored, words match whole ("unhappy" is not "happy"), the
    longest of the set's words wins where one lies in another ("very tired", "tired"), and `INFLECTIONS` of a word of
    the set count as it ("The speaker sounds angry", "anger"). Two different words, or none, give `UNPARSED`. Negation
    is not understood ("not angry" is angry). In a script without spaces only an answer that stands alone is found.
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
