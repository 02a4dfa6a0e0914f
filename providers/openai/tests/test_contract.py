"""What every provider promises, of OpenAI."""

from providerkit_openai import OpenAI

from providerkit.testing import ProviderContract


class TestOpenAI(ProviderContract):
    provider = OpenAI()
