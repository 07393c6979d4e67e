"""What the layers of a network make of examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from metarl.core.params import Params, params_of
from metarl.fewshot.shots import Shots
from metarl.methods.protocols import InnerLoop
from metarl.report.frozen import layers_of

EXAMPLES = 1000
"""Most examples, or states, of a task that similarities are computed from."""


def representations(inner_loop: InnerLoop, params: Params, data: Any) -> list[list[Tensor]]:
    """Return each layer's features of each task's examples, layers of tasks of `[n, p]`."""
    examples = data.query if isinstance(data, Shots) else data
    outputs = batch_features(inner_loop, params, examples)
    return [[_rows(layer[task], _used(data, task)) for task in range(len(examples))] for layer in outputs]


def batch_features(inner_loop: InnerLoop, params: Params, examples: Any) -> list[Tensor]:
    """Return what each layer hands on, `[K, N, ...]` each."""
    network = inner_loop.network
    moved = {name: value.to(inner_loop.device) for name, value in params.items()}
    with torch.no_grad(), recorded(network, layers_of(params_of(network))) as outputs:
        inner_loop.losses.outputs(moved, examples)
    return outputs


@contextmanager
def recorded(network: nn.Module, layers: list[list[str]]) -> Iterator[list[Tensor]]:
    """Collect what the layers hand on, after their activation, `[K, N, ...]` each, while the network runs."""
    outputs: list[Tensor] = []
    names = [layer[0].rpartition(".")[0] for layer in layers]
    hooks = [
        _hands_on(network, name).register_forward_hook(lambda module, given, out: outputs.append(out.detach().cpu()))
        for name in names
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _hands_on(network: nn.Module, name: str) -> nn.Module:
    """Return the module whose output is the layer's: the activation after it, and after its normalisation, if any."""
    parent, _, number = name.rpartition(".")
    row = network.get_submodule(parent)
    last = network.get_submodule(name)
    for after in list(row)[int(number) + 1 :] if isinstance(row, nn.Sequential) else ():
        if any(value.dim() > 1 for value in after.parameters()):  # the next layer
            break
        last = after
    return last


def _used(data: Any, task: int) -> Tensor | slice:
    """Return which of a task's examples count: steps after an episode's end do not."""
    return slice(None) if isinstance(data, Shots) else data.mask[task].flatten().bool().cpu()


def _rows(features: Tensor, used: Tensor | slice) -> Tensor:
    """Return features `[n, p]`; of pictures `[N, p, h, w]` each point counts as an example (Raghu et al. 2017)."""
    features = features[used]
    if features.dim() > 2:
        features = features.movedim(1, -1).flatten(0, -2)
    return features[:: max(1, -(-len(features) // EXAMPLES))]
