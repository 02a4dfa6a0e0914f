"""The clients that are compared, each a module that is imported in its own environment alone."""
