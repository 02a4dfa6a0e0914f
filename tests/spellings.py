"""Keys of every kind, and the ways in which a service, a library or a plugin may spell them."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

from yarl import URL

KEYS = {
    "plain": "sk-MARKED-0123456789abcdef",
    "base64": "aB/+dEf9=h/IjKlMn+OpQrStUv/Wx==",
    "quoted": '"sk-MARKED-0123456789"',
    "backslashes": "\\\\sk\\MARKED\\x41\\u0041/0123456789",
    "signs": "s&k<M>A'R\"K%E%41D;%2f+ 0123456789",
    "beyond ASCII": "pässword-wörd-0123456789",
    "short": "sk-123",
    "tabs": "sk\tMARKED\t0123456789",
}


def basic(user, key):
    return b64encode(f"{user}:{key}".encode()).decode()


SPELLINGS = {
    "as it is": str,
    "in upper case": lambda key: "".join(c.upper() if c.isascii() else c for c in key),
    "in lower case": str.lower,
    "quoted": lambda key: quote(key, safe=""),
    "quoted in lower case": lambda key: quote(key, safe="").lower(),
    "as a path": quote,
    "as a form": quote_plus,
    "as yarl has it in a query": lambda key: str(URL(f"http://h/?key={quote(key, safe='')}")).partition("=")[2],
    "as yarl has it in a path": lambda key: str(URL(f"http://h/{quote(key, safe='')}")).partition("h/")[2],
    "in a form that was read and written": lambda key: key.replace("+", " "),
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "in JSON": lambda key: json.dumps(key)[1:-1],
    "in JSON that escapes slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "in JSON that escapes signs": lambda key: json.dumps(key)[1:-1].replace("&", "\\u0026").replace("/", "\\u002F"),
    "in JSON within JSON": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "in a repr": lambda key: repr(key)[1:-1],
    "in a repr of bytes": lambda key: repr(key.encode())[2:-1],
    "in HTML": html.escape,
    "in HTML, by numbers": lambda key: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in key),
    "in HTML, by hexadecimal numbers": lambda key: "".join(c if c.isalnum() else f"&#x{ord(c):x};" for c in key),
    "in JSON, of a URL": lambda key: json.dumps(quote(key, safe=""))[1:-1],
    "in a URL, of JSON": lambda key: quote(json.dumps(key)[1:-1], safe=""),
    **{f"by Basic, of {user!r}": lambda key, user=user: basic(user, key) for user in ("", "a", "ab", "api", "polly")},
    "by Basic, as the user": lambda key: b64encode(f"{key}:".encode()).decode(),
    "by Basic, without padding": lambda key: basic("ab", key).rstrip("="),
    "by Basic, quoted": lambda key: quote(basic("ab", key), safe=""),
    "by Basic, in lower case": lambda key: basic("ab", key).lower(),
    "in base64 of a URL": lambda key: urlsafe_b64encode(f"a?{key}~".encode()).decode(),
}
