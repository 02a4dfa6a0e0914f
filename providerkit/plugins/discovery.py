"""What installed packages announce: read from their metadata, nothing imported.

A listing reads folders itself: importlib.metadata brings the email package, which takes
half as long again to import as click, and a listing on the command line needs no more than
two lines of each file. Where packages may lie elsewhere than in folders, and to load a
plugin, it is asked.
"""

# pathlib alone takes a tenth as long to import as click with all that it needs.
# ruff: noqa: PTH118, PTH113, PTH208, PTH123
from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import invalidate_caches
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

PROVIDERS = "providerkit.providers"
EXTENSIONS = "providerkit.extensions"

NONE_INSTALLED = {
    PROVIDERS: "none is installed; in a checkout of providerkit, run: pip install ./providers/koala",
    EXTENSIONS: "none is installed",
}

_cache: dict[str, dict[str, tuple[EntryPoint, ...]]] = {}


class Announcement(NamedTuple):
    """Say what one entry point announces; `problem` if it can't work."""

    name: str
    distribution: str
    version: str
    problem: str | None = None


def announcements(group: str = PROVIDERS) -> list[Announcement]:
    """List what is installed, by name; two packages that announce one name are both listed."""
    _forget_folders()
    found: dict[str, list[_Line]] = {}
    for line in _lines(group):
        found.setdefault(line.name, []).append(line)
    return [
        Announcement(name, line.distribution, line.version, _problem(lines) or _missing(line.value))
        for name, lines in sorted(found.items())
        for line in lines
    ]


def providers() -> list[str]:
    """Name the installed providers in alphabetical order, from metadata and without importing any of them.

    A broken one is among them: only loading it shows that. Empty if none is installed.
    """
    return installed(PROVIDERS)


def installed(group: str) -> list[str]:
    """Name what is installed, as it is now."""
    return sorted({line.name for line in _lines(group)})


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is meant by a mistyped one, None if none is like it; capital letters are small ones."""
    from difflib import get_close_matches  # only a mistake needs it

    small = {candidate.lower(): candidate for candidate in names}
    near = get_close_matches(name.lower(), small, n=1, cutoff=0.65)
    return small[near[0]] if near else None


def announced(group: str, name: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of one name, from the cache where it knows them; empty if there is none."""
    entries = _cache.get(group, {}).get(name)
    return _read(group).get(name, ()) if entries is None else entries  # it may have been installed since


def problem(entries: tuple[EntryPoint, ...]) -> str | None:
    """Say why entry points of one name can't be loaded, where the metadata tells."""
    return _problem([_line(entry_point) for entry_point in entries])


def distribution(entry_point: EntryPoint) -> str:
    """Return name and version of the package that announces it."""
    line = _line(entry_point)
    return f"{line.distribution} {line.version}"


def metadata_of(found: Distribution) -> Any:
    """Return the metadata of a package, empty if it is a ruin; the backport of importlib.metadata raises there."""
    try:
        return found.metadata or {}
    except FileNotFoundError:
        return {}


class _Line(NamedTuple):
    """One line of an entry_points.txt, and whose it is."""

    name: str
    value: str
    distribution: str
    version: str


# Entry points specification, packaging.python.org, read in November 2026: module, object, extras.
_VALUE = re.compile(r"[\w.]+\s*(:\s*[\w.]+\s*)?(\[.*\]\s*)?")


def _problem(lines: Sequence[_Line]) -> str | None:
    if len(lines) > 1:
        owners = " and ".join(sorted(f"{line.distribution} {line.version}" for line in lines))
        return f"{owners} both announce this name; uninstall one"
    if _VALUE.fullmatch(lines[0].value) is None:
        return f"its entry point {lines[0].value!r} is not of the form 'module:name'"
    return None


def _line(entry_point: EntryPoint) -> _Line:
    metadata = {} if entry_point.dist is None else metadata_of(entry_point.dist)
    name, version = metadata.get("Name", "unknown"), metadata.get("Version", "unknown")
    return _Line(entry_point.name, entry_point.value, name, version)


def _lines(group: str) -> list[_Line]:
    if not _is_all_in_folders():
        return [_line(entry_point) for entries in _read(group).values() for entry_point in entries]
    seen = set()
    lines = []
    for folder, info in _infos():
        name = re.sub(r"[-_.]+", "_", info.rpartition(".")[0].partition("-")[0]).lower()
        if name not in seen:  # the first on the path is the one that is imported
            seen.add(name)
            lines += _announced_in(os.path.join(folder, info), group)
    return lines


def _is_all_in_folders() -> bool:
    """Return whether no package can be in an archive, an egg, or where only another finder knows."""
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    # The backport, which much else imports, puts its own finder in the place of PathFinder's; it finds the same.
    known = all(finder is PathFinder or type(finder).__module__ == "importlib_metadata" for finder in finders)
    return known and not any(path.endswith(".egg") or os.path.isfile(path) for path in import_folders())


def import_folders() -> list[str]:
    """Return the entries of sys.path that the import system reads: it passes over all that are not strings."""
    return [path for path in sys.path if isinstance(path, str)]


def _infos() -> Iterator[tuple[str, str]]:
    for folder in import_folders():
        try:
            names = os.listdir(folder or ".")
        except OSError:  # it is not there
            continue
        yield from ((folder, name) for name in names if name.endswith((".dist-info", ".egg-info")))


def _announced_in(info: str, group: str) -> list[_Line]:
    text = _text(info, "entry_points.txt")
    if f"[{group}]" not in text:
        return []
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if not all(line[0] == "[" or "=" in line for line in lines):  # junk, of which importlib reads nothing either
        return []
    pairs = [line.partition("=") for line in _section(lines, f"[{group}]")]
    head = _text(info, "METADATA") or _text(info, "PKG-INFO")
    fields = dict(re.findall(r"^(Name|Version): *(.*?) *$", head.partition("\n\n")[0], re.MULTILINE))
    owner = fields.get("Name", "unknown"), fields.get("Version", "unknown")
    return [_Line(name.strip(), value.strip(), *owner) for name, _, value in pairs]


def _section(lines: Iterable[str], head: str) -> Iterator[str]:
    within = False
    for line in lines:
        if line[0] == "[":
            within = line == head
        elif within:
            yield line


def _text(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _forget_folders() -> None:
    """Have folders read again, as `invalidate_caches` does, which however imports importlib.metadata."""
    for finder in list(sys.path_importer_cache.values()):
        forget = getattr(finder, "invalidate_caches", None)
        if forget is not None:
            forget()


def _read(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    invalidate_caches()
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry_point in _entry_points(group):
        found[entry_point.name] = (*found.get(entry_point.name, ()), entry_point)
    _cache[group] = found
    return found


def _entry_points(group: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # see above

    if import_folders() != sys.path:  # it would fail, or find what can't be imported
        return _one_by_one(group)
    try:
        return entry_points(group=group)
    except Exception:  # noqa: BLE001 - one package with junk in its metadata fails them all
        return _one_by_one(group)


def _one_by_one(group: str) -> Iterator[EntryPoint]:
    from importlib.metadata import distributions  # see above

    seen = set()
    for found in distributions(path=import_folders()):
        try:
            metadata: Any = found.metadata
            name, points = metadata.get("Name"), found.entry_points.select(group=group)
        except Exception:  # noqa: BLE001, S112 - it announces nothing that can be read
            continue
        if name not in seen:  # the first on the path is the one that is imported
            seen.add(name)
            yield from points


def _missing(value: str) -> str | None:
    module = re.split(r"[\s:\[]", value, maxsplit=1)[0]
    return None if _is_findable(module) else f"its module {module!r} is not there"


def _is_findable(module: str) -> bool:
    """Look for a module without importing its parents, as importlib's own find_spec would."""
    path: Sequence[str] | None = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        specs = (finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        try:
            spec = next((spec for spec in specs if spec is not None), None)
        except KeyError:  # a namespace package within another can't be found before that is imported
            return True
        if spec is None:
            return False
        path = spec.submodule_search_locations or ()
    return True
