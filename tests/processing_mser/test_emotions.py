# SPDX-License-Identifier: Apache-2.0
import pickle
import re
from pathlib import Path

import pytest

from processing_mser.emotions_mser import (
    EMOTION_SYNONYMS,
    EMOTIONS,
    INFLECTIONS,
    LABEL_SETS,
    UNPARSED,
    LabelSet,
    canonical_emotion,
    label_set,
    parse_emotion,
    suggest_emotion,
)


PAGE = Path(__file__).resolve().parents[2] / "docs" / "emotions.md"
SEVEN = ("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear")


@pytest.mark.parametrize(
    ("label", "word"), [("Joy", "happy"), (" Bored\n", "boredom"), ("ANGER", "angry"), ("calm", "calm")]
)
def test_canonical_emotion_resolves_synonyms(label, word):
    assert canonical_emotion(label) == word
    assert set(EMOTION_SYNONYMS.values()) == set(EMOTIONS)


def test_canonical_emotion_keeps_unknown_words():
    assert canonical_emotion("  Very  Tired ") == "very tired"
    assert canonical_emotion("Wütend") == "wütend"
    assert canonical_emotion("fatigue\N{COMBINING ACUTE ACCENT}") == "fatigué"
    with pytest.raises(ValueError):
        canonical_emotion("  ")


def test_published_label_sets_merge_and_drop_emotions():
    four, seven = label_set("four"), label_set("seven")
    assert tuple(four) == ("neutral", "happy", "sad", "angry") and seven.words == EMOTIONS[:7] == SEVEN
    assert (four.map("excited"), four.map("sad")) == ("happy", "sad")
    assert [four.map(word) for word in ("calm", "fear", "boredom", None)] == [None] * 4
    assert [seven.map(word) for word in ("calm", "excited", "enthusiasm", "other")] == [None] * 4


def test_label_set_accepts_any_words():
    labels = label_set("angry, Very  tired,müde")
    assert labels.words == ("angry", "Very tired", "müde")
    assert len(labels) == 3
    assert "müde" in labels
    assert labels.map("very tired") == "Very tired"
    assert labels.map("happy") is None
    assert label_set(["angry", "calm"]).words == label_set("angry,calm").words
    assert label_set(labels) is labels


def test_label_set_keeps_case_and_matches_rows_in_any_case():
    labels = label_set(["Freude", " sehr  Müde", "HAPPY"])
    assert labels.words == ("Freude", "sehr Müde", "happy")
    assert [labels.map(word) for word in ("freude", "sehr müde", "happy")] == list(labels.words)
    with pytest.raises(ValueError, match="Wut, wut"):
        label_set("Wut,wut")


def test_synonym_in_a_label_set_gets_the_canonical_rows():
    labels = label_set("anger,joy,neutral")
    assert labels.words == ("anger", "joy", "neutral")
    assert [labels.map(word) for word in ("angry", "happy", "neutral", "sad")] == ["anger", "joy", "neutral", None]
    assert label_set("joy,happy").map("happy") == "happy"
    with pytest.raises(ValueError, match="happy"):
        LabelSet("odd", ("angry", "sad"), {"excited": "happy"})


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("five", "'five'"),
        ("angry,", "'angry'"),
        ("angry,happy,Angry", "angry"),
        ("angry,!!", "'!!'"),
        ("angry,unparsed", "unparsed"),
        ([], "label set"),
        ([1, 2], r"\[1, 2\]"),
        (["sad", None], "None"),
        (4, "label set 4"),
        ("happy", "happy,sad"),
        ("sad", "sad,happy"),
        ("happy sad angry", "happy,sad,angry"),
        ("sad;fear", "sad,fear"),
        ("foru", "did you mean four"),
        ("Sevn", "did you mean seven"),
        ("", "happy,sad"),
    ],
)
def test_label_set_rejects_invalid_labels_and_suggests_a_fix(spec, named):
    with pytest.raises(ValueError, match=named):
        label_set(spec)


def test_label_set_can_be_pickled_and_hashed():
    four = label_set("four")
    assert pickle.loads(pickle.dumps(four)) == four
    assert {four: 1}[label_set("four")] == 1


@pytest.mark.parametrize(
    ("word", "texts"),
    [
        ("angry", ["angry", "Angry.", " ANGRY!\n", "**angry**", "_angry_", "“angry”", "The speaker sounds angry"]),
        ("angry", ["anger", "She answers angrily.", "angry, very angry: anger"]),
        ("surprise", ["Surprised"]),
        ("happy", ["happiness"]),
        ("fear", ["fearful"]),
        (UNPARSED, ["", "   ", "...", "I cannot tell", "happy and sad", "happy/sad", "anger or fear", "unhappy"]),
        (UNPARSED, ["un-happy", "happy-sad", "hangry", "saddle", "joy", "calm", "unparsed"]),
    ],
)
def test_parse_emotion_finds_one_word_or_none(word, texts):
    for text in texts:
        assert parse_emotion(text, SEVEN) == parse_emotion(text, label_set("seven")) == word, text


def test_parse_emotion_uses_forms_of_words_in_the_set_only():
    assert parse_emotion("anger", ["happy", "sad"]) == UNPARSED
    assert parse_emotion("angry", ["anger", "joy"]) == "anger"
    assert parse_emotion("happy, not angry", ["happy", "sad"]) == "happy"
    # If both forms are in the set, each matches only itself.
    assert parse_emotion("anger", ["angry", "anger"]) == "anger"
    assert parse_emotion("angrily", ["angry", "anger"]) == UNPARSED


def test_parse_emotion_prefers_the_longest_multi_token_word():
    words = ["tired", "very tired", "high-arousal", "on edge"]
    assert parse_emotion("Very  tired.", words) == "very tired"
    assert parse_emotion("tired", words) == "tired"
    assert parse_emotion("tired, very tired", words) == UNPARSED
    assert parse_emotion("The voice is high-arousal", words) == "high-arousal"
    assert parse_emotion("arousal", words) == UNPARSED
    assert parse_emotion("on the edge", words) == UNPARSED
    assert parse_emotion("on", words) == UNPARSED


@pytest.mark.parametrize(
    ("text", "words", "word"),
    [
        ("WÜTEND!", ["wütend", "müde"], "wütend"),
        ("fatigue\N{COMBINING ACUTE ACCENT}", ["fatigué", "triste"], "fatigué"),
        ("Ο ομιλητής είναι ΘΥΜΩΜΈΝΟΣ", ["θυμωμένος", "λυπημένος"], "θυμωμένος"),
        ("高兴。", ["高兴", "生气"], "高兴"),
        ("عصبانی", ["عصبانی", "غمگین"], "عصبانی"),
        ("खुश", ["खुश", "दुखी"], "खुश"),
        ("खुशी", ["खुश", "दुखी"], UNPARSED),
    ],
)
def test_parse_emotion_reads_any_script(text, words, word):
    assert parse_emotion(text, words) == word


def test_inflections_are_unique_and_parsed_as_their_word():
    forms = [form for family in INFLECTIONS for form in family]
    assert len(set(forms)) == len(forms)
    for word, *others in INFLECTIONS:
        assert word in EMOTIONS
        assert {parse_emotion(form, EMOTIONS) for form in others} == {word}


@pytest.mark.parametrize(
    ("word", "near"),
    [("Hapy", "happy"), ("happpy", "happy"), ("clam", "calm"), ("fesr", "fear"), ("happy", None), ("mad", None)],
)
def test_suggest_emotion_finds_words_one_letter_apart(word, near):
    assert suggest_emotion(word) == near


def test_page_lists_the_words_synonyms_and_label_sets():
    page = PAGE.read_text(encoding="utf-8")

    def rows(heading):
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        return re.findall(r"^\| `?(.+?)`? \| (.+?) \|", section, re.MULTILINE)[1:-1]  # without header and "any other"

    words = re.search(r"these words: (.+?)\.", page)[1]
    assert tuple(words.split(", ")) == EMOTIONS
    synonyms = {label: word for labels, word in rows("Labels of your own recordings") for label in labels.split(", ")}
    assert synonyms | dict(zip(EMOTIONS, EMOTIONS)) == EMOTION_SYNONYMS
    sets = {name: tuple(words.split(", ")) for name, words in rows("Label sets")}
    assert sets == {name: labels.words for name, labels in LABEL_SETS.items()}
