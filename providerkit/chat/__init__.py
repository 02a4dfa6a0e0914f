"""The values of a chat: what a user asks and what comes back. No input, no output."""
