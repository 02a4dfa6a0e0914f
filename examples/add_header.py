"""Add a header to every request.

    providerkit.run("Hello", provider="koala", extensions=[AddHeader("X-Team", "blue")])

An extension wraps the hooks of providers: `yield` gives what the provider answered, and what
is returned takes its place. The headers of the caller still win.
"""

import attrs

from providerkit import hookimpl


class AddHeader:
    """Send one header more than the provider would."""

    def __init__(self, name, value):
        self.header = {name: value}

    @hookimpl(wrapper=True)
    def build_request(self):
        """Lay the header over those of the provider."""
        request = yield
        return attrs.evolve(request, headers=request.headers | self.header)
