"""The state of one run: what every attempt and every round of tools shares.

Observers are asked for once and told the end once, the transport is wrapped once, and
`total` counts from the first attempt to the last, however many rounds there are.
"""

from __future__ import annotations

from collections.abc import Callable

from ..chat.options import Chat
from ..chat.replies import Attempt
from ..errors import PluginError, ProviderKitError
from ..plugins.boundary import claim, describe
from . import blocking
from .observers import Observers
from .plan import Bound
from .targets import finalize_error


class RunState:
    """One run, from its start to its end; `chat` is what is asked, None if the operation is not a chat.

    `attempts` is the list that they are noted in.
    """

    def __init__(
        self, bound: Bound, operation: str, chat: Chat | None = None, attempts: list[Attempt] | None = None
    ) -> None:
        first = bound.first
        self.bound = bound
        self.process = blocking.process()
        self.attempts: list[Attempt] = [] if attempts is None else attempts
        self.started: float | None = None
        self.error: ProviderKitError | None = None
        self._is_told = False
        try:
            self.observers = Observers(first.hooks.observe(chat, first.model, operation))
            self.transport = first.hooks.wrap_transport(bound.network)
        except ProviderKitError as error:
            raise finalize_error(error, first) from None

    def start(self) -> float:
        """Return when the run started, on its clock: now, if it had not."""
        if self.started is None:
            self.started = self.bound.clock.now()
        return self.started

    def broken(self, error: BaseException) -> PluginError:
        """Return the error of what neither a plugin nor a tool has raised; the caller's own is raised again."""
        return PluginError(f"the run broke, in the Client's clock if that is not the default: {describe(claim(error))}")

    def tell_end(self, answer: Callable[[], object]) -> None:
        """Tell the observers, once, how a run that started here has ended; `answer` returns None if there is none."""
        if self._is_told or self.started is None or self.process != blocking.process():
            return
        self._is_told = True
        if not self.observers:  # an answer takes time to make
            return
        said = None if self.error is not None else answer()
        if said is None:
            self.observers.tell("error", self.error)
        else:
            self.observers.tell("finish", said)
