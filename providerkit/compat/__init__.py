"""Calling conventions of other systems."""
