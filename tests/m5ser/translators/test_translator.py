# SPDX-License-Identifier: Apache-2.0
import pytest

from mser_llm.data.translator import TRANSLATORS, build_translator, translator_class


def test_what_may_be_done_with_the_output_is_known_without_starting_anything():
    terms = {
        name: (found.non_commercial, found.redistribution)
        for name, found in ((name, translator_class(name)) for name in TRANSLATORS)
    }
    assert terms == {
        "espeak": (False, True),
        "seamless_m4t_v2": (True, True),
        "seamless_expressive": (True, False),
    }
    assert all(translator_class(name).license for name in TRANSLATORS)
    assert all(translator_class(name).name == name for name in TRANSLATORS)


def test_a_translator_of_ones_own_is_a_name_too(misbehaving, make_clips):
    translator = build_translator(misbehaving, {"gain": 0.25})
    (clip,) = make_clips("good")
    (answer,) = translator.translate([clip], "de")
    assert answer.waveform == pytest.approx(clip.waveform / 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("espaek", {}, "no translator 'espaek'; choose from espeak, seamless_m4t_v2, seamless_expressive, or give"),
        ("nowhere_to_be_found:Class", {}, "no module 'nowhere_to_be_found'; put its folder on PYTHONPATH"),
        ("misbehaving_translator:Other", {}, "module 'misbehaving_translator' has no class 'Other'"),
        ("misbehaving_translator:Translation", {}, "no subclass"),
        ("misbehaving_translator:Misbehaving", {"gian": 1}, "has no option gian; its options: gain, at_start, log"),
        ("seamless_expressive", {"python": "python3"}, "needs the option model_dir"),
    ],
)
def test_a_wrong_name_or_option_is_told_with_what_there_is(misbehaving, name, options, message):
    with pytest.raises(ValueError, match=message):
        build_translator(name, options)
