"""The fixture `device` for all tests of this folder."""

from __future__ import annotations

from pretend_device import device_fixture

__all__ = ["device_fixture"]
