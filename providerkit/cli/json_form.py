"""What programs read: replies, events and errors as JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ProviderKitError
from .options import told

if TYPE_CHECKING:
    from ..events import Event, Reply


def dumps(value: object) -> str:
    """Give JSON in one line, in characters that the output can hold."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return json.dumps(value, ensure_ascii=encoding.lower() not in ("utf-8", "utf8"), default=_plain)


def of_reply(reply: Reply, error: ProviderKitError | None = None) -> dict[str, Any]:
    """Give all fields of a Reply by their names, and `error`: None, or why it is no whole answer."""
    return {**attrs.asdict(reply, value_serializer=_plain_field), "error": None if error is None else of_error(error)}


def of_event(event: Event) -> dict[str, Any]:
    """Give all fields of an event by their names, and its `type`: text_delta, usage, finish, ..."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    return {"type": kind, **attrs.asdict(event, recurse=False)}


def of_error(error: ProviderKitError) -> dict[str, Any]:
    """Give the class of an error as its `type`, its `message`, and its other fields that are known."""
    fields = {name: value for name, value in vars(error).items() if value is not None and name[0] != "_"}
    fields.pop("partial", None)  # the text of the reply
    return {"type": type(error).__name__, "message": told(error), **fields}


def _plain_field(holder: object, attribute: object, value: Any) -> Any:
    return of_error(value) if isinstance(value, ProviderKitError) else value  # of an attempt


def _plain(value: object) -> Any:
    return str(value)
