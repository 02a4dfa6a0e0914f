"""Bring a hook of your own: other plugins answer `small_print`, and each answer ends with what they say.

    providerkit.run("Hello", provider="koala", extensions=[SmallPrint, Lawyer])

Lawyer marks its answer optionalhook=True, so that it works without SmallPrint, too: nobody asks it then.
"""

import providerkit
from providerkit import DecoderWrapper, Finish, TextDelta, hookimpl, hookspec


class Questions:
    """What SmallPrint asks of the provider and of other extensions."""

    @hookspec
    def small_print(self, model):
        """Give a line that belongs under every answer of this model."""


class SmallPrint:
    """Print, under each answer, the lines that other plugins give."""

    @hookimpl
    def hookspecs(self):
        """Add the question, so that it can be asked and its answers are checked on load."""
        return Questions

    @hookimpl(wrapper=True)
    def parse_stream(self, model, hook):
        """Ask it through `hook`, once for each answer."""
        decoder = yield
        return Footed(decoder, hook.small_print(model=model))


class Footed(DecoderWrapper):
    """Give some lines before the Finish."""

    def __init__(self, decoder, lines):
        super().__init__(decoder)
        self.footer = "".join(f"\n({line})" for line in lines)

    def transform(self, events):
        """Put them at the end of the last batch."""
        if events and isinstance(events[-1], Finish):
            return [*events[:-1], TextDelta(self.footer), events[-1]]
        return events


class Lawyer:
    """Answer the question of another plugin."""

    @hookimpl(optionalhook=True)
    def small_print(self, model):
        """Give the line."""
        return f"{model.name} may be wrong."


if __name__ == "__main__":
    with providerkit.sandbox("koala") as base_url:
        run = providerkit.run("Hello", provider="koala", base_url=base_url, extensions=[SmallPrint, Lawyer])
        print(run.result().text)
