"""Serve a provider's own sandbox on loopback.

A sandbox is the plugin's imitation of its provider: it speaks the same wire, and is not
the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engine import blocking as sync
from .errors import ConfigurationError
from .plugins.assembly import assemble
from .plugins.loading import find_provider

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler
    from aiohttp.web import AppRunner, Request, StreamResponse


class Sandbox:
    """Serve a provider's sandbox while the context lasts, async or blocking; entering gives its base URL.

    `port` 0 takes a free one. Raises ConfigurationError where the plugin has no sandbox
    or the port can't be had.
    """

    def __init__(self, provider: str | object, *, port: int = 0) -> None:
        self._hooks = assemble(find_provider(provider))
        self._port = port
        self._runner: AppRunner | None = None

    def __repr__(self) -> str:
        return f"<Sandbox of {self._hooks.info.name}: enter it by `with`, which gives its base URL>"

    async def __aenter__(self) -> str:
        if self._runner is not None:
            raise ConfigurationError("this sandbox is being served already; make another one")
        from aiohttp import web  # a third of a second to import, and only who serves needs it

        application = self._hooks.sandbox(web.Application)
        name = self._hooks.info.name
        if application is None:
            raise ConfigurationError(f"{name} brings no sandbox; see `providerkit providers` for others")
        if not application.frozen:  # it may be one that has been served before
            application.middlewares.append(web.middleware(_answer))
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"the sandbox of {name} can't have port {self._port}: {reason}") from None
        self._runner = runner
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def __aexit__(self, *failure: object) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def __enter__(self) -> str:
        import aiohttp.web  # noqa: F401 - here, rather than on the event loop of blocking calls

        return sync.call(self.__aenter__())

    def __exit__(self, *failure: object) -> None:
        sync.call(self.__aexit__())


def sandbox(provider: str | object, *, port: int = 0) -> Sandbox:
    """Imitate a provider on loopback: `with providerkit.sandbox("koala") as base_url: ...`.

    It is the plugin's own imitation, which speaks the provider's wire; it is not the service.
    `async with` serves it on the running event loop, which a blocking call to it would hold
    up until a clock fires, `with` on the thread of blocking calls, where it serves both;
    `port` 0 takes a free one. Raises UnknownProvider or PluginError here, and as it starts
    ConfigurationError where the plugin has no sandbox or the port can't be had.
    """
    return Sandbox(provider, port=port)


async def _answer(request: Request, handler: Handler) -> StreamResponse:
    """Handle a request; that its client has left is no error, which aiohttp would log."""
    from aiohttp import web  # loaded by now

    try:
        return await handler(request)
    except ConnectionResetError:
        return web.Response()  # nobody gets it
