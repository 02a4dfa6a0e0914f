"""What programs read of the command line: replies, events and errors as JSON, on lines that a terminal can't obey."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from ..chat.json_form import dumps as json_of
from .options import told

if TYPE_CHECKING:
    from ..chat.replies import Reply
    from ..errors import ProviderKitError

# What a terminal would obey, or a reader of lines take for the end of one.
_ESCAPED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def dumps(value: object, encoding: str | None = None) -> str:
    """Return JSON in one line, in characters that an encoding can hold: by default that of the standard output.

    Values have the form of `Reply.to_dict()`; the messages of errors speak of options.
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or ""
    text = _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json_of(value, told))
    if encoding.lower() in ("utf-8", "utf8"):
        return text
    return re.sub(r"[^\x00-\x7f]+", lambda match: json.dumps(match[0])[1:-1], text)


def of_reply(reply: Reply, error: ProviderKitError | None = None) -> dict[str, Any]:
    """Return what `Reply.to_dict()` has, and `error`: None, or why it is not a whole answer."""
    plain = reply.to_dict()
    for attempt, shown in zip(reply.attempts, plain["attempts"], strict=True):
        shown["error"] = attempt.error  # whose message is to speak of options
    return {**plain, "error": error}
