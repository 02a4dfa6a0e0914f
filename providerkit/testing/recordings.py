"""Recordings: one HTTP answer as a value, written by hand or taken from a server on loopback.

    Recording([b'{"output": "Hello"}'], headers={"Content-Type": "application/json"}, framing="length")
    await record("http://127.0.0.1:8080/say", body=b'{"text": "hi"}')

The pieces of the body are what its server wrote at a time: for most sandboxes one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import attrs

from ..wire.headers import Headers

LONGEST_HEAD = 2**20  # bytes
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}


def _pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


@attrs.frozen
class Recording:
    """One answer: its status, its headers, and the pieces of its body.

    `headers` leave out what frames the body, which `framing` says: "chunks" sends each
    piece as a chunk, "length" sends a Content-Length and the pieces as they are, "end"
    neither, so that only the end of the connection ends the body.
    """

    pieces: tuple[bytes, ...] = attrs.field(default=(), converter=tuple[bytes, ...])
    status: int = 200
    headers: tuple[tuple[str, str], ...] = attrs.field(
        default=(("Content-Type", "text/event-stream"),), converter=_pairs
    )
    framing: str = attrs.field(default="chunks", validator=attrs.validators.in_(("chunks", "length", "end")))

    @property
    def body(self) -> bytes:
        """Return the body in one."""
        return b"".join(self.pieces)

    def head(self, *fields: tuple[str, str]) -> bytes:
        """Return status line and headers as bytes; further `fields` follow them."""
        framing = {
            "chunks": [("Transfer-Encoding", "chunked")],
            "length": [("Content-Length", str(len(self.body)))],
            "end": [],
        }[self.framing]
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *framing, *fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def frame(self, piece: bytes) -> bytes:
        """Return a piece of the body as it goes over the wire."""
        return b"%x\r\n%s\r\n" % (len(piece), piece) if piece and self.framing == "chunks" else piece

    @property
    def end(self) -> bytes:
        """Return what says on the wire that the body is at its end."""
        return b"0\r\n\r\n" if self.framing == "chunks" else b""

    def wire(self) -> Iterator[bytes]:
        """Yield all bytes of the answer, as they are written: the head, the pieces, the end."""
        yield self.head()
        yield from map(self.frame, self.pieces)
        yield self.end


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


async def record(
    url: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Recording:
    """Ask a plain HTTP server, on loopback as a rule, and give its whole answer.

    Raises OSError if there is no such server, asyncio.IncompleteReadError if its
    answer breaks off.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=LONGEST_HEAD)
    try:
        writer.write(_request(method, url, headers or {}, body))
        return await _recording(reader)
    finally:
        writer.close()


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()
    kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP | {"host"}}
    fields = {"Host": parts.netloc, "Connection": "close", "Content-Length": str(len(body)), **kept}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def _recording(reader: asyncio.StreamReader) -> Recording:
    line, fields = await read_head(reader)
    headers = Headers(fields)
    if "Transfer-Encoding" in headers or "Content-Length" in headers:
        pieces = await read_body(reader, headers)
        framing = "chunks" if "Transfer-Encoding" in headers else "length"
    else:
        pieces, framing = (await reader.read(),), "end"
    kept = [(name, value) for name, value in fields if name.lower() not in _HOP_BY_HOP]
    return Recording(pieces, int(line.split(" ")[1]), kept, framing)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
    """Read the first line and the headers of a request or of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
    fields = (field.partition(":") for field in rest)
    return line, [(name, value.strip()) for name, _, value in fields]


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> tuple[bytes, ...]:
    """Read the pieces of a body that its headers frame; none where they do not."""
    if "Transfer-Encoding" not in headers:
        return (await reader.readexactly(int(headers.get("Content-Length", "0"))),)
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return tuple(pieces)
