"""Values as JSON has them: for programs that read what a run has given."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import attrs

from ..errors import ProviderKitError


def plain_value(value: Any) -> Any:
    """Return a value as dicts, lists, strings, numbers, booleans and None; bytes become base64."""
    if isinstance(value, ProviderKitError):
        return plain_error(value)
    if attrs.has(type(value)):
        return {"type": type(value).__name__, **plain_value(attrs.asdict(value, recurse=False))}
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(item) for item in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def plain_error(error: ProviderKitError | None) -> dict[str, Any] | None:
    """Return the class of an error as its `type`, its `message`, and its other fields that are known."""
    if error is None:
        return None
    fields = {name: value for name, value in vars(error).items() if value is not None and name[0] != "_"}
    fields.pop("partial", None)  # the text of the reply
    return {"type": type(error).__name__, "message": str(error), **plain_value(fields)}
