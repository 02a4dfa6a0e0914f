"""A conversation: a chat that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from .chat.messages import Message
from .chat.openai_form import Prompt, parse_messages
from .chat.parts import ReasoningPart
from .engine.plan import Plan, RunOptions, check_known
from .engine.signatures import named_options
from .errors import RunConsumed
from .runs import Run

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Conversation:
    """A chat that remembers: each `send` asks with all that was said before.

    The options it was made with hold for every send.
    """

    def __init__(self, plan: Plan, messages: tuple[Message, ...] = ()) -> None:
        self._plan = plan
        self._history = _History(messages)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return the turns so far, the user's and the assistant's."""
        return self._history.messages

    @named_options(RunOptions)
    def send(self, message: Prompt, **options: Unpack[RunOptions]) -> Run:
        """Ask with all that was said before; `options` are those of `run`, for this send alone.

        `message` may be several, as in `run`. The history is read when the Run starts, and
        grows by all turns when it has finished; an answer that says nothing is not a turn. A
        Run that fails or is abandoned leaves it as it was. Starting a second one while one
        runs raises RunConsumed; an unknown option is a TypeError.

        Tools that were made of functions are executed when the model asks for them, those of
        one answer side by side, and it is asked again with what they said: at most `rounds`
        times, after which its calls are yours, as they are if `rounds` is 0. A tool that
        raises tells the model so. The Reply is the last answer; `events()` gives a ToolResult
        for each tool, and `messages` keeps all turns.
        """
        check_known(options, RunOptions, "send")
        return Run(self._plan.with_options(options), parse_messages(message), self._history)

    def copy(self) -> Conversation:
        """Return a Conversation that goes on from here by itself; a send that is still running is not part of it.

        Both ask through the same Client. `copy.copy` and `copy.deepcopy` do the same.
        """
        return Conversation(self._plan, self.messages)

    def __copy__(self) -> Conversation:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Conversation:
        return self.copy()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Conversation holds connections, so it can't be pickled; pickle its messages")

    def reset(self) -> None:
        """Forget what was said."""
        self._history.messages = ()

    def __repr__(self) -> str:
        """Say whom it asks and how much it remembers."""
        return f"<Conversation {self._plan.name}: {len(self.messages)} messages; send() asks>"

    def _repr_markdown_(self) -> str:
        """Show the turns so far in a notebook, the Markdown of each as it is."""
        return "\n\n".join(f"**{turn.role}**\n\n{turn.text}" for turn in self.messages) or "*nothing was said yet*"

    def __iter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: for text in chat.send("Hello")')

    def __aiter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: async for text in chat.send("Hello")')

    def __await__(self) -> NoReturn:
        raise TypeError('a Conversation is not awaited; ask it: reply = await chat.send("Hello")')

    def __getattr__(self, name: str) -> NoReturn:
        advice = f'; ask it: chat.send("Hello").{name}' if hasattr(Run, name) else ""
        raise AttributeError(f"a Conversation has no {name!r}{advice}", name=name, obj=self)


class _History:
    """The turns of a conversation, as its runs know them."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self.messages = messages
        self._running: Run | None = None

    def peek(self) -> tuple[Message, ...]:
        """Return the turns that a run begins with."""
        return self.messages

    def begin(self, run: Run) -> None:
        """Note that a run has started; raises RunConsumed while another one runs."""
        if self._running is not None and not self._running.is_abandoned():
            raise RunConsumed("another send of this Conversation is still running; finish or close it first")
        self._running = run

    def commit(self, run: Run, turns: tuple[Message, ...]) -> None:
        """Remember the turns of a run whose answer the caller has had; an answer that says nothing is not a turn."""
        self.messages += tuple(
            turn for turn in (*turns, run.reply.message) if turn.role != "assistant" or _says_something(turn)
        )

    def release(self, run: Run) -> None:
        """Note that the caller has left a run, at its end or before."""
        if self._running is run:
            self._running = None


def _says_something(answer: Message) -> bool:
    """Return whether an answer holds more than reasoning: services refuse a turn without text and calls."""
    return any(not isinstance(part, ReasoningPart) for part in answer.parts)
