"""What installed packages announce: read from their metadata, nothing imported.

Only the standard library is used, so that listing plugins costs the command line nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import invalidate_caches
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any, NamedTuple

PROVIDERS = "providerkit.providers"
EXTENSIONS = "providerkit.extensions"

_cache: dict[str, dict[str, tuple[EntryPoint, ...]]] = {}


class Announcement(NamedTuple):
    """Say what one entry point announces; `problem` where it can't work."""

    name: str
    distribution: str
    version: str
    problem: str | None = None


def announcements(group: str = PROVIDERS) -> list[Announcement]:
    """List what is installed, by name; two packages that announce one name are both listed."""
    return [
        _announcement(entry_point, problem(entries) or _missing(entry_point))
        for _, entries in sorted(_read(group).items())
        for entry_point in entries
    ]


def providers() -> list[str]:
    """Name the installed providers in alphabetical order, from metadata and without importing any of them.

    A broken one is among them: only loading it shows that. Empty where none is installed.
    """
    return installed(PROVIDERS)


def installed(group: str) -> list[str]:
    """Name what is installed, as it is now."""
    return sorted(_read(group))


def announced(group: str, name: str) -> tuple[EntryPoint, ...]:
    """Give the entry points of one name, from the cache where it knows them; empty where there is none."""
    entries = _cache.get(group, {}).get(name)
    return _read(group).get(name, ()) if entries is None else entries  # it may have been installed since


def problem(entries: tuple[EntryPoint, ...]) -> str | None:
    """Say why entry points of one name can't be loaded, where the metadata tells."""
    if len(entries) > 1:
        owners = " and ".join(sorted(distribution(entry_point) for entry_point in entries))
        return f"{owners} both announce this name; uninstall one"
    if entries[0].pattern.match(entries[0].value) is None:
        return f"its entry point {entries[0].value!r} is not of the form 'module:name'"
    return None


def distribution(entry_point: EntryPoint) -> str:
    """Give name and version of the package that announces it."""
    found = _announcement(entry_point, None)
    return f"{found.distribution} {found.version}"


def _announcement(entry_point: EntryPoint, problem: str | None) -> Announcement:
    metadata: Any = entry_point.dist.metadata if entry_point.dist is not None else {}  # it may be a ruin
    name, version = metadata.get("Name", "unknown"), metadata.get("Version", "unknown")
    return Announcement(entry_point.name, name, version, problem)


def _read(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    invalidate_caches()
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry_point in _entry_points(group):
        found[entry_point.name] = (*found.get(entry_point.name, ()), entry_point)
    _cache[group] = found
    return found


def _entry_points(group: str) -> Iterable[EntryPoint]:
    try:
        return entry_points(group=group)
    except Exception:  # noqa: BLE001 - one package with junk in its metadata fails them all
        return _one_by_one(group)


def _one_by_one(group: str) -> Iterator[EntryPoint]:
    seen = set()
    for found in distributions():
        try:
            metadata: Any = found.metadata
            name, points = metadata.get("Name"), found.entry_points.select(group=group)
        except Exception:  # noqa: BLE001, S112 - it announces nothing that can be read
            continue
        if name not in seen:  # the first on the path is the one that is imported
            seen.add(name)
            yield from points


def _missing(entry_point: EntryPoint) -> str | None:
    return None if _is_findable(entry_point.module) else f"its module {entry_point.module!r} is not there"


def _is_findable(module: str) -> bool:
    """Look for a module without importing its parents, as importlib's own find_spec would."""
    path: Sequence[str] | None = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        specs = (finder.find_spec(name, path) for finder in sys.meta_path)
        try:
            spec = next((spec for spec in specs if spec is not None), None)
        except KeyError:  # a namespace package within another can't be found before that is imported
            return True
        if spec is None:
            return False
        path = spec.submodule_search_locations or ()
    return True
