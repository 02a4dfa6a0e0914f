"""A conversation: a chat that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from .chat.messages import Message
from .chat.openai_form import Prompt, parse_messages
from .engine.plan import RunOptions, check_known, find_route, reusable
from .errors import InvalidOption, RunConsumed
from .runs import Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .client import Client


class Conversation:
    """Remember a chat: each `send` asks with all that was said before.

    The options it was made with hold for every send.
    """

    def __init__(self, client: Client, options: RunOptions) -> None:
        plugin, model = find_route(options)
        self._route = "/".join(filter(None, (plugin.name, model)))
        self._client = client
        self._options = reusable(options)
        self._messages: list[Message] = []
        self._running: Run | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Give the turns so far, the user's and the assistant's."""
        return tuple(self._messages)

    def send(self, message: Prompt, *, rounds: int = 10, **options: Unpack[RunOptions]) -> Run:
        """Ask with all that was said before; `options` are those of `run`, for this send alone.

        `message` may be several, as in `run`. The history is read when the Run starts, and
        grows by all turns when it has finished; an answer without text and tool calls is not
        a turn. A Run that fails or is abandoned leaves it as it was. Starting a second one
        while one runs raises RunConsumed; an unknown option is a TypeError.

        Tools that were made of functions are run where the model asks for them, those of one
        answer side by side, and it is asked again with what they said: at most `rounds`
        times, after which its calls are yours, as they are where `rounds` is 0. A tool that
        raises tells the model so. The Reply is the last answer; `events()` gives a ToolResult
        for each tool, and `messages` keeps all turns.
        """
        check_known(options, RunOptions, "send")
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
            raise InvalidOption(f"rounds is {rounds!r}; it takes a whole number, 0 or above", option="rounds")
        return self._client._ask(parse_messages(message), {**self._options, **options}, self, rounds)

    def copy(self) -> Conversation:
        """Return a Conversation that goes on from here by itself; a send that is still running is not part of it.

        Both ask through the same Client. `copy.copy` and `copy.deepcopy` do the same.
        """
        other = Conversation(self._client, self._options)
        other._messages = list(self._messages)
        return other

    def __copy__(self) -> Conversation:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Conversation:
        return self.copy()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Conversation holds connections, so it can't be pickled; pickle its messages")

    def reset(self) -> None:
        """Forget what was said."""
        self._messages.clear()

    def __repr__(self) -> str:
        """Say whom it asks and how much it remembers."""
        return f"<Conversation {self._route}: {len(self._messages)} messages; send() asks>"

    def _repr_markdown_(self) -> str:
        """Show the turns so far in a notebook, the Markdown of each as it is."""
        return "\n\n".join(f"**{turn.role}**\n\n{turn.text}" for turn in self._messages) or "*nothing was said yet*"

    def __iter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: for text in chat.send("Hello")')

    def __aiter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: async for text in chat.send("Hello")')

    def __await__(self) -> NoReturn:
        raise TypeError('a Conversation is not awaited; ask it: reply = await chat.send("Hello")')

    def __getattr__(self, name: str) -> NoReturn:
        advice = f'; ask it: chat.send("Hello").{name}' if hasattr(Run, name) else ""
        raise AttributeError(f"a Conversation has no {name!r}{advice}", name=name, obj=self)

    def _begin(self, run: Run) -> None:
        if self._running is not None and not self._running._is_abandoned():
            raise RunConsumed("another send of this Conversation is still running; finish or close it first")
        self._running = run

    def _commit(self, run: Run) -> None:
        self._messages += (turn for turn in run._turns if turn.role != "assistant" or turn.text or turn.tool_calls)

    def _release(self, run: Run) -> None:
        if self._running is run:
            self._running = None
