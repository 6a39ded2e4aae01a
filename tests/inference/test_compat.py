# SPDX-License-Identifier: Apache-2.0
"""Private APIs that inference depends on."""

import pytest
import torch

from mser_llm.inference import compat


TORCH = f"torch {torch.__version__}"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch, "_int_mm"),
        (torch.nn.Module, "_compiled_call_impl"),
        (torch._dynamo.config, "recompile_limit"),
        (torch._dynamo.config, "fail_on_recompile_limit_hit"),
        (torch._dynamo.exc, "TorchDynamoException"),
        (torch._dynamo.exc, "FailOnRecompileLimitHit"),
    ],
)
def test_torch_has_the_private_interface(owner, name):
    assert hasattr(owner, name), f"{TORCH} has no {owner.__name__}.{name}; mser_llm.inference.compat uses it"


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_packed_product_equals_the_plain_one():
    assert compat.can_pack(), f"{TORCH} has no packed products of oneDNN; mser_llm.inference.compat uses them"
    inputs, weight, bias = torch.randn(3, 8), torch.randn(5, 8), torch.randn(5)
    packed = compat.pack_weight(weight)
    torch.testing.assert_close(compat.packed_product(inputs, packed, bias), inputs @ weight.T + bias)
    assert torch.equal(packed.to_dense(), weight)
