# SPDX-License-Identifier: Apache-2.0
import pytest
from m5ser_building.toy_corpus import TOY

from mser_llm.data.translator import TRANSLATORS, build_translator, translator_class
from mser_llm.io.errors import InputError


def test_license_is_known_without_starting_a_translator():
    found = {name: translator_class(name) for name in TRANSLATORS}
    assert {name: (one.non_commercial, one.redistribution) for name, one in found.items()} == {
        "espeak": (False, True),
        "seamless_m4t_v2": (True, True),
        "seamless_expressive": (True, False),
    }
    assert all(one.license and one.name == name for name, one in found.items())


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("espaek", {}, ["seamless_m4t_v2", "MODULE:CLASS"]),
        ("nowhere_to_be_found:Class", {}, ["'nowhere_to_be_found'", "PYTHONPATH"]),
        (TOY.replace("Toy", "Other"), {}, ["'m5ser_building.toy_translators'", "'Other'"]),
        (TOY.replace("Toy", "Translation"), {}, ["mser_llm.data.translator.Translator"]),
        (TOY, {"gian": 1}, ["gian", "seconds, loudness, at_start, log"]),
        ("seamless_expressive", {"python": "python3"}, ["model_dir"]),
    ],
)
def test_wrong_name_or_option_is_rejected(name, options, parts):
    with pytest.raises(InputError) as caught:
        build_translator(name, options)
    assert caught.value.source == f"translator {name!r}" and caught.value.fix
    assert all(part in str(caught.value) for part in parts)
