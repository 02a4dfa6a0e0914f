"""What a plugin must not do, found when it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from .hookspecs import HOOKS, PROJECT, REQUIRED

if TYPE_CHECKING:
    pass
from .plugin import Plugin, refused


def marked_hooks(plugin: Plugin) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Find the hooks of a plugin; a function that is named like one but not marked is refused."""
    marked = {}
    for name in dir(plugin.implementation):
        function = _function(plugin.implementation, name)
        if function is None:
            continue
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is not None:
            marked[name] = (function, options)
        elif name in HOOKS and not _is_borrowed(plugin.implementation, function):
            raise refused(plugin, f"{name} is named like a hook but lacks @hookimpl")
    return marked


def _function(implementation: object, name: str) -> Callable[..., Any] | None:
    value = inspect.getattr_static(implementation, name, None)
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        value = value.__func__
    return value if inspect.isfunction(value) else None


def _is_borrowed(implementation: object, function: Callable[..., Any]) -> bool:
    return isinstance(implementation, ModuleType) and function.__module__ != implementation.__name__


def check_signature(plugin: Plugin, name: str, function: Callable[..., Any], *, wrapper: bool) -> None:
    """Raise PluginError unless a hook is a plain function that takes its arguments by name."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise refused(plugin, f"{name} is async; hooks are pure functions, the core does the input and output")
    if inspect.isgeneratorfunction(function) != wrapper:
        fault = "is a wrapper and must yield once" if wrapper else "yields, which only @hookimpl(wrapper=True) may"
        raise refused(plugin, f"{name} {fault}")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise refused(plugin, f"{name} takes {str(parameter)!r}; hooks take positional arguments by name")


def check_arguments(plugin: Plugin, name: str, offered: Sequence[str]) -> None:
    """Raise PluginError if a hook needs an argument that it is not `offered`."""
    for parameter in inspect.signature(getattr(plugin.implementation, name)).parameters.values():
        if parameter.name not in offered and parameter.default is parameter.empty:
            raise refused(plugin, f"{name} takes {parameter.name!r}; it may take {', '.join(offered)}")


def check_required(provider: Plugin) -> None:
    """Raise PluginError unless a provider has the hooks that every provider needs."""
    own = {
        options["specname"] or name
        for name, (_, options) in marked_hooks(provider).items()
        if not options["wrapper"] and not options["hookwrapper"]
    }
    if not own:
        raise refused(provider, "it has no hook; a provider is an installed one's name, or a plugin itself")
    for name in REQUIRED:
        if name not in own:
            raise refused(provider, f"it lacks the required hook {name}")


def check_wraps(extension: Plugin) -> None:
    """Raise PluginError if an extension has a hook that would replace the provider's."""
    for name, (_, options) in marked_hooks(extension).items():
        answers = not options["wrapper"] and not options["hookwrapper"]
        if answers and (options["specname"] or name) in HOOKS - {"observe", "hookspecs"}:
            raise refused(extension, f"{name} would replace the provider's; wrap it with @hookimpl(wrapper=True)")
