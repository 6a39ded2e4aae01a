# SPDX-License-Identifier: Apache-2.0
"""Private APIs of transformers that modeling_mser uses."""

import logging
from tempfile import TemporaryDirectory

import pytest
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.pipelines import Pipeline

from modeling_mser import compat_mser


SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}


def check_build_from_config():
    config = LlamaConfig(**SIZES, vocab_size=9)
    config.dtype = torch.bfloat16
    model = compat_mser.build_from_config(LlamaForCausalLM, config)
    assert model.dtype == torch.bfloat16
    assert compat_mser.is_stateful(model) is False


def check_count_output_frames():
    encoder = Wav2Vec2Model(Wav2Vec2Config(**SIZES, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4))
    assert compat_mser.count_output_frames(encoder, torch.tensor([16000])).tolist() == [49]


def check_quiet_load_report():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("transformers").addHandler(handler)
    try:
        with TemporaryDirectory() as folder:
            LlamaModel(LlamaConfig(**SIZES, vocab_size=9)).save_pretrained(folder)
            with compat_mser.quiet_load_report():
                LlamaForCausalLM.from_pretrained(folder)
            assert not records
            LlamaForCausalLM.from_pretrained(folder)
            assert any("lm_head" in record.getMessage() for record in records)
    finally:
        logging.getLogger("transformers").removeHandler(handler)


def check_subclass_attributes():
    for name in (
        "_keys_to_ignore_on_save",
        "_supports_sdpa",
        "_supports_flash_attn",
        "_supports_attention_backend",
        "_no_split_modules",
        "_skip_keys_device_placement",
        "_keep_in_fp32_modules_strict",
    ):
        assert hasattr(PreTrainedModel, name), name
    for name in ("_load_processor", "_load_tokenizer", "_load_feature_extractor", "_load_image_processor"):
        assert hasattr(Pipeline, name), name
    from transformers.configuration_utils import SubConfigSpec  # noqa: F401
    from transformers.masking_utils import create_bidirectional_mask  # noqa: F401
    from transformers.pipelines.pt_utils import (  # noqa: F401
        PipelineChunkIterator,
        PipelineIterator,
        PipelinePackIterator,
    )


@pytest.mark.parametrize(
    "check", [check_build_from_config, check_count_output_frames, check_quiet_load_report, check_subclass_attributes]
)
def test_private_apis_of_transformers_exist(check):
    try:
        check()
    except (AttributeError, ImportError, TypeError, AssertionError) as error:
        pytest.fail(f"transformers {transformers.__version__} moved an API of compat_mser: {error}")
