"""What every provider promises, of Koala: with a key and without, so in the dialects "api" and "website".

The dialect "messages" can't promise as much: it takes for text what is no JSON, so half an
event is text, too.
"""

from providerkit_koala import Koala

from providerkit.testing import ProviderContract


class TestKoala(ProviderContract):
    provider = Koala()
