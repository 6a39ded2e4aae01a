# SPDX-License-Identifier: Apache-2.0
import pytest

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.m5ser.build_config import BuildConfig, differences


SOURCES = {"meld": {"rows": 3, "sha256": "ab"}}
FINGERPRINT = {"name": "toy", "version": "1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; give at least 1"),
        ({"languages": ["fr", "en"]}, "en twice"),
        ({"languages": ["fr", "../x"]}, "'../x'; give ISO 639-1"),
        ({"languages": []}, "give at least one, such as fr"),
        ({"min_kilobytes": ["meld=20"]}, "add default=50"),
        ({"min_kilobytes": ["default=50", "meld"]}, "'meld'; write CORPUS=KB"),
        ({"min_kilobytes": ["default=50", "meld=-1"]}, "'meld=-1'; write CORPUS=KB"),
        ({"min_kilobytes": ["default=50", "default=20"]}, "each corpus once"),
        ({"duration_ratio": [2.0, 0.5]}, "duration_ratio is"),
        ({"min_seconds": float("nan")}, "min_seconds is nan"),
        ({"labels": ["happy"]}, "'happy' needs at least two"),
        ({"labels": []}, "labels is"),
        ({"devices": []}, "devices is empty"),
        ({"sample": 0}, "sample is 0"),
        ({"languages": ["fr", "en"], "include_source": False}, "languages has en, which the sources speak"),
        ({"min_kilobytes": ["default=50", "foldr=9"]}, "'foldr'.*did you mean folder"),
        ({"min_kilobytes": ["default=50", "meld=9", "MELD=8"]}, "each corpus once"),
        ({"max_silence": 50.0}, "max_silence is 50.0; it is a share, so give a number from 0 to 1"),
        ({"max_clipping": float("nan")}, "max_clipping is nan; it is a share"),
        ({"min_f0_correlation": float("nan")}, "min_f0_correlation is nan; it is a correlation, .* from -1 to 1"),
        ({"seconds_per_batch": 0.0}, "seconds_per_batch is 0.0; give a number above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BuildConfig(**changes)


def test_bounds_are_of_corpora_however_their_names_are_written():
    config = BuildConfig(min_kilobytes=["default=50", "Folder=500", "CREMA_D=3"])
    assert config.kilobytes() == {"default": 50.0, "folder": 500.0, "crema-d": 3.0}


def test_the_papers_bounds_are_the_defaults():
    config = BuildConfig()
    assert config.min_seconds == 0.5
    assert config.kilobytes() == {"iemocap": 20.0, "meld": 20.0, "default": 50.0}
    assert (config.max_clipping, config.max_silence, config.duration_ratio, config.min_f0_correlation) == (None,) * 4
    assert config.all_languages == ["en", "fr", "de", "it", "zh", "es"]


def test_the_resolved_configuration_is_a_recipe_that_asks_for_the_same(tmp_path):
    import yaml

    config = BuildConfig(corpora=["meld=/x"], duration_ratio=[0.5, 2.0], slurm={"time": "1:00"}, sample=3)
    recipe = tmp_path / "config.yaml"
    recipe.write_text(yaml.safe_dump(config.resolved()), encoding="utf-8")
    (again,) = MSERArgumentParser(BuildConfig).parse_args_into_dataclasses([str(recipe)])
    assert again.resolved() == config.resolved()


def test_where_and_how_fast_decides_nothing():
    first = BuildConfig(corpora=["meld=/a"], output_dir="x", workers=1, devices=["cpu"], executor="local")
    second = BuildConfig(corpora=["meld=/b"], output_dir="y", workers=8, devices=["cuda:0"], executor="ray")
    assert first.identity(SOURCES, FINGERPRINT) == second.identity(SOURCES, FINGERPRINT)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 16}, "batch_size: 8 -> 16"),
        ({"languages": ["fr"]}, "languages: ['fr', 'de', 'it', 'zh', 'es'] -> ['fr']"),
        ({"min_kilobytes": ["default=50"]}, "filters.min_kilobytes.iemocap: 20.0 -> None"),
        ({"max_silence": 0.5}, "gates.max_silence: None -> 0.5"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"shards_per_language": 2}, "shards_per_language: 1 -> 2"),
    ],
)
def test_what_decides_the_result_is_named_when_it_changes(changes, told):
    before = BuildConfig().identity(SOURCES, FINGERPRINT)
    assert told in differences(before, BuildConfig(**changes).identity(SOURCES, FINGERPRINT))


def test_a_translator_of_another_version_is_another_build():
    before = BuildConfig().identity(SOURCES, FINGERPRINT)
    after = BuildConfig().identity(SOURCES, {**FINGERPRINT, "version": "2"})
    assert differences(before, after) == ["translator_fingerprint.version: 1 -> 2"]
