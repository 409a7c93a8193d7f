"""Whether tensors have changed since something was computed from them."""

from __future__ import annotations

from torch import Tensor


class Seen:
    """Tensors as they were when something was computed from them.

    Noticed are other tensors in their place, `tensor.data` replaced, and operations in place on the tensors. Operations
    in place on `tensor.data` are not: torch keeps no count of them.
    """

    def __init__(self, *tensors: Tensor) -> None:
        # The tensors are held, so that no other can come to lie at the same address.
        self._seen = [(tensor.detach(), tensor._version) for tensor in tensors]

    def same(self, *tensors: Tensor) -> bool:
        """Whether these are the tensors, unchanged."""
        pairs = zip(self._seen, tensors, strict=True)
        # The device is asked first: torch refuses to compare the memory of two devices.
        return all(
            known.device == now.device and known.is_set_to(now.detach()) and version == now._version
            for (known, version), now in pairs
        )
