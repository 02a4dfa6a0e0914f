"""Keep e-mail addresses from the provider: it reads <email-1>, you read the address.

    providerkit.run("Write to ann@example.org", provider="koala", extensions=[RedactEmails])

A run builds its request and its decoder in one context, so a ContextVar keeps runs apart.
"""

import json
import re
from contextvars import ContextVar

import attrs

from providerkit import DecoderWrapper, Finish, TextDelta, hookimpl

ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
NAME, CUT_NAME = re.compile(r"<email-\d+>"), re.compile(r"(?:<[email-]*\d*)?\Z")
JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_addresses = ContextVar("addresses")


class RedactEmails:
    """Give a name to every address in the request; put the address back for it in the answer's text."""

    @hookimpl(wrapper=True)
    def build_request(self):
        """Rewrite the strings of the JSON body."""
        request = yield
        names = {}

        def name(address):
            return names.setdefault(address[0], f"<email-{len(names) + 1}>")

        def redacted(string):
            return json.dumps(ADDRESS.sub(name, json.loads(string[0])))

        body = JSON_STRING.sub(redacted, request.body.decode())
        _addresses.set({name: address for address, name in names.items()})
        return attrs.evolve(request, body=body.encode())

    @hookimpl(wrapper=True)
    def parse_stream(self):
        """Rewrite the text that the provider's decoder gives."""
        decoder = yield
        return Restored(decoder)


class Restored(DecoderWrapper):
    """Hold back what may be the beginning of a name, until its rest comes or the Finish."""

    def __init__(self, decoder):
        super().__init__(decoder)
        self.addresses, self.held = _addresses.get(), ""

    def transform(self, events):
        """Put the addresses back."""
        restored = []
        for event in events:
            if isinstance(event, TextDelta):
                text = NAME.sub(lambda name: self.addresses.get(name[0], name[0]), self.held + event.text)
                cut = CUT_NAME.search(text).start()
                event, self.held = TextDelta(text[:cut]), text[cut:]
            elif isinstance(event, Finish) and self.held:
                restored.append(TextDelta(self.held))
            restored.append(event)
        return restored
