"""What a provider says of itself and of its models."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..errors import PluginError
from .options import FEATURES
from .validators import as_tuple


@attrs.frozen
class Model:
    """Name a model as its provider does, and say what is known of it.

    `reasoning`: it may think for long before its first word, so waiting is no sign of failure.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    reasoning: bool = False


def _checked_features(words: Iterable[str]) -> frozenset[str]:
    supports = frozenset(as_tuple(words))
    unknown = sorted(supports - FEATURES)
    if unknown:
        raise PluginError(f"supports has {unknown[0]!r}; its words are {', '.join(sorted(FEATURES))}")
    return supports


def _checked_models(names: Iterable[str]) -> tuple[str, ...]:
    models = as_tuple(names)
    for name in models:
        if not isinstance(name, str):
            raise PluginError(f"models holds names, not {name!r}")
    return models


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a provider's name is a non-empty string without a slash, not {name!r}")
    return name


@attrs.frozen
class ProviderInfo:
    """Describe a provider.

    `url` is its web site, `default_base_url` the origin and path prefix of its API (None:
    the caller must give one), `base_path` what a base URL usually ends in, such as "/v1", if
    `default_base_url` does not show it, `default_model` and `models` the names it knows, `supports`
    the features it can serve (words of a closed vocabulary), `api_key_env` the environment
    variable that holds its key, `working` whether its service is known to answer. Raises
    PluginError where `supports` has an unknown word, `models` holds what is no name, or the
    name is empty or has a slash.
    """

    name: str = attrs.field(converter=_checked_name)
    url: str | None = attrs.field(default=None, kw_only=True)
    default_base_url: str | None = attrs.field(default=None, kw_only=True)
    base_path: str | None = attrs.field(default=None, kw_only=True)
    default_model: str | None = attrs.field(default=None, kw_only=True)
    models: tuple[str, ...] = attrs.field(default=(), converter=_checked_models, kw_only=True)
    supports: frozenset[str] = attrs.field(default=(), converter=_checked_features, kw_only=True)
    api_key_env: str | None = attrs.field(default=None, kw_only=True)
    working: bool = attrs.field(default=True, kw_only=True)
