# SPDX-License-Identifier: Apache-2.0
"""Compare a training step with a naive one."""

from collections.abc import Iterator, Mapping

import torch

from benchmarks.suite.rounds import Comparison, alternate
from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import Inputs, OwnModel, padded_inputs


IGNORED = -100


def training_step(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """
    Measure forward, backward and optimizer step with frozen backbones: cached encoder states and logits only at the
    labels, against the encoder in the step on 30 s of padding and logits at every position.
    """
    model, batch_size = own.model, sizes.batch_size
    text = own.processor.encode_text(batch_size, [WORDS[row % 7] for row in range(batch_size)])
    features = own.inputs(sizes.target_seconds, batch_size)
    with torch.no_grad():
        states, mask = model.encode_audio(features["input_features"], features["input_features_mask"])
    assert mask is not None, "a mask was given"
    padded = padded_inputs(own)(sizes.target_seconds, batch_size)
    padded = {name: padded[name] for name in ("input_features", "input_features_mask")}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # A learning rate of zero costs the same and leaves the model unchanged for the following comparisons.
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0, fused=True)

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    try:
        taken = alternate(
            {
                "ours": lambda: step(model(**text, encoder_states=states, encoder_mask=mask).loss),
                "naive": lambda: step(naive_loss(own, text, padded)),
            },
            sizes.slow_rounds,
            "Training step",
        )
    finally:
        model.eval()
    name = f"training step, {sizes.target_seconds:g} s, batch {batch_size}"
    yield Comparison(name, taken["ours"], taken["naive"], "s per step", "less")


def naive_loss(own: OwnModel, text: Inputs, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The language-model loss from logits at every position, with the encoder run on the features."""
    inputs = {name: tensor for name, tensor in text.items() if name != "labels"}
    logits = own.model(**inputs, **features).logits.float()
    targets = text["labels"][:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets, ignore_index=IGNORED)


__all__ = ["naive_loss", "training_step"]
