# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import yaml
from loopback_hub.cards import front_matter, metadata_errors
from m5ser_folder import EMOTIONS, corpus_rows, row, write_m5ser

from mser_llm.data.licenses import Terms, card_license, translator_terms
from mser_llm.m5ser.card import render_card, write_card


REJECT = {"source_id": "01-fear", "source_corpus": "ravdess", "language": "fr", "value": 0.3}


def rejects(count, stage="filter", reason="shorter than min_seconds"):
    return [{"id": f"ravdess/{n}/fr", "stage": stage, "reason": reason, **REJECT} for n in range(count)]


@pytest.fixture
def folder(tmp_path):
    rows = {"en": corpus_rows("en"), "fr": corpus_rows("fr", speakers=2), "zh": []}
    rows["fr"] += [row("emodb", "03a01Fa", "fr", speaker=None, emotion="boredom", duration=3600.0, audio=None)]
    many = rejects(3) + [one for n in range(25) for one in rejects(1, "translate", f"it died | on clip {n}")]
    return write_m5ser(tmp_path / "built", rows, {"fr": many})


def table(card, head):
    """Return the rows of the table whose first header is `head`, by their first cell."""
    lines = card.split(f"\n| {head} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {first: rest for first, *rest in cells}


def test_card_metadata_lists_languages_with_clips(folder):
    write_card(folder)
    metadata = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    assert metadata_errors(metadata) == []
    assert metadata["language"] == ["en", "fr"]
    assert {config["config_name"]: config["data_files"] for config in metadata["configs"]} == {
        "default": [{"split": "train", "path": "data/*/train-*.parquet"}],
        "en": [{"split": "train", "path": "data/en/train-*.parquet"}],
        "fr": [{"split": "train", "path": "data/fr/train-*.parquet"}],
    }
    assert [config["config_name"] for config in metadata["configs"] if config.get("default")] == ["default"]
    assert metadata["task_categories"] == ["audio-classification"]
    assert metadata["size_categories"] == ["n<1K"]


def test_card_counts_clips_and_rejects(folder, tmp_path):
    card = render_card(folder)
    emotions = table(card, "emotion")
    # Four English and two French clips of each emotion; every second emotion lasts 0.75 s, the others 0.5 s.
    assert emotions["neutral"] == ["4 (2.0 s)", "2 (1.0 s)", "6 (3.0 s)"]
    assert emotions["happy"] == ["4 (3.0 s)", "2 (1.5 s)", "6 (4.5 s)"]
    assert emotions["boredom"] == ["0", "1 (1.0 h)", "1 (1.0 h)"]
    assert list(emotions) == [*EMOTIONS, "boredom", "all"]
    assert emotions["all"][0] == "28 (17.0 s)"
    assert "43 clips, 1.0 h, 4 speakers and 1 clips whose speaker is unknown." in card
    assert table(card, "source")["ravdess: RAVDESS, the speech part"][:2] == ["42 (25.5 s)", "CC BY-NC-SA 4.0"]
    assert "28 clips were rejected:" in card
    dropped = [line for line in card.splitlines() if line.startswith(("| filter", "| translate", "| any"))]
    assert dropped[0] == "| filter | shorter than min_seconds | 3 |"
    assert len(dropped) == 21 and dropped[-1] == "| any | 6 other reasons | 6 |"
    assert "CC BY-NC-SA 4.0" in card and "2503.21806" in card and "Livingstone" in card
    # The card does not depend on the path.
    elsewhere = tmp_path / "elsewhere" / folder.name
    elsewhere.parent.mkdir()
    folder.rename(elsewhere)
    assert render_card(elsewhere) == card and str(tmp_path) not in card


def terms(license, non_commercial=False):
    return Terms("x", "X", license, redistribution=True, non_commercial=non_commercial)


@pytest.mark.parametrize(
    ("parts", "license", "name"),
    [
        ([terms("CC BY-NC-SA 4.0", True), terms("Apache-2.0")], "cc-by-nc-sa-4.0", None),
        ([terms("CC BY 4.0"), terms("MIT")], "cc-by-4.0", None),
        ([terms("Apache-2.0"), terms("Apache-2.0")], "apache-2.0", None),
        ([terms("CC BY 4.0"), terms("CC BY-NC 4.0", True)], "cc-by-nc-4.0", None),
        ([terms("Apache-2.0"), translator_terms("seamless_m4t_v2")], "cc-by-nc-4.0", None),
        ([terms("CC0-1.0"), terms("CC0 1.0")], "cc0-1.0", None),
        # Share-alike under two licenses: no license of the Hub covers both.
        ([terms("CC BY-SA 4.0"), terms("CC BY-NC-SA 4.0", True)], "other", "non-commercial-by-source"),
        ([terms("free for research", True), terms("Apache-2.0")], "other", "non-commercial-by-source"),
        ([terms("CC BY 4.0"), terms("an agreement of its own", True)], "other", "non-commercial-by-source"),
        ([terms("CC BY 4.0", True)], "other", "non-commercial-by-source"),
        ([terms("an agreement of its own")], "other", "by-source"),
    ],
)
def test_card_license_combines_the_terms_of_its_parts(parts, license, name):
    found = card_license(parts)
    assert (found["license"], found.get("license_name")) == (license, name)
    assert metadata_errors(yaml.safe_load(yaml.safe_dump(found))) == []
