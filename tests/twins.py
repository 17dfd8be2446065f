"""The same network in torch, for comparison."""

import torch


def torch_twin(network):
    """A torch.nn.Sequential with the parameters (copied) and the activation of a backprop.Network."""
    layers = []
    for w, b in network.layers:
        linear = torch.nn.Linear(w.shape[1], w.shape[0])
        linear.weight = torch.nn.Parameter(torch.tensor(w))
        linear.bias = torch.nn.Parameter(torch.tensor(b))
        layers += [linear, network.activation.module()]
    return torch.nn.Sequential(*layers[:-1])  # the last layer is linear
