"""Answers without a socket: aioresponses, fit for every aiohttp that providerkit runs on.

For tests of what is sent. Its answers are not framed (so their Finish is not proven), say
`application/json` unless told otherwise, and come in one piece: what depends on how a
stream is cut needs real sockets. In the conftest.py of a plugin's tests:

    from providerkit.testing.mocking import mocked

    __all__ = ["mocked"]
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from aioresponses import aioresponses

_MADE_UP = {"stream_writer": SimpleNamespace(output_size=0)}  # aiohttp 3.14 wants it, aioresponses 0.7.9 has none


def _mocked_response() -> type[ClientResponse]:
    """Make the response that makes up the arguments that aiohttp wants and aioresponses does not give."""
    from aiohttp import ClientResponse  # here: most tests beside a conftest.py need no aiohttp, which takes long

    wanted = inspect.signature(ClientResponse).parameters
    made_up = {name: value for name, value in _MADE_UP.items() if name in wanted}

    class MockedResponse(ClientResponse):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **(made_up | given))

    return MockedResponse


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """Answer every request of aiohttp's; `mocked.post(url, body=...)` says how, `mocked.requests` what was sent."""
    from aioresponses import aioresponses  # here: see above

    with patch("aioresponses.core.ClientResponse", _mocked_response()), aioresponses() as answers:
        yield answers
