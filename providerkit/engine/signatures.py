"""Signatures of the calls whose options stand in a TypedDict."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def named_options(kind: type) -> Callable[[F], F]:
    """Return a decorator that names the options of a function, so that `help` and editors show each of them."""

    def name(function: F) -> F:
        signature = inspect.signature(function)
        named = [
            inspect.Parameter(
                option,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for option, annotation in kind.__annotations__.items()
        ]
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]  # as PEP 362 says
        return function

    return name
