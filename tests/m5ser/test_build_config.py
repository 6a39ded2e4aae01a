# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.io.errors import InputError
from mser_llm.m5ser.build_config import BuildConfig, differences


SOURCES = {"meld": {"rows": 3, "sha256": "ab"}}
FINGERPRINT = {"name": "toy", "version": "1"}


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"languages": ["fr", "fr"]}, "languages fr"),
        ({"languages": ["fr", "en"]}, "languages en"),
        ({"languages": ["fr", "en"], "include_source": False}, "languages en"),
        ({"languages": ["fr", "../x"]}, "languages ../x"),
        ({"languages": []}, "languages []"),
        ({"min_kilobytes": ["meld=20"]}, "min_kilobytes"),
        ({"min_kilobytes": ["default=50", "meld"]}, "min_kilobytes meld"),
        ({"min_kilobytes": ["default=50", "meld=-1"]}, "min_kilobytes meld=-1"),
        ({"min_kilobytes": ["default=50", "default=20"]}, "min_kilobytes default=20"),
        ({"min_kilobytes": ["default=50", "meld=9", "MELD=8"]}, "min_kilobytes MELD=8"),
        ({"duration_ratio": [2.0, 0.5]}, "duration_ratio [2.0, 0.5]"),
        ({"min_seconds": float("nan")}, "min_seconds nan"),
        ({"labels": []}, "labels []"),
        ({"devices": []}, "devices []"),
        ({"sample": 0}, "sample 0"),
        ({"max_silence": 50.0}, "max_silence 50.0"),
        ({"max_clipping": float("nan")}, "max_clipping nan"),
        ({"min_f0_correlation": float("nan")}, "min_f0_correlation nan"),
        ({"seconds_per_batch": 0.0}, "seconds_per_batch 0.0"),
    ],
)
def test_build_config_rejects_invalid_values(changes, source):
    with pytest.raises(InputError) as raised:
        BuildConfig(**changes)
    assert raised.value.source == source


def test_names_of_labels_and_corpora_are_checked():
    for changes in ({"labels": ["happy"]}, {"min_kilobytes": ["default=50", "foldr=9"]}):
        with pytest.raises(ValueError, match=r"happy|foldr"):
            BuildConfig(**changes)
    config = BuildConfig(min_kilobytes=["default=50", "Folder=500", "CREMA_D=3"])
    assert config.kilobytes() == {"default": 50.0, "folder": 500.0, "crema-d": 3.0}


def test_defaults_are_the_papers_bounds():
    config = BuildConfig()
    assert config.min_seconds == 0.5
    assert config.kilobytes() == {"iemocap": 20.0, "meld": 20.0, "default": 50.0}
    assert (config.max_clipping, config.max_silence, config.duration_ratio, config.min_f0_correlation) == (None,) * 4
    assert config.all_languages == ["en", "fr", "de", "it", "zh", "es"]


def test_resolved_is_a_recipe_of_the_same_build(tmp_path):
    config = BuildConfig(corpora=["meld=/x"], duration_ratio=[0.5, 2.0], slurm={"time": "1:00"}, sample=3)
    recipe = tmp_path / "config.yaml"
    recipe.write_text(yaml.safe_dump(config.resolved()), encoding="utf-8")
    (again,) = MSERArgumentParser(BuildConfig).parse_args_into_dataclasses([str(recipe)])
    assert again.resolved() == config.resolved()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"batch_size": 16}, "batch_size: 8 -> 16"),
        ({"languages": ["fr"]}, "languages: ['fr', 'de', 'it', 'zh', 'es'] -> ['fr']"),
        ({"min_kilobytes": ["default=50"]}, "filters.min_kilobytes.iemocap: 20.0 -> None"),
        ({"max_silence": 0.5}, "gates.max_silence: None -> 0.5"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"shards_per_language": 2}, "shards_per_language: 1 -> 2"),
        # Paths and resources are no difference.
        ({"corpora": ["meld=/b"], "output_dir": "y", "workers": 8, "devices": ["cuda:0"], "executor": "ray"}, None),
    ],
)
def test_differences_name_what_determines_the_result(changes, difference):
    before = BuildConfig().identity(SOURCES, FINGERPRINT)
    found = differences(before, BuildConfig(**changes).identity(SOURCES, FINGERPRINT))
    assert difference in found if difference else found == []


def test_differences_include_the_translators_fingerprint():
    before = BuildConfig().identity(SOURCES, FINGERPRINT)
    after = BuildConfig().identity(SOURCES, {**FINGERPRINT, "version": "2"})
    assert differences(before, after) == ["translator_fingerprint.version: 1 -> 2"]
