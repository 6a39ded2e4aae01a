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


def test_the_papers_seven_words_come_first_and_in_its_order():
    assert EMOTIONS[:7] == SEVEN
    assert len(set(EMOTIONS)) == len(EMOTIONS)


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


def test_four_counts_excited_as_happy_and_drops_the_rest():
    four = label_set("four")
    assert tuple(four) == ("neutral", "happy", "sad", "angry")
    assert four.map("excited") == "happy"
    assert four.map("sad") == "sad"
    assert [four.map(word) for word in ("calm", "fear", "boredom", None)] == [None] * 4


def test_seven_drops_calm_and_excited():
    seven = label_set("seven")
    assert seven.words == SEVEN
    assert [seven.map(word) for word in ("calm", "excited", "enthusiasm", "other")] == [None] * 4
    assert [seven.index(word) for word in SEVEN] == list(range(7))


def test_no_named_set_merges_calm():
    assert all(labels.map("calm") is None for labels in LABEL_SETS.values())


def test_any_words_make_a_set():
    labels = label_set("angry, Very  tired,müde")
    assert labels.words == ("angry", "Very tired", "müde")
    assert len(labels) == 3
    assert "müde" in labels
    assert labels.map("very tired") == "Very tired"
    assert labels.map("happy") is None
    assert label_set(["angry", "calm"]).words == label_set("angry,calm").words
    assert label_set(labels) is labels


def test_a_users_own_words_stay_as_written_and_match_rows_in_any_case():
    labels = label_set(["Freude", " sehr  Müde", "HAPPY"])
    assert labels.words == ("Freude", "sehr Müde", "happy")
    assert [labels.map(word) for word in ("freude", "sehr müde", "happy")] == list(labels.words)
    with pytest.raises(ValueError, match="repeats Wut, wut; write each word once"):
        label_set("Wut,wut")


def test_a_users_synonym_gets_the_rows_of_its_canonical_word():
    labels = label_set("anger,joy,neutral")
    assert labels.words == ("anger", "joy", "neutral")
    assert [labels.map(word) for word in ("angry", "happy", "neutral", "sad")] == ["anger", "joy", "neutral", None]
    both = label_set("joy,happy")
    assert both.map("happy") == "happy"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("five", r"'five'.*four or seven"),
        ("angry,", "at least two"),
        ("angry,happy,Angry", "repeats angry"),
        ("angry,!!", r"'!!'.*a letter or a digit"),
        ("angry,unparsed", "unparsed"),
        ([], "at least two"),
        ([1, 2], r"\[1, 2\] is no list of words"),
        (["sad", None], r"None.*is no list of words"),
        (4, "4 is no list of words"),
    ],
)
def test_a_faulty_set_is_refused_with_the_cure(spec, message):
    with pytest.raises(ValueError, match=message):
        label_set(spec)


def test_a_merge_into_a_word_outside_the_set_is_refused():
    with pytest.raises(ValueError, match="merges into happy"):
        LabelSet("odd", ("angry", "sad"), {"excited": "happy"})


def test_a_word_outside_the_set_has_no_index():
    with pytest.raises(ValueError, match=r"'calm' is not in label set 'four'"):
        label_set("four").index("calm")


def test_a_label_set_travels_to_worker_processes_and_into_dictionaries():
    four = label_set("four")
    assert pickle.loads(pickle.dumps(four)) == four
    assert {four: 1}[label_set("four")] == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("angry", "angry"),
        ("Angry.", "angry"),
        (" ANGRY!\n", "angry"),
        ("**angry**", "angry"),
        ("_angry_", "angry"),
        ("“angry”", "angry"),
        ("The speaker sounds angry", "angry"),
        ("anger", "angry"),
        ("She answers angrily.", "angry"),
        ("angry, very angry: anger", "angry"),
        ("Surprised", "surprise"),
        ("happiness", "happy"),
        ("fearful", "fear"),
        ("", UNPARSED),
        ("   ", UNPARSED),
        ("...", UNPARSED),
        ("I cannot tell", UNPARSED),
        ("happy and sad", UNPARSED),
        ("happy/sad", UNPARSED),
        ("anger or fear", UNPARSED),
        ("unhappy", UNPARSED),
        ("un-happy", UNPARSED),
        ("happy-sad", UNPARSED),
        ("hangry", UNPARSED),
        ("saddle", UNPARSED),
        ("joy", UNPARSED),
        ("calm", UNPARSED),
        ("unparsed", UNPARSED),
    ],
)
def test_free_text_is_read_as_one_word_of_the_set_or_none(text, word):
    assert parse_emotion(text, SEVEN) == word
    assert parse_emotion(text, label_set("seven")) == word
    assert parse_emotion(text, list(SEVEN)) == word


def test_only_forms_of_words_in_the_set_count():
    assert parse_emotion("anger", ["happy", "sad"]) == UNPARSED
    assert parse_emotion("angry", ["anger", "joy"]) == "anger"
    assert parse_emotion("happy, not angry", ["happy", "sad"]) == "happy"
    # Where the set tells two forms apart, each is only itself.
    assert parse_emotion("anger", ["angry", "anger"]) == "anger"
    assert parse_emotion("angrily", ["angry", "anger"]) == UNPARSED


def test_users_words_of_several_tokens_match_as_a_whole_and_the_longest_wins():
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
def test_words_of_any_script(text, words, word):
    assert parse_emotion(text, words) == word


def test_every_inflection_is_read_as_its_word_and_belongs_to_one_only():
    forms = [form for family in INFLECTIONS for form in family]
    assert len(set(forms)) == len(forms)
    for word, *others in INFLECTIONS:
        assert word in EMOTIONS
        assert {parse_emotion(form, EMOTIONS) for form in others} == {word}


def page_table(heading: str, number: int = 0) -> list[list[str]]:
    """The cells of a table under a heading of docs/emotions.md, without its header."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    block = [block for block in text.split("\n\n") if block.startswith("|")][number]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def test_the_page_lists_every_word_label_and_set():
    words = re.search(r"canonical words: (.*?)\.", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert tuple(re.findall(r"\w+", words)) == EMOTIONS

    folder = {written: word for many, word in page_table("Your own words")[:-1] for written in many.split(", ")}
    assert folder == {label: word for label, word in EMOTION_SYNONYMS.items() if label != word}

    sets = {name: tuple(words.split(", ")) for name, words, _ in page_table("Label sets")[:-1]}
    assert sets == {name: labels.words for name, labels in LABEL_SETS.items()}


@pytest.mark.parametrize(
    ("spec", "suggested"),
    [
        ("happy", "happy,sad"),
        ("sad", "sad,happy"),
        ("happy sad angry", "happy,sad,angry"),
        ("sad;fear", "sad,fear"),
        ("foru", "did you mean four?"),
        ("Sevn", "did you mean seven?"),
        ("", "happy,sad"),
    ],
)
def test_label_set_of_one_word_suggests_what_to_pass(spec, suggested):
    with pytest.raises(ValueError, match="label set") as raised:
        label_set(spec)
    assert suggested in str(raised.value)


@pytest.mark.parametrize(
    ("word", "near"),
    [("Hapy", "happy"), ("happpy", "happy"), ("clam", "calm"), ("fesr", "fear"), ("happy", None), ("mad", None)],
)
def test_suggest_emotion_finds_words_one_letter_apart(word, near):
    assert suggest_emotion(word) == near
