"""The bytes of the wire: requests, responses and decoders. No input, no output."""

from .masks import Mask

mask_of = Mask  # what a module of the core asks for that has secrets and a text
