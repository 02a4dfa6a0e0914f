"""Assembly: a provider and the active extensions, joined by pluggy and kept for the next run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from .discovery import (
    nearest,
)
from .hookspecs import PROJECT, ExtensionHooks, ProviderHooks, hookimpl

if TYPE_CHECKING:
    from ..wire.transport import Transport
from .checks import check_arguments, check_required, check_signature, check_wraps, marked_hooks
from .hooks import Hooks
from .plugin import Passed, Plugin, broken, refused


def assemble(provider: Plugin, extensions: tuple[Plugin, ...] = ()) -> Hooks:
    """Join a provider and the active extensions; cached, since they cost the same each time.

    Raises PluginError, naming the plugin and its distribution, for everything that a
    plugin must not do (see the checks below).
    """
    join = _bind_passing if any(map(is_passing, extensions)) else _assemble
    hooks = join(provider, extensions)
    if provider.distribution is not None and hooks.info.name != provider.name:
        raise refused(provider, f"describe() says its name is {hooks.info.name!r}, not that of its entry point")
    return hooks


@lru_cache(maxsize=256)
def _assemble(provider: Plugin, extensions: tuple[Plugin, ...]) -> Hooks:
    return Hooks(_registered(provider, extensions).hook, provider, extensions)


def _registered(provider: Plugin, extensions: tuple[Plugin, ...]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ProviderHooks)
    manager.add_hookspecs(ExtensionHooks)
    for extension in extensions:
        _add_hookspecs(manager, extension)
    manager.register(_Innermost(), "providerkit")
    _register(manager, provider)
    check_required(provider)
    for extension in reversed(extensions):
        if not marked_hooks(extension):
            raise refused(extension, "it has no hook; mark its methods with @hookimpl")
        check_wraps(extension)
        _register(manager, extension)
    return manager


def is_passing(extension: Plugin) -> bool:
    """Return whether an extension is an object that was passed, maybe for this call, with the hooks of its class."""
    implementation = extension.implementation
    if extension.distribution is not None or isinstance(implementation, (ModuleType, Passed)):
        return False
    own = getattr(implementation, "__dict__", {}).values()
    return not any(map(inspect.isroutine, own)) and not hasattr(type(implementation), "hookspecs")


@attrs.frozen
class _Slot:
    """A function that a hook calls: of which extension, by place and attribute, or of what is always the same."""

    impl: Any
    place: int | None = None
    attribute: str = ""

    def of(self, extensions: tuple[Plugin, ...]) -> Any:
        """Return the function, in pluggy's form, of the extension in this place."""
        if self.place is None:
            return self.impl
        plugin: Any = extensions[self.place].implementation
        is_weak = isinstance(plugin, Passed)
        function = plugin.method(self.attribute) if is_weak else getattr(plugin, self.attribute)
        return _copied_impl(self.impl, plugin, function)


# By provider, and extensions or the classes of those that are passing: for each hook its caller and its functions.
_relays: dict[tuple[object, ...], dict[str, tuple[Any, list[_Slot]]]] = {}
MAX_RELAYS = 256
_bound: dict[tuple[object, ...], Hooks] = {}  # as long as the objects that were passed live, which it does not keep


def _bind_passing(provider: Plugin, extensions: tuple[Plugin, ...]) -> Hooks:
    """Assemble extensions that were passed, once for each object."""
    key = (provider._key(), *(item._key() for item in extensions))
    hooks = _bound.get(key)
    if hooks is None:
        held = tuple(_hold(item, key) if is_passing(item) else item for item in extensions)
        hooks = Hooks(_bound_relay(provider, extensions, held), provider, held)
        if not any(map(is_passing, held)):
            _bound[key] = hooks
    return hooks.holding(extensions)


def _hold(extension: Plugin, key: tuple[object, ...]) -> Plugin:
    """Return an extension that does not keep its object alive, if there can be one."""
    if not type(extension.implementation).__weakrefoffset__:
        return extension
    passed = Passed(extension.implementation, lambda _: _bound.pop(key, None))
    return Plugin(extension.name, passed, extension.distribution)


def _bound_relay(provider: Plugin, extensions: tuple[Plugin, ...], held: tuple[Plugin, ...]) -> Any:
    """Assemble once for each class of extension, and put the objects of this call in."""
    key = (provider, *((type(item.implementation), item.name) if is_passing(item) else item for item in extensions))
    found = _relays.get(key)
    if found is None:
        if len(_relays) >= MAX_RELAYS:
            _relays.clear()
        found = _relays[key] = _slots_of(_registered(provider, extensions), extensions)
    relay = pluggy.HookRelay()
    for name, (caller, slots) in found.items():
        setattr(relay, name, _copied_caller(caller, [slot.of(held) for slot in slots]))
    return relay


def _slots_of(manager: pluggy.PluginManager, extensions: tuple[Plugin, ...]) -> dict[str, tuple[Any, list[_Slot]]]:
    passing = {id(item.implementation): place for place, item in enumerate(extensions) if is_passing(item)}

    def slot_of(impl: Any) -> _Slot:
        place = passing.get(id(impl.plugin))
        if place is None:
            return _Slot(impl)
        function = getattr(impl.function, "__func__", impl.function)
        marked = marked_hooks(extensions[place])
        attribute = next(name for name, (static, _) in marked.items() if static is function)
        return _Slot(_copied_impl(impl, None, function), place, attribute)

    found = {
        name: (_copied_caller(caller, []), [slot_of(impl) for impl in caller.get_hookimpls()])
        for name, caller in vars(manager.hook).items()
    }
    for place in passing.values():
        manager.unregister(extensions[place].implementation)  # callers know their manager, which would keep it
    return found


def _copied_impl(impl: Any, plugin: object, function: Callable[..., Any]) -> Any:
    other = copy(impl)
    other.plugin, other.function = plugin, function
    return other


def _copied_caller(caller: Any, impls: list[Any]) -> Any:
    """Return a caller of the same hook with other functions, in pluggy's order; its list has no public name."""
    other = copy(caller)
    other._hookimpls = impls
    return other


class _Innermost:
    @hookimpl
    def wrap_transport(self, transport: Transport) -> Transport:
        return transport


def _add_hookspecs(manager: pluggy.PluginManager, extension: Plugin) -> None:
    if "hookspecs" not in marked_hooks(extension):
        return
    try:
        specs = extension.implementation.hookspecs()  # type: ignore[attr-defined]  # marked_hooks has seen it
        if specs is not None:
            manager.add_hookspecs(specs)
    except BaseException as error:  # noqa: BLE001 - the plugin boundary: specs may be anything
        failure = broken(
            extension.name, "its hookspecs can't be used", error, distribution=extension.distribution, hook="hookspecs"
        )
    else:
        return
    raise failure


def _register(manager: pluggy.PluginManager, plugin: Plugin) -> None:
    for name, (function, options) in marked_hooks(plugin).items():
        check_signature(plugin, name, function, wrapper=options["wrapper"] or options["hookwrapper"])
        hook = options["specname"] or name
        caller = getattr(manager.hook, hook, None)
        if (caller is None or not caller.has_spec()) and not options["optionalhook"]:
            near = nearest(hook, vars(manager.hook))
            raise refused(plugin, f"there is no hook {hook!r}" + (f"; did you mean {near!r}?" if near else ""))
        if caller is not None and caller.has_spec():
            check_arguments(plugin, name, caller.spec.argnames)
    try:
        manager.register(plugin.implementation, f"{plugin.name}.{len(manager.get_plugins())}")  # names may repeat
    except (pluggy.PluginValidationError, ValueError) as error:
        failure = refused(plugin, str(error).strip().replace("\n", "; "))
    else:
        return
    raise failure
