"""The pretend device refuses what CUDA refuses, allows what it allows, counts what waits, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.pretend_device import PretendTensor, pretend_device, synchronisations
from torch import Tensor

REFUSED: dict[str, Callable[[Tensor], object]] = {
    "arithmetic with the CPU": lambda x: x + torch.ones(3),
    "a CPU tensor indexed by it": lambda x: torch.ones(3)[x.long()],
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "from numpy": lambda x: x * torch.from_numpy(np.ones(3, np.float32)),
    "a product": lambda x: torch.ones(1, 3) @ x[:, None],
    "out on the CPU": lambda x: torch.add(x, x, out=torch.empty(3)),
    "index_add_ of CPU indices": lambda x: x.index_add_(0, torch.tensor([0]), x[:1]),
    "a CPU generator": lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
    "its generator on the CPU": lambda x: torch.rand(3, generator=torch.Generator(x.device)),
    "indices of uint16": lambda x: x.to(torch.uint16)[x.long()],
    "sums of uint16": lambda x: x.to(torch.uint16) + 1,
}
ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a CPU scalar": lambda x: x + torch.tensor(2.0),
    "CPU indices": lambda x: x[torch.tensor([2, 0])],
    "a CPU mask": lambda x: x[torch.tensor([True, False, True])],
    "a copy to it": lambda x: x.copy_(torch.ones(3)),
    "its own generator": lambda x: torch.rand(3, device=x.device, generator=torch.Generator(x.device).manual_seed(1)),
    "data": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "a new tensor like it": lambda x: x.new_zeros(2),
    "a view of uint16": lambda x: x.to(torch.uint16)[1:].to(torch.int32),
    "an assignment": lambda x: x.index_put_((torch.tensor([1]),), torch.tensor(5.0)),
}
WAITING: dict[str, tuple[Callable[[Tensor], object], list[int]]] = {
    "item": (lambda x: x[0].item(), [1]),
    "bool": (lambda x: bool((x > 0).any()), [1]),
    "tolist": (lambda x: x.tolist(), [3]),
    "cpu": (lambda x: x.cpu(), [3]),
    "copied into a CPU tensor": (lambda x: torch.empty(3).copy_(x), [3]),
    "nonzero": (lambda x: x.nonzero(), [1]),
    "a mask": (lambda x: x[x > 1], [1]),
    "unique": (lambda x: x.unique(), [1]),
    "arithmetic": (lambda x: (x + 1).exp().sum(0), []),
    "indices": (lambda x: x[x.argsort()], []),
    "to it": (lambda x: torch.ones(3).to(x.device), []),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(device: torch.device, name: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"device|generator|implemented"):
        REFUSED[name](torch.arange(3.0, device=device))


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(device: torch.device, name: str) -> None:
    result = ALLOWED[name](torch.arange(3.0, device=device))
    assert isinstance(result, PretendTensor)
    assert result.device == device


@pytest.mark.parametrize("name", WAITING)
def test_counted(device: torch.device, name: str) -> None:
    call, elements = WAITING[name]
    x = torch.arange(3.0, device=device)
    with synchronisations() as found:
        call(x)
    assert [one.elements for one in found] == elements
    assert (found.number, found.elements, found.largest) == (len(elements), sum(elements), max(elements, default=0))


def test_learns_as_on_the_cpu(device: torch.device) -> None:
    weights = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2).to(place)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            layer(torch.ones(4, 3, device=place)).square().sum().backward()
            optimiser.step()
        weights.append(layer.weight.detach().cpu())
    assert torch.equal(*weights)


def test_data_can_be_replaced(device: torch.device) -> None:
    parameter = torch.nn.Parameter(torch.ones(2, device=device))
    other = torch.full((3,), 5.0, device=device)
    parameter.data = other
    assert parameter.tolist() == [5, 5, 5]
    parameter.data.mul_(2)
    assert other.tolist() == [10, 10, 10]
    with pytest.raises(RuntimeError):
        parameter.data = torch.ones(3)


def test_nothing_is_left_behind() -> None:
    generator, made = torch.Generator, torch.tensor
    with pytest.raises(KeyError), pretend_device():
        raise KeyError
    assert torch.Generator is generator
    assert torch.tensor is made
    assert not torch.accelerator.is_available()
    assert not torch._C._only_lift_cpu_tensors()
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    assert type(torch.tensor([1.0])) is Tensor
