# SPDX-License-Identifier: Apache-2.0
import pytest

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


def test_module_and_class_name_a_translator(misbehaving, make_clips):
    translator = build_translator(misbehaving, {"gain": 0.25})
    (clip,) = make_clips("good")
    (translation,) = translator.translate([clip], "de")
    assert translation.waveform == pytest.approx(clip.waveform / 4)


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("espaek", {}, ["seamless_m4t_v2", "MODULE:CLASS"]),
        ("nowhere_to_be_found:Class", {}, ["'nowhere_to_be_found'", "PYTHONPATH"]),
        ("misbehaving_translator:Other", {}, ["'misbehaving_translator'", "'Other'"]),
        ("misbehaving_translator:Translation", {}, ["mser_llm.data.translator.Translator"]),
        ("misbehaving_translator:Misbehaving", {"gian": 1}, ["gian", "gain, at_start, log"]),
        ("seamless_expressive", {"python": "python3"}, ["model_dir"]),
    ],
)
def test_wrong_name_or_option_is_rejected(misbehaving, name, options, parts):
    with pytest.raises(InputError) as caught:
        build_translator(name, options)
    assert caught.value.source == f"translator {name!r}" and caught.value.fix
    assert all(part in str(caught.value) for part in parts)
