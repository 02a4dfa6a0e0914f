"""Lookups: questions with one value for an answer, such as which models a provider has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from .chat.embeddings import Embeddings
from .chat.models import Model
from .engine import blocking
from .engine.operations import EmbedOperation, ModelsOperation, Operation, ValueCollector
from .engine.plan import Plan
from .engine.routing import Routing
from .engine.run_state import RunState
from .engine.targets import Target, finalize_error
from .errors import PluginError, ProviderKitError

T = TypeVar("T")

MAX_PAGES = 100  # of a list of models


class Lookup(ABC, Generic[T]):
    """A question with one answer: await it, or call `result()`.

    Nothing is sent before; each time asks again. Raises what a Run raises.
    """

    operation: str

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __await__(self) -> Generator[Any, None, T]:
        return self._ask().__await__()

    def result(self) -> T:
        """Wait for the answer."""
        return blocking.call(self._ask())

    async def _ask(self) -> T:
        state = RunState(self._plan.bind(), self.operation)
        answer: T | None = None
        try:
            answer = await self._find(state)
        finally:
            state.tell_end(lambda: answer)
        return answer

    @abstractmethod
    async def _find(self, state: RunState) -> T: ...


class ModelsLookup(Lookup[tuple[Model, ...]]):
    """The models of a provider, as it orders them; those that its plugin knows, if it can't be asked."""

    operation = "models"

    def __repr__(self) -> str:
        return f"<Lookup of the models of {self._plan.name}: await it, or call result()>"

    async def _find(self, state: RunState) -> tuple[Model, ...]:
        info = state.bound.first.info
        if not _can_be_asked(state.bound.first):
            return tuple(Model(name) for name in info.models)
        models: list[Model] = []
        seen: set[str] = set()
        after: str | None = None
        while True:
            page = await _value_of(state, ModelsOperation(after))
            models += page.models
            after = page.after
            if after is None:
                return tuple(models)
            if after in seen or len(seen) + 1 >= MAX_PAGES:
                fault = f"repeats the mark {after!r}" if after in seen else f"has more than {MAX_PAGES} pages"
                raise PluginError(f"the list of models of {info.name} {fault}", plugin=info.name, hook="parse_models")
            seen.add(after)


def _can_be_asked(target: Target) -> bool:
    """Return whether a provider can be asked for its models; its plugin may decide that by the endpoint."""
    try:
        return target.hooks.build_models_request(target.endpoint, None) is not None
    except ProviderKitError as error:
        raise finalize_error(error, target) from None


class EmbedLookup(Lookup[Embeddings]):
    """The vectors of texts, in the order of the texts."""

    operation = "embed"

    def __init__(self, plan: Plan, texts: tuple[str, ...]) -> None:
        super().__init__(plan)
        self._question = EmbedOperation(texts)
        plan.bind().check(self._question)

    def __repr__(self) -> str:
        return f"<Lookup of embeddings by {self._plan.name}: await it, or call result()>"

    async def _find(self, state: RunState) -> Embeddings:
        state.bound.check(self._question)
        found: Embeddings = await _value_of(state, self._question)
        return found


async def _value_of(state: RunState, question: Operation) -> Any:
    collector = ValueCollector()
    routing = Routing(state, question, collector, collected=True)
    try:
        while await routing.next() is not None:
            pass
    finally:
        await routing.aclose()
    return collector.value
