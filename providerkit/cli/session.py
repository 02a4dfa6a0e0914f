"""A chat's session: the conversation, whom it is held with, and the commands that change either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import providerkit

from . import answers
from .json_form import dumps
from .options import Route
from .terminal import complain, drawing, say

if TYPE_CHECKING:
    from ..chat.messages import Message

HELP = '''\
/exit           leave, as Ctrl-D does
/reset          forget what was said
/system [TEXT]  show, or set, what the model is told first; - is nothing
/model [NAME]   show, or change, the model; PROVIDER/NAME goes on with another provider,
                PROVIDER/ with its default model
/save FILE      write down what was said: messages in JSON to FILE.json, else Markdown
/help           show this
"""             begins and ends a message of several lines
//              begins a message with a slash'''


class Session:
    """Talk with one provider at a time.

    `bound` names the options that were given for the first provider alone; with one of them
    there is no going on with another.
    """

    def __init__(
        self, route: Route, options: dict[str, Any], bound: Sequence[str] = (), *, plain: bool = False
    ) -> None:
        model = route.model if route.provider else (route.model or "").partition("/")[2]
        self._route = Route(route.name, model or None)
        self._options = options
        self._bound = bound
        self._plain = plain
        self._check(self._route, options)
        self._conversation = providerkit.run(provider=route.name)

    def take(self, line: str) -> None:
        """Obey a command, or send a message; raises EOFError to leave, and what `run` raises."""
        command, _, rest = line.strip().partition(" ")
        if not command.startswith("/") or command.startswith("//"):
            self.send(line.replace("//", "/", 1) if command.startswith("//") else line)
        elif command in _COMMANDS:
            _COMMANDS[command](self, rest.strip())
        else:
            complain(f"There is no {command}; /help lists what there is, and // begins a message with a slash.")

    def send(self, message: str) -> None:
        """Ask with all that was said before, and show the answer; Ctrl-C stops it."""
        if not message.strip():
            return
        run = self._conversation.send(message, **self._route._asdict(), **self._options)
        try:
            error = answers.show(run, self._view())
        except KeyboardInterrupt:
            complain("Stopped; neither the message nor the answer is remembered.")
        else:
            if error is not None:
                raise error

    def _view(self) -> answers.View:
        rendering = None if self._plain else drawing()
        if rendering is None:
            return answers.Text()
        view: answers.View = rendering.view([str(self)])
        return view

    def __str__(self) -> str:
        model = self._route.model or providerkit.provider(self._route.name).info.default_model
        return str(self._route._replace(model=model))

    def _check(self, route: Route, options: dict[str, Any]) -> None:
        """Raise what is wrong with this way of asking; a run that nobody starts sends nothing."""
        providerkit.run("?", **route._asdict(), **options)

    def _exit(self, rest: str) -> None:
        raise EOFError

    def _reset(self, rest: str) -> None:
        self._conversation.reset()
        say("Forgotten.")

    def _system(self, text: str) -> None:
        if text:
            options = {**self._options, "system": None if text == "-" else text}
            self._check(self._route, options)
            self._options = options
        say(f"System: {self._options.get('system') or 'nothing'}")

    def _model(self, name: str) -> None:
        if name:
            route = self._route_of(name)
            if route.provider != self._route.provider and self._bound:
                complain(f"{self._bound[0]} is for {self._route.name} alone; try: providerkit chat -m {route}")
                return
            self._check(route, self._options)
            self._route = route
        say(f"Model: {self}")

    def _route_of(self, name: str) -> Route:
        before, slash, model = name.partition("/")
        if slash and before in {self._route.name, *providerkit.providers()}:
            return Route(before, model or None)
        if slash and name not in providerkit.provider(self._route.name).info.models:
            raise providerkit.UnknownProvider(
                f"there is no provider {before!r}; installed are: {', '.join(providerkit.providers())}; "
                f"if it is a model of {self._route.name}: /model {self._route.name}/{name}"
            )
        return Route(self._route.name, name)

    def _save(self, name: str) -> None:
        if not name:
            complain("/save needs the name of a file, as in /save chat.md")
            return
        text = (_json if name.endswith(".json") else _markdown)(self._messages())
        path = Path(name)
        try:
            path = path.expanduser()
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            complain(f"{path} is there already; choose another name.")
        except OSError as error:
            complain(f"{path} can't be written: {error.strerror}")
        except (RuntimeError, ValueError) as error:  # the home of nobody, a null character
            complain(f"{path} can't be written: {error}")
        else:
            say(f"Saved: {path}")

    def _messages(self) -> Sequence[Message]:
        system = self._options.get("system")
        first = () if system is None else (providerkit.Message("system", system),)
        return (*first, *self._conversation.messages)

    def _help(self, rest: str) -> None:
        say(HELP)


def _json(messages: Sequence[Message]) -> str:
    lines = (dumps({"role": message.role, "content": message.text}, "utf-8") for message in messages)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _markdown(messages: Sequence[Message]) -> str:
    return "\n".join(f"## {message.role}\n\n{message.text}\n" for message in messages)


_COMMANDS: dict[str, Callable[[Session, str], None]] = {
    "/exit": Session._exit,
    "/reset": Session._reset,
    "/system": Session._system,
    "/model": Session._model,
    "/save": Session._save,
    "/help": Session._help,
}
