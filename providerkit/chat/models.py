"""What a provider says of itself and of its models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ..errors import PluginError
from .options import FEATURES
from .validators import as_tuple


def _checked_features(words: Iterable[str]) -> frozenset[str]:
    supports = frozenset(as_tuple(words))
    unknown = sorted(map(str, supports - FEATURES))
    if unknown:
        raise PluginError(f"supports has {unknown[0]!r}; its words are {', '.join(sorted(FEATURES))}")
    return supports


def _checked_model_features(words: Iterable[str] | None) -> frozenset[str] | None:
    return None if words is None else _checked_features(words)


def _check_count(model: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise PluginError(f"{attribute.name} is {value!r}; expected a whole number of tokens, 1 or above, or None")


@attrs.frozen
class Model:
    """A model, named as its provider does, and what is known of it.

    `reasoning`: it may think for long before its first word, so silence is not a sign of
    failure. `supports` is what this model can serve, in place of the provider's; None if it
    is the same. `max_output_tokens` is the longest answer that it can give; None if unknown.
    Raises PluginError for an unknown word in `supports`.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    reasoning: bool = False
    supports: frozenset[str] | None = attrs.field(default=None, converter=_checked_model_features)
    max_output_tokens: int | None = attrs.field(default=None, validator=_check_count)


def _checked_page(models: Iterable[Model]) -> tuple[Model, ...]:
    listed = as_tuple(models)
    for model in listed:
        if not isinstance(model, Model):
            raise PluginError(f"a Page holds Models, not {type(model).__name__}")
    return listed


@attrs.frozen
class Page:
    """Some of the provider's models; `after` is the mark to ask for the next page with, None on the last."""

    models: tuple[Model, ...] = attrs.field(converter=_checked_page)
    after: str | None = None


def _checked_names(names: Iterable[str], what: str) -> tuple[str, ...]:
    found = as_tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise PluginError(f"{what} holds names, not {name!r}")
    return found


def _checked_models(names: Iterable[str]) -> tuple[str, ...]:
    return _checked_names(names, "models")


def _checked_variables(names: str | Iterable[str] | None) -> str | tuple[str, ...] | None:
    return names if names is None or isinstance(names, str) else _checked_names(names, "api_key_env")


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a provider's name is a non-empty string without a slash, not {name!r}")
    return name


@attrs.frozen
class ProviderInfo:
    """A provider, as it describes itself.

    `url` is its web site, `default_base_url` the origin and path prefix of its API (None:
    the caller must give one), `base_path` what a base URL usually ends in, such as "/v1", if
    `default_base_url` does not show it, `default_model` and `models` the names it knows, `supports`
    the features it can serve (words of a closed vocabulary), `api_key_env` the environment
    variables that may hold its key, one name or several, of which the first that is set
    wins, `working` whether its service is known to answer. Raises PluginError if `supports`
    has an unknown word, if `models` or `api_key_env` holds something else than names, and if
    the name is empty or has a slash.
    """

    name: str = attrs.field(converter=_checked_name)
    url: str | None = attrs.field(default=None, kw_only=True)
    default_base_url: str | None = attrs.field(default=None, kw_only=True)
    base_path: str | None = attrs.field(default=None, kw_only=True)
    default_model: str | None = attrs.field(default=None, kw_only=True)
    models: tuple[str, ...] = attrs.field(default=(), converter=_checked_models, kw_only=True)
    supports: frozenset[str] = attrs.field(default=(), converter=_checked_features, kw_only=True)
    api_key_env: str | tuple[str, ...] | None = attrs.field(default=None, converter=_checked_variables, kw_only=True)
    working: bool = attrs.field(default=True, kw_only=True)

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Return the environment variables that may hold the key, in the order in which they are read."""
        return as_tuple(self.api_key_env)
