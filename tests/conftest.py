# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures: a tiny model with random weights, real recordings if available, subprocesses, a loopback Hub."""

import fcntl
import gc
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fresh_installation import DEMO, FreshInstallation, build_wheel
from loopback_hub import LoopbackHub
from ordinary_user import OrdinaryUser
from tone_corpus import write_tones
from transformers import WhisperFeatureExtractor
from warm_python import WarmPython

from modeling_mser import MSERConfig, MSERForEmotionGeneration
from mser_llm.inference.tokenizer import build_tokenizer
from processing_mser import MSERProcessor, label_set


TINY_QUERIES = 4
_USER_NAME = "MSER_TESTS_USER"


def pytest_configure() -> None:
    # Processes of pytest-xdist inherit it.
    os.environ.setdefault(_USER_NAME, f"mser-tests-{os.getpid()}")


def pytest_unconfigure() -> None:
    if os.environ[_USER_NAME] == f"mser-tests-{os.getpid()}":
        OrdinaryUser(os.environ[_USER_NAME]).remove()


# Imported modules stay in memory. Freezing them saves half a second of garbage collection after each training, and
# disabling collection speeds up the imports.
def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def build_tiny(**config) -> tuple[MSERForEmotionGeneration, MSERProcessor]:
    """Build a model with a few thousand random weights and all parts of a large one."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    processor = MSERProcessor(WhisperFeatureExtractor(feature_size=20), tokenizer, num_query_tokens=TINY_QUERIES)
    labels = list(label_set("seven").words)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    whisper = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    whisper |= {"num_mel_bins": 20, "decoder_layers": 1, "vocab_size": 8, "decoder_start_token_id": 1}
    whisper |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    llama = {"model_type": "llama", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    llama |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(tokenizer)} | special
    qformer = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = {
        "audio_config": whisper,
        "qformer_config": qformer,
        "text_config": llama,
        "num_query_tokens": TINY_QUERIES,
        "audio_token_id": processor.audio_token_id,
        "encoder_layers": "weighted",
        "freeze_audio": False,
        "freeze_text": False,
        "emotion_words": labels,
        "label_token_ids": processor.candidate_ids(labels),
        "learned_words": labels,
    } | config
    model = MSERForEmotionGeneration(MSERConfig(**config))
    # Break the symmetry of initial weights, which could hide a wrong mask or order.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval(), processor


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., tuple[MSERForEmotionGeneration, MSERProcessor]]:
    """`build_tiny`, for tests that vary the configuration."""
    return build_tiny


@pytest.fixture
def tiny() -> tuple[MSERForEmotionGeneration, MSERProcessor]:
    return build_tiny()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny-model")
    model, processor = build_tiny()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} is not set to a folder")
    return Path(value)


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """Return the folder of real corpora, or skip."""
    return _folder("MSER_CORPORA")


@pytest.fixture(scope="session")
def backbones_dir() -> Path:
    """Return the folder of real backbones, or skip."""
    return _folder("MSER_BACKBONES")


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Run scripts, such as `run_mser.py`, without waiting for imports."""
    with WarmPython() as python:
        yield python


@pytest.fixture(scope="module")
def loopback_hub() -> Iterator[LoopbackHub]:
    """Run a Hub on 127.0.0.1 for one file of tests. Clients are processes with `loopback_hub.environment(home)`."""
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def hub_python(loopback_hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """`warm_python` with the loopback Hub, its owner's token and an empty cache."""
    with WarmPython(loopback_hub.environment(tmp_path_factory.mktemp("hub-home"), token="hf_owner")) as python:
        yield python


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return `shared_folder(name, fill)`: a folder that the first test process fills for all."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def shared(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = base / name, base / f"{name}.filled"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return shared


@pytest.fixture(scope="session")
def wheel(shared_folder) -> Path:
    (path,) = shared_folder("wheel", build_wheel).glob("*.whl")
    return path


@pytest.fixture(scope="session")
def ordinary_user() -> OrdinaryUser:
    """The user who installs the wheel, the same for all test processes."""
    return OrdinaryUser(os.environ[_USER_NAME])


@pytest.fixture(scope="session")
def installed(wheel: Path, ordinary_user: OrdinaryUser, shared_folder) -> FreshInstallation:
    """Install the wheel for an ordinary user, read-only and without a checkout."""
    installation = FreshInstallation(ordinary_user)
    shared_folder("installed", lambda _: installation.install(wheel))
    return installation


@pytest.fixture(scope="session")
def finished_demo(installed: FreshInstallation, ordinary_user: OrdinaryUser, shared_folder) -> Path:
    """Run `DEMO` as an ordinary user without a checkout; return the folder, which tests must not change."""
    folder = ordinary_user.folder(ordinary_user.work / "demo")
    shared_folder("demo", lambda _: installed.run(*shlex.split(DEMO), folder=folder))
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 72 tones of about 0.4 s: six speakers, four emotions that differ in pitch, two languages."""
    languages = {f"s{speaker}": "en" if speaker < 3 else "pl" for speaker in range(6)}
    return write_tones(tmp_path_factory.mktemp("tones"), languages)


@pytest.fixture
def recipe(tmp_path: Path):
    """Return a parser of the tests' recipe with more flags."""

    from mser_llm.cli.parser import MSERArgumentParser
    from mser_llm.cli.train import ARGUMENTS

    def parse(*flags: str) -> tuple:
        folders = ["--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache")]
        words = [str(Path(__file__).with_name("recipe.yaml")), *folders, *flags]
        _, *arguments = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)
        return tuple(arguments)

    return parse
