"""The bytes of the wire: requests, responses and decoders. No input, no output."""
