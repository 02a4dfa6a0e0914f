"""What a doctor looks at: each check gives what it found, in words for somebody who did not write this.

Nothing is changed, no key is shown, and nothing but `addresses` touches the network.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import ipaddress
import os
import re
import site
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import providerkit

from ..chat.messages import Message
from ..chat.models import Model, ProviderInfo
from ..chat.options import Chat
from ..engine import blocking as sync
from ..engine.network import Connections, NetworkTransport
from ..engine.policy import Limits
from ..plugins import keys
from ..plugins.assembly import assemble
from ..plugins.discovery import (
    EXTENSIONS,
    PROVIDERS,
    Announcement,
    announcements,
    import_folders,
    installed,
    metadata_of,
)
from ..plugins.loading import EXTENSIONS_VARIABLE, find_provider, load
from ..wire import mask_of
from ..wire.requests import Request
from .options import told

CORE = "providerkit-core"
PATIENCE = 10.0  # seconds for an address to answer, connecting included


class Finding(NamedTuple):
    """Say how one thing is: "ok", "note" where it is worth knowing, or "broken"; `advice` says what to do."""

    state: str
    what: str
    says: str
    advice: str = ""


def findings(*, online: bool) -> Iterator[Finding]:
    """Look at everything, in the order in which things depend on each other."""
    yield from _python()
    yield from _copies()
    infos: list[ProviderInfo] = []
    for announcement in announcements(PROVIDERS):
        yield _provider(announcement, infos)
    if not infos:
        advice = "in a checkout of providerkit, run: pip install ./providers/koala"
        yield Finding("note", "providers", "none can be used", advice)
    for announcement in announcements(EXTENSIONS):
        yield _extension(announcement, infos)
    yield from _active_extensions()
    yield _keyring()
    yield from (_key(info) for info in infos if info.api_key_env)
    yield from _startup_files()
    if online:
        yield from sync.call(_addresses(infos))


def hide_keys(found: Iterable[Finding]) -> list[Finding]:
    """Take out whatever the environment holds under a name that keys have: a broken plugin may have shown it."""
    names = [name for name in os.environ if name.endswith(("KEY", "TOKEN", "SECRET", "PASSWORD"))]
    mask = mask_of(os.environ[name] for name in names if len(os.environ[name]) > 7)
    return [Finding(*map(mask, finding)) for finding in found]


# Python, and what is installed


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "Python", f"{version} ({sys.implementation.name}) at {sys.executable}")
    try:
        core = importlib.metadata.distribution(CORE)
    except importlib.metadata.PackageNotFoundError:
        yield Finding("broken", CORE, f"is at {_house()}, but not installed", "run in its checkout: pip install .")
        return
    yield Finding("ok", CORE, f"{core.version} at {_house()}")
    for line in core.requires or ():
        needed = re.match(r"([\w.-]+) *>= *([\d.]+)$", line.strip())
        if needed is not None:  # and no extra's
            yield _requirement(*needed.groups())


def _requirement(name: str, least: str) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("broken", name, "is not installed", f'try: pip install "{name}>={least}"')
    if _numbers(version) < _numbers(least):
        return Finding("broken", name, f"{version}, which is older than {least}", f'try: pip install "{name}>={least}"')
    return Finding("ok", name, version)


def _numbers(version: str) -> list[int]:
    """Read a version that ends in what is no release, as 3.14.0rc1, as that release."""
    release = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in release[0].split(".")] if release else []


def _house() -> Path:
    return Path(str(providerkit.__file__)).parent.resolve()


def _copies() -> Iterator[Finding]:
    """Look for what hides what: another copy on the path, other versions, the other project of that name."""
    copies = {_house()}
    for folder in import_folders():
        try:
            copy = Path(folder, "providerkit").resolve()
            found = copy not in copies and (copy / "__init__.py").stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, RuntimeError) as error:  # links in a circle were a RuntimeError before 3.13
            reason = getattr(error, "strerror", None) or error
            advice = "Python imports nothing from it: make it readable, or take it out of PYTHONPATH or sys.path"
            yield Finding("note", folder, f"can't be read: {reason}", advice)
            continue
        if found:
            copies.add(copy)
            yield Finding("broken", "providerkit", f"there is another copy at {copy}", "keep one of them")
    owners = sorted({found.distribution for group in (PROVIDERS, EXTENSIONS) for found in announcements(group)})
    for name in [CORE, *owners]:
        versions = _versions(name)
        if len(versions) > 1:
            advice = f"run pip uninstall {name} until none is left, and install it again"
            yield Finding("broken", name, f"is there more than once: {' and '.join(versions)}", advice)
    for version in _versions("providerkit"):
        yield Finding(
            "broken",
            "providerkit",
            f"{version} is another project that is imported by the same name",
            "run: pip uninstall providerkit, then in the checkout of this one: pip install --force-reinstall .",
        )


def _versions(name: str) -> list[str]:
    found = map(metadata_of, importlib.metadata.distributions(name=name, path=import_folders()))
    return sorted({metadata.get("Version", "unknown") for metadata in found})


# Plugins


def _provider(found: Announcement, infos: list[ProviderInfo]) -> Finding:
    """Load a provider; add what it says of itself to `infos` where that works."""
    try:
        _check(found)
        infos.append(providerkit.provider(found.name).info)
    except providerkit.ProviderKitError as error:
        return _broken("provider", found, error)
    return Finding("ok", f"provider {found.name}", f"{found.distribution} {found.version}")


def _extension(found: Announcement, infos: list[ProviderInfo]) -> Finding:
    """Load an extension, put it around the first provider, and let it begin to watch, as a call does."""
    try:
        _check(found)
        extension = load(EXTENSIONS, found.name)
        for info in infos[:1]:
            hooks = assemble(find_provider(info.name), (extension,))
            hooks.observe(Chat((Message("user", "Hello"),)), Model("any"))
    except providerkit.PluginError as error:
        return _broken("extension", found, error)
    except providerkit.ProviderKitError as error:  # it lacks a package, or wants to be told more: no call can use it
        return Finding("broken" if found.name in _wanted() else "note", f"extension {found.name}", told(error))
    return Finding("ok", f"extension {found.name}", f"{found.distribution} {found.version}")


def _check(found: Announcement) -> None:
    if found.problem is not None:
        raise providerkit.PluginError(f"{found.distribution} {found.version}: {found.problem}")


def _broken(what: str, found: Announcement, error: providerkit.ProviderKitError) -> Finding:
    advice = "" if found.problem else f"upgrade {found.distribution}, or run: pip uninstall {found.distribution}"
    return Finding("broken", f"{what} {found.name}", told(error), advice)


def _active_extensions() -> Iterator[Finding]:
    for name in _wanted():
        if name not in installed(EXTENSIONS):
            advice = f"install it, or take it out of {EXTENSIONS_VARIABLE}"
            yield Finding("broken", f"extension {name}", "every call wants it, but it is not installed", advice)


def _wanted() -> list[str]:
    return [name.strip() for name in os.environ.get(EXTENSIONS_VARIABLE, "").split(",") if name.strip()]


# Keys


def _keyring() -> Finding:
    if not keys.is_installed():
        return Finding("note", "keyring", "not installed", "to keep keys in it: pip install keyring")
    where = keys.system_keyring.backend()
    if where is None:
        return Finding("note", "keyring", str(keys.system_keyring.trouble), "calls go on without it")
    return Finding("ok", "keyring", where)


def _key(info: ProviderInfo) -> Finding:
    found = {"environment": f"in the environment, {info.api_key_env}", "keyring": "in the keyring"}
    source = keys.key_source(info)
    if source is not None:
        return Finding("ok", f"key of {info.name}", found[source])
    advice = f"where one is needed: set {info.api_key_env}, or run: providerkit keys set {info.name}"
    return Finding("note", f"key of {info.name}", "none is found", advice)


# What runs whenever Python starts

_EDITABLE = re.compile(r"import (__editable___\w+_finder); \1\.install\(\)")  # as setuptools writes it


def _startup_files() -> Iterator[Finding]:
    """List the .pth files that run code at every start of Python: what steals keys likes to be one."""
    owners = _owners()
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    for path in sorted({path for folder in folders for path in Path(folder).glob("*.pth")}):
        if not all(_EDITABLE.fullmatch(line.strip()) for line in _code(path)):
            owner = owners.get(path.resolve())
            says = f"runs code whenever Python starts, and belongs to {owner or 'no installed package'}"
            advice = "" if owner else f"read {path}, and delete it where you do not know what it is for"
            yield Finding("note", path.name, says, advice)


def _code(path: Path) -> list[str]:
    """Return the lines that Python runs (its documentation of the module site, read in November 2026)."""
    try:
        lines = path.read_text("utf-8-sig", "replace").splitlines()
    except OSError:  # nor can Python read it
        return []
    return [line for line in lines if line.startswith(("import ", "import\t"))]


def _owners() -> dict[Path, str]:
    """Return which distribution has put a .pth file there."""
    owners = {}
    for found in importlib.metadata.distributions(path=import_folders()):
        try:
            files = [found.locate_file(file) for file in found.files or () if file.suffix == ".pth"]
            owners.update({Path(str(file)).resolve(): f"{found.name} {found.version}" for file in files})
        except Exception:  # noqa: BLE001, S112 - its metadata is junk, so it owns nothing that can be told
            continue
    return owners


# The network


async def _addresses(infos: list[ProviderInfo]) -> list[Finding]:
    """Knock at all addresses at once: a bare request without a key, of which any answer will do."""
    connections = Connections(Limits())
    transport = NetworkTransport(connections)
    try:
        wanted = [(info, info.default_base_url) for info in infos if info.default_base_url]
        return await asyncio.gather(*(_knock(transport, info, url) for info, url in wanted))
    finally:
        await connections.close()


async def _knock(transport: NetworkTransport, info: ProviderInfo, url: str) -> Finding:
    what = f"address of {info.name}"
    try:
        async with asyncio.timeout(PATIENCE), transport.send(Request("HEAD", url, stream=False)) as response:
            return Finding("ok", what, f"{url} answers (HTTP {response.head.status})")
    except TimeoutError:
        failure = f"{url} did not answer within {PATIENCE:g} s"
    except providerkit.ProviderKitError as error:
        failure = f"{url}: {told(error)}"
    if _is_here(url):
        return Finding("note", what, failure, "it is a service on this machine; start it before you ask it")
    state = "broken" if keys.key_source(info) else "note"  # of others nobody knows whether they are used
    return Finding(state, what, failure, "see whether this machine reaches the network, or needs a proxy")


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
