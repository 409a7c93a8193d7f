"""A device that computes on the CPU and behaves, to the code under test, as a GPU does.

A tensor on it holds ordinary CPU numbers and says `device("pretend", 0)`. What CUDA refuses is refused here:

- operations between it and CPU tensors; CUDA's exceptions hold: CPU scalars (no dimensions), CPU indices, and copies;
- becoming a numpy array, `.numpy()` and `np.asarray`, and with it every compiled kernel for CPU memory;
- a generator of random numbers of another device;
- anything but views and copies of uint16, uint32 and uint64, for which CUDA has few kernels.

Whatever makes a GPU's stream wait for the host is counted while `synchronisations` is open. Kernels are the CPU's, so
results are equal wherever the code takes the same path on both devices.

    with pretend_device() as device, synchronisations() as syncs:
        hmm.to(device).log_likelihood(tokens)
    assert syncs.number <= 2

Not shown: other kernels that CUDA lacks, its memory, its order of additions, and real asynchrony.
Registering the name of a backend cannot be undone in torch; all else is restored when the context is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "pretend"
SCHEMA_COPIES = ("aten::copy_", "aten::_to_copy")
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")
COUNTED_RESULTS = (  # operations whose result has a size that only the device knows, or that ask it something
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave",
    "aten::equal",
    "aten::_linalg_check_errors",
)
BARE_TYPES = (torch.uint16, torch.uint32, torch.uint64)
BARE_KERNELS = (*SCHEMA_COPIES, "aten::clone", "aten::empty_like", "aten::fill_", "aten::zero_", "aten::is_set_to")
_TorchGenerator = torch.Generator
_registered = False
_open_contexts = 0  # other tests of the process shall find no accelerator


class Synchronisation(NamedTuple):
    """operation: of torch. elements: how many numbers go to the host."""

    operation: str
    elements: int


class Synchronisations(list[Synchronisation]):
    """What made the host wait for the device, in order."""

    @property
    def number(self) -> int:
        """How many."""
        return len(self)

    @property
    def elements(self) -> int:
        """Numbers that went to the host, of all together."""
        return sum(sync.elements for sync in self)

    @property
    def largest(self) -> int:
        """Numbers that went to the host at once, at most."""
        return max((sync.elements for sync in self), default=0)


class PretendTensor(Tensor):
    """A tensor on the pretend device. numbers: what it holds, on the CPU."""

    numbers: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type[PretendTensor], numbers: Tensor) -> PretendTensor:
        return Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendTensor({self.numbers})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        """Torch puts the other tensor's shape in place, not what this class adds to it."""
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        assert isinstance(value, PretendTensor), "torch has refused every other tensor"
        self.numbers = value.numbers

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = PretendTensor(self.numbers.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()

    def storage(self) -> Any:
        return self.numbers.storage()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()


class _AnyGenerator(type(_TorchGenerator)):  # type: ignore[misc]
    """The class below stands for torch's: who keeps it beyond the context (annotations are resolved once) sees every
    generator as an instance of it."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _TorchGenerator)


class Generator(_TorchGenerator, metaclass=_AnyGenerator):
    """Random numbers for one device; torch itself makes generators only for devices that it knows."""

    def __new__(cls: type[Generator], device: str | torch.device = "cpu") -> Generator:
        return super().__new__(cls, device="cpu")  # type: ignore[call-arg]

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._place = torch.device(device)
        if self._place.type == NAME:
            _generators[self._cdata] = self  # type: ignore[attr-defined]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(NAME, 0) if self._place.type == NAME else self._place


_generators: dict[int, Generator] = {}
"""Those of the pretend device by address: torch hands operations another Python object for the same generator."""


class _Mode(TorchDispatchMode):
    """Sees every operation, those that make tensors of a `device=` included."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


_counting: list[Synchronisations] = []


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """The device, usable by its name and in `device=` until the context is left."""
    global _open_contexts
    register()
    # `torch.tensor` makes its result on the device behind the back of a mode, unless told to go through the CPU.
    lifted = torch._C._only_lift_cpu_tensors()
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    _open_contexts += 1
    try:
        with mock.patch.object(torch, "Generator", Generator), _Mode():
            yield torch.device(NAME, 0)
    finally:
        _open_contexts -= 1
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
        _generators.clear()


@contextmanager
def synchronisations() -> Iterator[Synchronisations]:
    """Synchronisations of the host with the pretend device while it is open."""
    seen = Synchronisations()
    _counting.append(seen)
    try:
        yield seen
    finally:
        _counting.pop()


@pytest.fixture(name="device")
def device_fixture() -> Iterator[torch.device]:
    """The pretend device, for the time of a test."""
    with pretend_device() as device:
        yield device


def assert_same(result: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """A result on the pretend device (tensors, perhaps in tuples) lies there and is close to the CPU's."""
    found, wanted = list(_leaves([result])), list(_leaves([expected]))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, Tensor):
            assert one.device.type == NAME, f"a tensor of shape {tuple(one.shape)} is on {one.device}"
            assert one.dtype == other.dtype
            torch.testing.assert_close(one.cpu(), other, rtol=rtol, atol=atol)
        else:
            close = pytest.approx(other, rel=rtol, abs=atol) if isinstance(other, float) else other
            assert one == close, f"{one} is not {other}"


def register() -> None:
    """Make the device's name known to torch, once in a process."""
    global _registered
    if _registered:
        return
    from torch.utils import backend_registration

    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch has no backends written in Python")

    class Hook(backend_registration._DummyPrivateUse1Hook):
        def is_available(self) -> bool:
            return _open_contexts > 0

    class Module(backend_registration._DummyBackendModule):
        def is_available(self) -> bool:
            return _open_contexts > 0

        def device_count(self) -> int:
            return int(_open_contexts > 0)

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module(), Hook())
    _registered = True


class _Operation(NamedTuple):
    """What the device asks of an operation, looked up once: torch makes a schema anew each time it is asked for.

    written: (place, name) of each argument that is written. is_view: whether a result shares an argument's memory.
    reshapes: whether it changes the shape of its first argument in place.
    """

    name: str
    written: tuple[tuple[int, str], ...]
    is_view: bool
    reshapes: bool


@cache
def _operation(func: Any) -> _Operation:
    schema = func._schema
    written = (
        (place, argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    is_view = any(result.alias_info is not None for result in schema.returns)
    return _Operation(schema.name, tuple(written), is_view, torch.Tag.inplace_view in func.tags)


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operation of torch on the numbers of its arguments; its result is where CUDA would put it."""
    operation = _operation(func)
    leaves = list(_leaves((*args, *kwargs.values())))
    held = [leaf for leaf in leaves if isinstance(leaf, PretendTensor)]
    named = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    on_device = _lands_on_device(operation.name, args, named, bool(held))
    _check_generator(operation.name, leaves, on_device)
    if not held and not on_device:
        return func(*args, **kwargs)
    _check_places(operation.name, args, leaves, held)
    _check_types(operation, held)
    _count(operation.name, args, on_device)
    numbers = func(*_mapped(_on_cpu, args), **{key: _mapped(_on_cpu, value) for key, value in kwargs.items()})
    if operation.reshapes:
        with no_dispatch():
            func(*args, **kwargs)
    if operation.written:
        return _written(operation, args, kwargs, numbers)
    return _mapped(_wrapped, numbers) if on_device else numbers


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    """What stands in nested lists and tuples; pytrees do the same and take longer than most operations here."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Nested lists and tuples with the function of everything in them."""
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(function, part) for part in value])
    return function(value)


def _written(operation: _Operation, args: Sequence[Any], kwargs: dict[str, Any], numbers: Any) -> Any:
    """The result of an operation that writes `self` in place or what is given as `out=`: these tensors."""
    values = [args[place] if place < len(args) else kwargs.get(name) for place, name in operation.written]
    tensors = [leaf for leaf in _leaves(values) if isinstance(leaf, Tensor)]
    for tensor in tensors:
        if isinstance(tensor, PretendTensor) and tensor.shape != tensor.numbers.shape:
            raise NotImplementedError(f"{operation.name} gives a tensor another shape")
    return numbers if numbers is None else tensors[0] if isinstance(numbers, Tensor) else tuple(tensors)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value.numbers
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _wrapped(value: Any) -> Any:
    return PretendTensor(value) if isinstance(value, Tensor) and not isinstance(value, PretendTensor) else value


def _check_places(name: str, args: Sequence[Any], leaves: Sequence[Any], held: Sequence[Tensor]) -> None:
    """Raise RuntimeError where CUDA refuses to mix devices."""
    if not held or name in SCHEMA_COPIES:
        return
    strangers = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, PretendTensor)]
    if name in INDEXING and isinstance(args[0], PretendTensor):
        indices = [index for index in args[1] if index is not None]
        strangers = [leaf for leaf in strangers if not any(leaf is index for index in indices)]
    if sizes := [tuple(leaf.shape) for leaf in strangers if leaf.dim()]:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu! "
            f"({name}, CPU tensors of shape {sizes})"
        )


def _check_types(operation: _Operation, held: Sequence[Tensor]) -> None:
    """Raise NotImplementedError for operations on types that CUDA can do little more than store."""
    if operation.is_view or operation.name in BARE_KERNELS:
        return
    for tensor in held:
        if tensor.dtype in BARE_TYPES:
            raise NotImplementedError(f'"{operation.name}" not implemented for {tensor.dtype} on {NAME}')


def _cdata(generator: Any) -> int:
    """Where torch keeps it: what tells generators apart that several Python objects stand for."""
    return generator._cdata


def _check_generator(name: str, leaves: Sequence[Any], on_device: bool) -> None:
    """Raise RuntimeError for a generator of another device than the random numbers are made on."""
    for leaf in leaves:
        if isinstance(leaf, _TorchGenerator) and (_cdata(leaf) in _generators) != on_device:
            places = (NAME, "cpu") if on_device else ("cpu", NAME)
            raise RuntimeError(f"Expected a '{places[0]}' device type for generator but found '{places[1]}' ({name})")


def _lands_on_device(name: str, args: Sequence[Any], named: torch.device | None, any_held: bool) -> bool:
    """Whether the result does. named: the device that the call asks for."""
    if named is not None:
        return named.type == NAME
    return any_held and (name != "aten::copy_" or isinstance(args[0], PretendTensor))


def _count(name: str, args: Sequence[Any], on_device: bool) -> None:
    if not _counting:
        return
    elements = None
    if name == "aten::_local_scalar_dense" or name in COUNTED_RESULTS:
        elements = 1
    elif name in SCHEMA_COPIES and not on_device:
        elements = args[1 if name == "aten::copy_" else 0].numel()
    elif name in INDEXING:
        masks = [index for index in args[1] if isinstance(index, PretendTensor) and index.dtype == torch.bool]
        elements = len(masks) or None  # the places where a mask is true are counted on the device, then made
    if elements:
        _counting[-1].append(Synchronisation(name, elements))
