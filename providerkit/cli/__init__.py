"""The command line."""

import os
import signal
import sys

# No more is imported here, not even typing: until `start` runs, an interrupt shows where Python stood.


def start(name: str | None = None) -> None:
    """Run the command line as a program, called `name` in its help; Ctrl-C ends it with 130 from the first moment."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever started this ignores it
    try:
        if default:
            signal.signal(signal.SIGINT, _interrupt)
        from .main import main  # here, where an interrupt is taken care of

        main(prog_name=name)
    except KeyboardInterrupt:  # before the commands could take it
        sys.exit(130)
    finally:
        if default:
            signal.signal(signal.SIGINT, _leave)  # Python tidies up, which is nobody's business


def _interrupt(number: int, frame: object) -> None:
    """Interrupt, but where Python imports: there it would show a traceback of things that nobody called.

    Modules in C may even crash: orjson 3.13 does, where an interrupt meets what it imports itself.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):  # type: ignore[attr-defined]  # a frame has it
            _leave(number, frame)
        frame = frame.f_back  # type: ignore[attr-defined]  # as above
    raise KeyboardInterrupt


def _leave(number: int, frame: object) -> None:
    os._exit(130)
