"""Plugins: loaded one by one, each behind a fence of its own.

Only the plugin that is named is imported; a broken one touches no other. `Hooks` is the
typed face of pluggy: nothing else of the core calls it.
"""

from __future__ import annotations

import inspect
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import lru_cache
from json import JSONDecodeError
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import attrs
import pluggy

from .boundary import claim, describe
from .discovery import EXTENSIONS, NONE_INSTALLED, PROVIDERS, announced, distribution, installed, nearest, problem
from .errors import (
    Argument,
    ConfigurationError,
    InvalidOption,
    MissingAPIKey,
    PluginError,
    ProviderError,
    ProviderKitError,
    StreamError,
    Text,
    UnknownExtension,
    UnknownModel,
    UnknownProvider,
    UnsupportedFeature,
)
from .hookspecs import HOOKS, PROJECT, REQUIRED, ExtensionHooks, Observer, ProviderHooks, hookimpl
from .messages import Chat, Model, ProviderInfo
from .wire import Decoder, Endpoint, Request, ResponseHead

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .transport import Transport

EXTENSIONS_VARIABLE = "PROVIDERKIT_EXTENSIONS"
_UNREADABLE = (JSONDecodeError, UnicodeDecodeError, RecursionError)  # what parsers raise for a body, whoever wrote them

T = TypeVar("T")

_loaded: dict[tuple[str, str], Plugin] = {}
_lock = threading.RLock()
_active: ContextVar[tuple[object, ...]] = ContextVar("providerkit_extensions", default=())


@attrs.frozen(eq=False)
class Plugin:
    """Hold a loaded plugin and where it came from; equal where that is the same, too."""

    name: str
    implementation: object
    distribution: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plugin) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return id(self.implementation), self.name, self.distribution


def load(group: str, name: str) -> Plugin:
    """Import the one plugin of that name, once.

    Raises UnknownProvider or UnknownExtension where none is installed, PluginError where it
    can't be loaded, with its distribution and the cause.
    """
    if (group, name) not in _loaded:
        entries = announced(group, name)
        if not entries:
            raise _unknown(group, name)
        _loaded.setdefault((group, name), _load(name, entries))  # another thread may have been faster
    return _loaded[group, name]


def _unknown(group: str, name: str) -> ProviderKitError:
    names = tuple(installed(group))
    what, error = ("provider", UnknownProvider) if group == PROVIDERS else ("extension", UnknownExtension)
    near = nearest(name, names)
    advice: list[Text] = [f"; did you mean {near!r}?"] if near else []
    if group == PROVIDERS and name.partition("/")[0] in names:
        advice = ["; did you mean ", Argument("model", name), "?"]
    found = f"installed are: {', '.join(names)}" if names else NONE_INSTALLED[group]
    return error(f"there is no {what} {name!r}; {found}", *advice, name=name, installed=names)


def _load(name: str, entries: tuple[EntryPoint, ...]) -> Plugin:
    origin = distribution(entries[0])
    fault = problem(entries)
    if fault is not None:
        raise _refused(Plugin(name, None, origin), fault)
    try:
        implementation = entries[0].load()
    except BaseException as error:  # noqa: BLE001 - the plugin boundary: an import may raise anything
        failure = broken(name, "it can't be imported", error, distribution=origin)
    else:
        return _plugin(name, implementation, origin)
    raise failure


def _plugin(name: str, implementation: Any, distribution: str | None = None) -> Plugin:
    """Take an instance or a module as it is, and instantiate a class, once."""
    if not isinstance(implementation, type):
        return Plugin(name, implementation, distribution)
    with _lock:
        lock = _lock_of(implementation)  # its own: a slow constructor holds up nobody else
    failure: ConfigurationError
    try:
        with lock:
            return Plugin(name, _instance_of(implementation), distribution)
    except InvalidOption as error:  # it says what it wants to be told
        failure = error
    except BaseException as error:  # noqa: BLE001 - the plugin boundary: a constructor may raise anything
        failure = broken(name, "it can't be instantiated", error, distribution=distribution)
    raise failure


@lru_cache(maxsize=256)
def _lock_of(kind: type) -> threading.RLock:
    return threading.RLock()


@lru_cache(maxsize=256)
def _instance_of(kind: type) -> object:
    return kind()


def broken(
    plugin: str,
    what: str,
    error: BaseException,
    *,
    distribution: str | None = None,
    hook: str | None = None,
) -> PluginError:
    """Return the error that blames a plugin for an exception, whose traceback becomes a note.

    It is not chained: a chained traceback can't be redacted. Raises the exception again if
    it is the caller's own, an interrupt or a cancellation.
    """
    claim(error)
    origin = f" ({distribution})" if distribution else ""
    failure = PluginError(
        f"plugin {plugin!r}{origin}: {what}: {describe(error)}",
        plugin=plugin,
        distribution=distribution,
        hook=hook,
    )
    failure.add_note("".join(traceback.format_exception(error)).rstrip())
    return failure


@contextmanager
def activate(*extensions: str | object) -> Iterator[None]:
    """Make extensions active for every run that starts within the block.

    They are names of installed extensions, or objects; a run sees those named by the call
    or its Client first, then those of the environment, then these: the first is outermost.
    A name that is not installed is an UnknownExtension of the run that would use it.
    """
    token = _active.set((*_active.get(), *extensions))
    try:
        yield
    finally:
        _active.reset(token)


def active_extensions(named: Iterable[str | object]) -> tuple[Plugin, ...]:
    """Load the extensions of a run that names these, outermost first, each of them once."""
    variable = os.environ.get(EXTENSIONS_VARIABLE, "")
    of_environment = (name.strip() for name in variable.split(",") if name.strip())
    wanted = (named,) if isinstance(named, str) else named
    if not isinstance(wanted, (tuple, Iterable)):
        raise InvalidOption(
            Argument("extensions"), f" is {wanted!r}; it takes a list of names and objects", option="extensions"
        )
    found: dict[int, Plugin] = {}
    for item in (*wanted, *of_environment, *_active.get()):
        plugin = _extension(item)
        found.setdefault(id(plugin.implementation), plugin)
    return tuple(found.values())


def _extension(item: str | object) -> Plugin:
    return load(EXTENSIONS, item) if isinstance(item, str) else _plugin(_name_of(item), item)


def find_provider(provider: str | object) -> Plugin:
    """Load a provider by its installed name, or take the class, instance or module that was passed."""
    if isinstance(provider, Plugin):
        return provider
    return load(PROVIDERS, provider) if isinstance(provider, str) else _plugin(_name_of(provider), provider)


def _name_of(implementation: object) -> str:
    return getattr(implementation, "__name__", type(implementation).__name__)


def assemble(provider: Plugin, extensions: tuple[Plugin, ...] = ()) -> Hooks:
    """Join a provider and the active extensions; cached, since they cost the same each time.

    Raises PluginError, naming the plugin and its distribution, for everything that a
    plugin must not do (see the checks below).
    """
    if any(map(_is_passing, extensions)):
        key = (provider._key(), *(item._key() for item in extensions))
        hooks = _bound.get(key) or Hooks(_bound_relay(provider, extensions), provider, extensions)
        _bound[key] = hooks
    else:
        hooks = _assemble(provider, extensions)
    if provider.distribution is not None and hooks.info.name != provider.name:
        raise _refused(provider, f"describe() says its name is {hooks.info.name!r}, not that of its entry point")
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
    _check_required(provider)
    for extension in reversed(extensions):
        if not _marked(extension):
            raise _refused(extension, "it has no hook; mark its methods with @hookimpl")
        _check_wraps(extension)
        _register(manager, extension)
    return manager


def _is_passing(extension: Plugin) -> bool:
    """Return whether an extension is an object that was passed, maybe for this call, with the hooks of its class."""
    implementation = extension.implementation
    if extension.distribution is not None or isinstance(implementation, ModuleType):
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
        plugin = extensions[self.place].implementation
        return _copied_impl(self.impl, plugin, getattr(plugin, self.attribute))


# By provider, and extensions or the classes of those that are passing: for each hook its caller and its functions.
_relays: dict[tuple[object, ...], dict[str, tuple[Any, list[_Slot]]]] = {}
MAX_RELAYS = 256
_bound: WeakValueDictionary[tuple[object, ...], Hooks] = WeakValueDictionary()  # while a call holds them


def _bound_relay(provider: Plugin, extensions: tuple[Plugin, ...]) -> Any:
    """Assemble once for each class of extension, and put the objects of this call in, which are not kept."""
    key = (provider, *((type(item.implementation), item.name) if _is_passing(item) else item for item in extensions))
    found = _relays.get(key)
    if found is None:
        if len(_relays) >= MAX_RELAYS:
            _relays.clear()
        found = _relays[key] = _slots_of(_registered(provider, extensions), extensions)
    relay = pluggy.HookRelay()
    for name, (caller, slots) in found.items():
        setattr(relay, name, _copied_caller(caller, [slot.of(extensions) for slot in slots]))
    return relay


def _slots_of(manager: pluggy.PluginManager, extensions: tuple[Plugin, ...]) -> dict[str, tuple[Any, list[_Slot]]]:
    passing = {id(item.implementation): place for place, item in enumerate(extensions) if _is_passing(item)}

    def slot_of(impl: Any) -> _Slot:
        place = passing.get(id(impl.plugin))
        if place is None:
            return _Slot(impl)
        function = getattr(impl.function, "__func__", impl.function)
        marked = _marked(extensions[place])
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


def _refused(plugin: Plugin, reason: str) -> PluginError:
    origin = f" ({plugin.distribution})" if plugin.distribution else ""
    return PluginError(
        f"plugin {plugin.name!r}{origin}: {reason}", plugin=plugin.name, distribution=plugin.distribution
    )


def _add_hookspecs(manager: pluggy.PluginManager, extension: Plugin) -> None:
    if "hookspecs" not in _marked(extension):
        return
    try:
        specs = extension.implementation.hookspecs()  # type: ignore[attr-defined]  # _marked has seen it
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
    for name, (function, options) in _marked(plugin).items():
        _check_signature(plugin, name, function, wrapper=options["wrapper"] or options["hookwrapper"])
        hook = options["specname"] or name
        caller = getattr(manager.hook, hook, None)
        if (caller is None or not caller.has_spec()) and not options["optionalhook"]:
            near = nearest(hook, vars(manager.hook))
            raise _refused(plugin, f"there is no hook {hook!r}" + (f"; did you mean {near!r}?" if near else ""))
        if caller is not None and caller.has_spec():
            _check_arguments(plugin, name, caller.spec.argnames)
    try:
        manager.register(plugin.implementation, f"{plugin.name}.{len(manager.get_plugins())}")  # names may repeat
    except (pluggy.PluginValidationError, ValueError) as error:
        failure = _refused(plugin, str(error).strip().replace("\n", "; "))
    else:
        return
    raise failure


def _marked(plugin: Plugin) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
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
            raise _refused(plugin, f"{name} is named like a hook but lacks @hookimpl")
    return marked


def _function(implementation: object, name: str) -> Callable[..., Any] | None:
    value = inspect.getattr_static(implementation, name, None)
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        value = value.__func__
    return value if inspect.isfunction(value) else None


def _is_borrowed(implementation: object, function: Callable[..., Any]) -> bool:
    return isinstance(implementation, ModuleType) and function.__module__ != implementation.__name__


def _check_signature(plugin: Plugin, name: str, function: Callable[..., Any], *, wrapper: bool) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _refused(plugin, f"{name} is async; hooks are pure functions, the core does the input and output")
    if inspect.isgeneratorfunction(function) != wrapper:
        fault = "is a wrapper and must yield once" if wrapper else "yields, which only @hookimpl(wrapper=True) may"
        raise _refused(plugin, f"{name} {fault}")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise _refused(plugin, f"{name} takes {str(parameter)!r}; hooks take positional arguments by name")


def _check_arguments(plugin: Plugin, name: str, offered: Sequence[str]) -> None:
    for parameter in inspect.signature(getattr(plugin.implementation, name)).parameters.values():
        if parameter.name not in offered and parameter.default is parameter.empty:
            raise _refused(plugin, f"{name} takes {parameter.name!r}; it may take {', '.join(offered)}")


def _check_required(provider: Plugin) -> None:
    own = {
        options["specname"] or name
        for name, (_, options) in _marked(provider).items()
        if not options["wrapper"] and not options["hookwrapper"]
    }
    if not own:
        raise _refused(provider, "it has no hook; a provider is an installed one's name, or a plugin itself")
    for name in REQUIRED:
        if name not in own:
            raise _refused(provider, f"it lacks the required hook {name}")


def _check_wraps(extension: Plugin) -> None:
    for name, (_, options) in _marked(extension).items():
        answers = not options["wrapper"] and not options["hookwrapper"]
        if answers and (options["specname"] or name) in HOOKS - {"observe", "hookspecs"}:
            raise _refused(extension, f"{name} would replace the provider's; wrap it with @hookimpl(wrapper=True)")


class Hooks:
    """Ask one provider, through the active extensions, and check what it answers.

    Every method raises PluginError where a hook raises something of its own or gives a
    wrong type; errors of providerkit pass through.
    """

    def __init__(self, relay: Any, provider: Plugin, extensions: tuple[Plugin, ...] = ()) -> None:
        self._relay = relay
        self._provider = provider
        self._plugins = {id(plugin.implementation): plugin for plugin in (provider, *extensions)}
        # Mostly nobody answers these, and pluggy takes a microsecond each time to find that out.
        self._is_observed = bool(relay.observe.get_hookimpls())
        self._is_wrapped = len(relay.wrap_transport.get_hookimpls()) > 1
        self.info: ProviderInfo = self._ask(ProviderInfo, "describe")

    def resolve_model(self, name: str | None) -> Model:
        """Say which model is meant; an empty name is the default."""
        return self._ask(Model, "resolve_model", name=name or None)

    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Make the HTTP request."""
        return self._ask(Request, "build_request", chat=chat, model=model, endpoint=endpoint)

    def parse_stream(self, head: ResponseHead, model: Model) -> Decoder:
        """Return a fresh decoder."""
        decoder: Decoder = self._answer("parse_stream", "Decoder", _is_decoder, head=head, model=model)
        return decoder

    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        """Return the typed error of an answer that is none; None if the provider knows none, or can't read it.

        An error that the hook raises counts as one that it returns.
        """
        error: ProviderError | None = None
        try:
            error = self._ask_optional(ProviderError, "parse_error", head=head, body=body)
        except ProviderError as raised:
            error = raised
        except StreamError:  # of a gateway's page, say: it must not hide the error of its status
            pass
        return error

    def build_models_request(self, endpoint: Endpoint) -> Request | None:
        """Make the request that lists models; None where the provider can't be asked."""
        request: Request | None = self._ask_optional(Request, "build_models_request", endpoint=endpoint)
        return request

    def parse_models(self, head: ResponseHead, body: bytes) -> tuple[Model, ...]:
        """Read the list of models."""
        models = self._ask(list, "parse_models", head=head, body=body)
        for model in models:
            if not isinstance(model, Model):
                raise self._mistyped("parse_models", "Model", model)
        return tuple(models)

    def sandbox(self, kind: type[T]) -> T | None:
        """Give the provider's own imitation; None where it has none.

        `kind` is aiohttp's Application, which only who serves one imports.
        """
        application: T | None = self._ask_optional(kind, "sandbox")
        return application

    def observe(self, chat: Chat, model: Model) -> list[Observer]:
        """Give the observers of one run."""
        if not self._is_observed:
            return []
        return self._ask(list, "observe", chat=chat, model=model)

    def wrap_transport(self, transport: Transport) -> Transport:
        """Give the transport, wrapped by the active extensions."""
        if not self._is_wrapped:
            return transport
        wanted = "a Transport, which has a method send"
        wrapped: Transport = self._answer("wrap_transport", wanted, _is_transport, transport=transport)
        return wrapped

    def _ask(self, kind: type[T], hook: str, **facts: object) -> T:
        answer: T = self._answer(hook, kind.__name__, lambda answer: isinstance(answer, kind), **facts)
        return answer

    def _ask_optional(self, kind: type[T], hook: str, **facts: object) -> T | None:
        wanted = (kind, type(None))
        answer: T | None = self._answer(hook, kind.__name__, lambda answer: isinstance(answer, wanted), **facts)
        return answer

    def _answer(self, hook: str, wanted: str, is_wanted: Callable[[Any], bool], **facts: object) -> Any:
        """Ask a hook, and look at its answer, which is code of others as well: it may have properties."""
        try:
            answer = getattr(self._relay, hook)(hook=self._relay, **facts)
            if is_wanted(answer):
                return answer
            failure = self._mistyped(hook, wanted, answer)
        except ProviderKitError as error:
            if not isinstance(error, PluginError) or error.plugin is not None:
                if hook != "describe":
                    self._introduce(error)
                raise
            failure = self._failed(hook, error)
        except BaseException as error:  # noqa: BLE001 - the plugin boundary: a hook may raise anything
            if hook == "parse_error" and isinstance(error, _UNREADABLE):
                return None
            failure = self._failed(hook, error)
        raise failure

    def _introduce(self, error: ProviderKitError) -> None:
        """Name the provider in an error that is about it."""
        if isinstance(error, MissingAPIKey | UnknownModel | UnsupportedFeature) and error.provider is None:
            error.provider = self.info.name
            if isinstance(error, MissingAPIKey):
                error.variable = self.info.api_key_env

    def _mistyped(self, hook: str, wanted: str, answer: object) -> PluginError:
        """Blame the innermost plugin that was asked, and name those that could have changed its answer."""
        impls = getattr(self._relay, hook).get_hookimpls()
        asked = [self._plugins[id(impl.plugin)] for impl in reversed(impls) if id(impl.plugin) in self._plugins]
        wrapped = f" (asked through {', '.join(plugin.name for plugin in asked)})" if len(asked) > 1 else ""
        culprit = asked[-1] if asked else self._provider
        failure = _refused(culprit, f"{hook} gave {type(answer).__name__}, not {wanted}{wrapped}")
        failure.hook = hook
        return failure

    def _failed(self, hook: str, error: BaseException) -> PluginError:
        return self.failed(f"{hook} raised", error, hook)

    def failed(self, what: str, error: BaseException, hook: str | None = None) -> PluginError:
        """Blame the plugin whose code was the last to be entered: one of its hooks, or its module."""
        impls = [impl for caller in vars(self._relay).values() for impl in caller.get_hookimpls()]
        hooks = {impl.function.__code__: self._plugins.get(id(impl.plugin)) for impl in impls}
        modules = {type(plugin.implementation).__module__: plugin for plugin in self._plugins.values()}
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        entered = (
            hooks.get(frame.f_code) or modules.get(str(frame.f_globals.get("__name__"))) for frame in reversed(frames)
        )
        culprit = next(filter(None, entered), self._provider)
        return broken(culprit.name, what, error, distribution=culprit.distribution, hook=hook)


def _is_decoder(answer: object) -> bool:
    """Return whether it is a Decoder; isinstance, of a protocol, takes ten times as long."""
    return hasattr(answer, "feed") and hasattr(answer, "close") and hasattr(answer, "ended")


def _is_transport(answer: object) -> bool:
    return callable(getattr(answer, "send", None))
