# SPDX-License-Identifier: Apache-2.0
"""One training step of a model without data: its work and its memory, part by part."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from modeling_mser import MSERForEmotionGeneration
from mser_llm.training.planning.step_meter import StepMeter, Work


@dataclass(frozen=True)
class StepShape:
    """
    Attributes:
        batch_size: clips of one process's batch.
        num_frames: of the features of the longest clip, as the model takes them: spectrogram frames at 100 a second,
            or samples for an encoder of waveforms.
        text_length: tokens of `[bos, audio x K, prompt, emotion, eos]`.
        label_length: those of them that are labels.
    """

    batch_size: int
    num_frames: int
    text_length: int
    label_length: int


@dataclass(frozen=True)
class PartCost:
    """
    What one part of the model costs.

    Attributes:
        parameters, trained: their numbers.
        weight_bytes: of parameters and buffers.
        forward, backward: work of one step. Of a frozen encoder, forward is the work of encoding one batch.
    """

    name: str
    parameters: int
    trained: int
    weight_bytes: int
    forward: Work
    backward: Work


@dataclass(frozen=True)
class StepCosts:
    """
    Attributes:
        parts: the encoder first.
        encoding_bytes: at the worst, while one batch goes through a frozen encoder, the weights left out.
        step_bytes: at the worst, while one batch goes forward and backward over kept features, the weights left out
            and the gradients counted, those of earlier batches too where they are kept.
        logits_bytes: the logits at label positions among these, as they are and in float32.
        batch_bytes: one batch's kept features, or its input features where the encoder is trained.
        encoder_frozen: whether the encoder runs once for each clip, outside the step.
    """

    parts: tuple[PartCost, ...]
    encoding_bytes: int
    step_bytes: int
    logits_bytes: int
    batch_bytes: int
    encoder_frozen: bool

    @property
    def trained(self) -> int:
        """Parameters that have a gradient."""
        return sum(part.trained for part in self.parts)

    @property
    def weight_bytes(self) -> int:
        return sum(part.weight_bytes for part in self.parts)


def step_costs(model: Any, shape: StepShape, bf16: bool = False, accumulates: bool = False) -> StepCosts:
    """
    Meters a step of a model whose tensors have no data, and that has no gradients yet.

    Args:
        model: MSER or one of the two classifiers, made under the `FakeTensorMode` that is active, in training mode.
        shape: of the batch.
        bf16: whether the step runs under bfloat16 autocast.
        accumulates: whether several batches make a step. It is then a later one that is metered, through whose forward
            pass the gradients of those before it are held.
    """
    run = _mser_step if isinstance(model, MSERForEmotionGeneration) else _classifier_step
    with StepMeter() as meter:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            costs = run(model, shape, meter)
        if not accumulates:
            return costs
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):  # anew: it keeps the weights that it has halved
            later = run(model, shape, meter)
    # A frozen encoder has been over all clips before there are gradients.
    return replace(later, encoding_bytes=costs.encoding_bytes)


@dataclass(frozen=True)
class _Encoding:
    """States `(batch_size, num_layers, num_frames, hidden_size)`, what they took, what a batch brings to a step."""

    states: torch.Tensor
    work: Work
    worst_bytes: int
    batch_bytes: int


def _encode(model: Any, shape: StepShape, meter: StepMeter) -> _Encoding:
    sizes: tuple[int, ...] = (shape.num_frames,)
    if hasattr(model.config.audio_config, "num_mel_bins"):
        sizes = (model.config.audio_config.num_mel_bins, shape.num_frames)
    features = torch.zeros(shape.batch_size, *sizes)
    states, _ = model.encode_audio(features)
    if model.frozen_encoder() is None:
        return _Encoding(states, meter.take(), 0, features.nbytes)
    worst = meter.peak
    # From here on as they come out of the cache: float32, and nothing else of the encoder alive.
    del features
    states = torch.zeros(states.shape)
    meter.peak = meter.live
    return _Encoding(states, meter.take(), worst, states.nbytes)


def _mser_step(model: MSERForEmotionGeneration, shape: StepShape, meter: StepMeter) -> StepCosts:
    encoding = _encode(model, shape, meter)
    states = encoding.states
    heard = states.detach().requires_grad_(states.requires_grad)
    meter.take()
    audio = model.projection(model.emotion_qformer(heard))
    listening = meter.take()
    said = audio.detach().requires_grad_()
    tokens = torch.zeros(shape.batch_size, shape.text_length - audio.shape[1], dtype=torch.long)
    embeds = torch.cat([said.to(model.dtype), model.get_input_embeddings()(tokens)], dim=1)
    kept = torch.zeros(shape.label_length, dtype=torch.long)
    logits = model.language_model(inputs_embeds=embeds, logits_to_keep=kept, use_cache=False).logits
    targets = torch.zeros(shape.batch_size, shape.label_length, dtype=torch.long)
    loss = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets)
    saying = meter.take()
    logits_bytes = logits.numel() * (logits.element_size() + 4)
    del logits, embeds  # as the trainer, which keeps the loss alone
    loss.backward()
    saying_back = meter.take()
    audio.backward(said.grad)
    listening_back = meter.take()
    encoding_back = Work()
    if heard.grad is not None:
        states.backward(heard.grad)
        encoding_back = meter.take()
    return StepCosts(
        (
            _part("encoder", [model.audio_tower], encoding.work, encoding_back),
            _part("Q-Former", [model.emotion_qformer, model.projection], listening, listening_back),
            _part("language model", [model.language_model], saying, saying_back),
        ),
        encoding.worst_bytes,
        meter.peak,
        logits_bytes,
        encoding.batch_bytes,
        model.frozen_encoder() is not None,
    )


def _classifier_step(model: Any, shape: StepShape, meter: StepMeter) -> StepCosts:
    encoding = _encode(model, shape, meter)
    output = model(encoder_states=encoding.states, labels=torch.zeros(shape.batch_size, dtype=torch.long))
    forward = meter.take()
    output.loss.backward()
    rest = [module for name, module in model.named_children() if name != "audio_tower"]
    return StepCosts(
        (
            _part("encoder", [model.audio_tower], encoding.work, Work()),
            _part("above the kept layers", rest, forward, meter.take()),
        ),
        encoding.worst_bytes,
        meter.peak,
        output.logits.numel() * 8,
        encoding.batch_bytes,
        model.frozen_encoder() is not None,
    )


def _part(name: str, modules: list[torch.nn.Module], forward: Work, backward: Work) -> PartCost:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    stored = parameters + [buffer for module in modules for buffer in module.buffers()]
    return PartCost(
        name,
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        sum(tensor.numel() * tensor.element_size() for tensor in stored),
        forward,
        backward,
    )


def without_data() -> FakeTensorMode:
    """Inside, tensors have shapes and no data, so that a model of any size is made at once."""
    return FakeTensorMode()
