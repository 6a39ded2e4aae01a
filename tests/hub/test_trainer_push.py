# SPDX-License-Identifier: Apache-2.0
"""`--push_to_hub` and `MSERTrainer.push_to_hub` send the same files as `run-mser push`, once."""

import json
from pathlib import Path

import pytest
from loopback_hub.cards import front_matter, metadata_errors
from loopback_hub.repositories import Blob, Repo


pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).parents[1] / "recipe.yaml"
# Like a user's own program: the trainer is created manually, and `run-mser train` is not used.
LIBRARY = """
import sys
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.data.read_corpus import read_corpus
from processing_mser import label_set
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.inference.feature_cache import FeatureEncoder
from mser_llm.training.model_building import build_model
from mser_llm.training.run_training import clip_features
from mser_llm.training.data.clip_selection import prepare_data
from mser_llm.training.trainer import MSERTrainer

_, model_arguments, data, training = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(sys.argv[2:])
labels = label_set(data.labels)
model, processor = build_model(model_arguments, labels.words)
clips = prepare_data(read_corpus("folder", sys.argv[1]).rows, data)
encoder = FeatureEncoder(model, processor)
features = clip_features(encoder, data)
trainer = MSERTrainer(
    model=model, args=training, label_set=labels, processing_class=processor,
    train_dataset=EmotionDataset(clips.train, features, labels),
    eval_dataset=EmotionDataset(clips.validation, features, labels),
    data_collator=EmotionCollator(processor, encoded=encoder.encodes),
)
trainer.train()
print(trainer.push_to_hub("first words", space=True))
"""


def flags(folder, *more):
    return [
        *("--num_train_epochs", "1", "--max_steps", "2", "--push_to_hub", "--report_to", "none", *more),
        *("--output_dir", folder / "run", "--cache_dir", folder / "cache"),
    ]


@pytest.fixture
def train(tones, hub_python, tmp_path):
    """Run `run-mser train` with further flags."""
    return lambda *more: hub_python.run(
        ROOT / "run_mser.py", "train", RECIPE, "--corpora", f"folder={tones}", *flags(tmp_path, *more)
    )


def check_repository(repo, folder):
    """Check that the repository has the files of a push, the card of this training, and nothing else."""
    files = set(repo.files)
    assert {"config.json", "model.safetensors", "handler.py", "pipeline_mser.py", "processing_mser.py"} <= files
    assert not [name for name in files if "checkpoint" in name.split("/")[0] and not name.endswith("_mser.py")]
    assert not files & {"training_args.bin", "train_results.json", "run.json", "optimizer.safetensors"}
    text = repo.files["README.md"].data.decode()
    card = front_matter(text)
    assert metadata_errors(card) == [] and card["pipeline_tag"] == "audio-classification"
    record = json.loads((folder / "run" / "train_results.json").read_text())
    assert record["data"]["split"]["sha256"] in text and f"{record['clips']['train']} clips in" in text
    assert f"UA {record['validation']['eval_UA']:.3f}" in text
    assert repo.files["model.safetensors"].data == (folder / "run" / "model.safetensors").read_bytes()


def test_training_pushes_its_model_once(train, loopback_hub, tmp_path):
    done = train("--hub_model_id", "org/trained")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{loopback_hub.url}/org/trained"
    repo = loopback_hub.repos["model", "org/trained"]
    # The Hub's own and ours; checkpoints are not pushed.
    assert len(repo.commits) == 2
    check_repository(repo, tmp_path)
    again = train("--hub_model_id", "org/trained")
    assert again.returncode == 0, again.stderr
    assert len(repo.commits) == 2


def test_training_rejects_an_unsuitable_repository_first(train, loopback_hub, tmp_path):
    repo = loopback_hub.repos["model", "org/bert"] = Repo("model", "org/bert")
    repo.commit("bert", {"config.json": Blob(b'{"model_type": "bert"}', False)})
    done = train("--hub_model_id", "org/bert")
    assert done.returncode == 2 and "org/bert" in done.stderr
    assert not (tmp_path / "run" / "model.safetensors").exists() and len(repo.commits) == 1


def test_custom_trainer_pushes_the_same_files(tones, hub_python, loopback_hub, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LIBRARY)
    done = hub_python.run(program, tones, RECIPE, *flags(tmp_path, "--hub_private_repo", "true"))
    assert done.returncode == 0, done.stderr
    # The folder's name in the namespace of the token's owner.
    assert done.stdout.splitlines()[-1] == f"{loopback_hub.url}/owner/run"
    repo = loopback_hub.repos["model", "owner/run"]
    assert repo.private and [commit.title for commit in repo.commits[1:]] == ["first words"]
    check_repository(repo, tmp_path)
    assert "app.py" in loopback_hub.repos["space", "owner/run"].files
