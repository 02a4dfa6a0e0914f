"""What the tests with the real gpt4free stand on: it is imported here, and can't leave this machine."""

import sys
import tempfile
from collections.abc import Iterator

import pytest

LOOPBACK = ("127.0.0.1", "::1", "localhost")
strayed: list[str] = []


def stay(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse, and note, every way from this process to something that is not on loopback."""
    match event, arguments:
        case ("socket.connect" | "socket.sendto", (_, (str(host), *_))) | ("socket.getaddrinfo", (host, *_)):
            stays = host in LOOPBACK
        case _:
            stays = event not in ("subprocess.Popen", "os.system", "os.posix_spawn")
    if not stays:
        strayed.append(f"{event} {arguments}")
        raise PermissionError(f"these tests stay on loopback: {event} {arguments}")


sys.addaudithook(stay)

# It takes the home directory as it is imported, and keeps records there.
home = tempfile.TemporaryDirectory()
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("HOME", home.name)
    import g4f.client  # noqa: F401 - it keeps what it took


@pytest.fixture(autouse=True, scope="session")
def _swept() -> Iterator[None]:
    yield
    home.cleanup()


@pytest.fixture(autouse=True)
def _on_loopback() -> Iterator[None]:
    """Fail a test in which something strayed, also where whoever did has swallowed the error."""
    yield
    there, strayed[:] = list(strayed), []
    assert there == []


@pytest.fixture(autouse=True)
def _without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOALA_API_KEY", raising=False)
