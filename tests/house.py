"""The house: the wings of providerkit, from the ground up, who may import what, and the drawing of it.

    python tests/house.py

writes docs/house.svg. tests/test_floors.py holds the code, and the drawing, to this table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

import attrs

import providerkit

CORE = Path(providerkit.__file__).parent
DRAWING = Path(__file__).parent.parent / "docs" / "house.svg"


@attrs.frozen
class Floor:
    """A floor of the house: its name, what is there, and the modules or packages it is made of."""

    name: str
    says: str
    rooms: tuple[str, ...]


FLOORS = (
    Floor("errors", "what can go wrong", ("errors",)),
    Floor("chat", "what is asked, and what comes back, as values", ("chat",)),
    Floor("wire", "what crosses the network, as bytes and values", ("wire",)),
    Floor("plugins", "who answers: hooks, and what implements them", ("plugins",)),
    Floor("engine", "how it is done: routes, attempts, clocks, sockets", ("engine",)),
    Floor("face", "what users hold", ("client", "conversation", "lookups", "runs", "sandboxes")),
    Floor("beside", "what stands on the public names", ("compat", "extensions", "testing")),
    Floor("cli", "the command line", ("cli",)),
)
ROOF = ("__init__", "__main__")
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor.rooms}

# No event loop, no socket and no clock.
PURE = ("chat", "wire", "plugins.hookspecs")
WORLDLY = frozenset({"asyncio", "aiohttp", "socket", "time", "random"})
# Who may import these, each with the modules below it.
ONLY = {
    "aiohttp": (
        "engine.network",
        "engine.aiohttp_seams",
        "engine.proxies",
        "engine.failures",
        "sandboxes",
        "testing",
    ),
    "pluggy": ("plugins.hookspecs", "plugins.hooks", "plugins.assembly", "plugins.checks"),
}


def is_in(module: str, places: tuple[str, ...]) -> bool:
    """Return whether a module is one of these places, or stands within one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


@attrs.frozen
class House:
    """The modules of a package by their names within it, and what each imports.

    Imports for type checking count. A name that comes from the package itself, as in
    `from providerkit import Run` and `providerkit.Run`, is an import of the module that it
    lives in, which `homes` says.
    """

    root: Path
    homes: dict[str, str]

    @property
    def paths(self) -> dict[str, Path]:
        """Return the file of each module; the template of a new provider is none of ours."""
        found = {path.relative_to(self.root).with_suffix("").parts: path for path in sorted(self.root.rglob("*.py"))}
        return {
            ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts): path
            for parts, path in found.items()
            if "new-provider" not in parts
        }

    def imports(self) -> dict[str, set[str]]:
        """Return what each module imports: names of ours within the package, and of others as they are."""
        paths = self.paths
        return {module: set(self._imports(module, path, paths)) for module, path in paths.items()}

    def _imports(self, module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
        name = self.root.name
        package = (name, *path.relative_to(self.root).parts[:-1])
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name != name:  # which names are used of it is seen below
                        yield alias.name.removeprefix(f"{name}.")
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else ()
                origin = ".".join((*base, *([node.module] if node.module else [])))
                for alias in node.names:
                    yield self._home(origin, alias.name, modules)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
                yield self.homes.get(node.attr, name)

    def _home(self, origin: str, imported: str, modules: dict[str, Path]) -> str:
        """Return the module that `from origin import imported` reads."""
        if origin == self.root.name:
            return imported if imported in modules else self.homes.get(imported, origin)
        inner = origin.removeprefix(f"{self.root.name}.")
        return f"{inner}.{imported}" if f"{inner}.{imported}" in modules else inner

    def upward(self) -> list[tuple[str, str]]:
        """Return each import of a higher floor."""
        return [
            (module, other)
            for module, others in self.imports().items()
            for other in sorted(others & set(self.paths))
            if _height(other) > _height(module)
        ]

    def circles(self) -> list[list[str]]:
        """Return each circle of imports, as the modules on the way round."""
        graph = {module: sorted(others & set(self.paths)) for module, others in self.imports().items()}
        found: list[list[str]] = []
        done: set[str] = set()

        def walk(module: str, way: list[str]) -> None:
            if module in way:
                found.append(way[way.index(module) :])
            elif module not in done:
                for other in graph[module]:
                    walk(other, [*way, module])
                done.add(module)

        for module in graph:
            walk(module, [])
        return found

    def worldly(self) -> list[tuple[str, str]]:
        """Return each import of an event loop, a socket or a clock by a module that is to know none."""
        return [
            (module, other)
            for module, others in self.imports().items()
            if is_in(module, PURE)
            for other in sorted(others)
            if other.partition(".")[0] in WORLDLY
        ]

    def strangers(self) -> list[tuple[str, str]]:
        """Return each import of a library by a module that is not among those that may."""
        return [
            (module, library)
            for library, allowed in ONLY.items()
            for module, others in self.imports().items()
            if library in {other.partition(".")[0] for other in others} and not is_in(module, allowed)
        ]

    def private(self) -> list[tuple[str, str]]:
        """Return each private name of a module of ours that another one imports, or reads from it."""
        found = []
        for module, path in self.paths.items():
            tree = ast.parse(path.read_text("utf-8"))
            ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and self._is_ours(node)]
            names = {alias.asname or alias.name for node in ours for alias in node.names}
            found += [(module, alias.name) for node in ours for alias in node.names if _is_private(alias.name)]
            found += [
                (module, f"{node.value.id}.{node.attr}")
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                if node.value.id in names and _is_private(node.attr)
            ]
        return found

    def _is_ours(self, node: ast.ImportFrom) -> bool:
        return bool(node.level) or (node.module or "").partition(".")[0] == self.root.name


def _height(module: str) -> int:
    return HEIGHT.get(module.partition(".")[0], len(FLOORS))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def core() -> House:
    """Return providerkit itself."""
    return House(CORE, dict(providerkit._HOMES))


# The drawing

WIDTH, LEFT, RIGHT = 720, 48, 672
ROW, GAP = 26, 6

STYLE = """\
    /* Within a page the drawing takes the page's colour; on its own, one that suits the system's. */
    svg:root { color: #1f2328; }
    @media (prefers-color-scheme: dark) { svg:root { color: #e6edf3; } }
    .house { font: 14px system-ui, sans-serif; fill: currentColor; }
    .house .wall, .house .room { fill: currentColor; fill-opacity: 0.05; stroke: currentColor; stroke-opacity: 0.35; }
    .house .room { fill-opacity: 0.1; }
    .house .roof, .house .ground { fill: none; stroke: currentColor; stroke-opacity: 0.6; stroke-width: 1.5; }
    .house .name { font: 13px ui-monospace, monospace; text-anchor: middle; }
    .house .wing { font-weight: 600; }
    .house .says { font-size: 13px; text-anchor: end; opacity: 0.8; }
    .house .aside { font-size: 13px; text-anchor: middle; opacity: 0.8; }"""


def rooms(house: House, floor: Floor) -> list[str]:
    """Return what is drawn on a floor: the modules of a wing, or the packages that share a floor."""
    if floor.rooms != (floor.name,):
        return list(floor.rooms)
    modules = [module for module in house.paths if module.startswith(f"{floor.name}.")]
    return [module.partition(".")[2] for module in modules] or [floor.name]


def draw(house: House) -> str:
    """Return the drawing, as SVG."""
    lines, top = [], 64
    for floor in reversed(FLOORS):
        drawn, height = _draw_floor(floor, rooms(house, floor), top)
        lines += drawn
        top += height + GAP
    ground = top + 2
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="house" viewBox="0 0 {WIDTH} {ground + 40}" role="img" \
aria-labelledby="house-title">
  <title id="house-title">The house: floors of modules, each of which imports only its own floor and lower ones</title>
  <style>
{STYLE}
  </style>
  <path class="roof" d="M 40 58 L 360 8 L 680 58 Z"/>
  <text class="aside" x="360" y="46">import providerkit: names, loaded on first use</text>
{chr(10).join(lines)}
  <line class="ground" x1="16" y1="{ground}" x2="704" y2="{ground}"/>
  <text class="aside" x="360" y="{ground + 24}">chat and wire know no event loop, no socket and no clock</text>
</svg>
"""


def _draw_floor(floor: Floor, names: list[str], top: int) -> tuple[list[str], int]:
    """Return the lines of one floor, and its height: rooms go on in another row at the wall."""
    boxes, x, y = [], LEFT + 12, top + 32
    for name in names:
        width = 8 * len(name) + 14
        if x + width > RIGHT - 12:
            x, y = LEFT + 12, y + ROW + GAP
        boxes += [
            f'    <rect class="room" x="{x}" y="{y}" width="{width}" height="{ROW}" rx="4"/>',
            f'    <text class="name" x="{x + width // 2}" y="{y + 18}">{escape(name)}</text>',
        ]
        x += width + GAP
    height = y + ROW + 8 - top
    return [
        f'  <g class="floor" id="floor-{floor.name}">',
        f'    <rect class="wall" x="{LEFT}" y="{top}" width="{RIGHT - LEFT}" height="{height}"/>',
        f'    <text class="wing" x="{LEFT + 12}" y="{top + 21}">{escape(floor.name)}</text>',
        f'    <text class="says" x="{RIGHT - 12}" y="{top + 21}">{escape(floor.says)}</text>',
        *boxes,
        "  </g>",
    ], height


if __name__ == "__main__":
    DRAWING.write_text(draw(core()), "utf-8")
