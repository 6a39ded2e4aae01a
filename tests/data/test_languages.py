# SPDX-License-Identifier: Apache-2.0
from m5ser_folder import corpus_rows, write_m5ser

from mser_llm.data.corpora import CORPORA
from mser_llm.data.languages import LANGUAGES, language_name
from mser_llm.data.synthesis.demo_speech import DEMO_SENTENCES
from mser_llm.m5ser.card import render_card
from mser_llm.m5ser.translators import seamless_expressive, seamless_m4t_v2


def test_every_language_has_a_name():
    corpora = {spec.language for spec in CORPORA.values()} - {"many"}
    translators = {*seamless_m4t_v2.LANGUAGE_CODES, *seamless_expressive.LANGUAGE_CODES, *DEMO_SENTENCES}
    assert (corpora | translators) - set(LANGUAGES) == set()
    assert language_name("am") == "Amharic" and language_name("xx") == "xx"


def test_card_names_languages(tmp_path):
    folder = write_m5ser(tmp_path / "built", {"ru": corpus_rows("ru"), "pt": corpus_rows("pt")}, source_language="ru")
    assert "Emotional speech in Russian, Portuguese, built" in render_card(folder)
