"""What users call: runs, replies, conversations, providers, and how they begin and end."""

import asyncio
import inspect
import pydoc

import pytest
from loopback import Received, chunked, http, serve
from parrots import Macaw, Parrot

import providerkit
from providerkit import Finish, Message, Model, ProviderInfo, Request, TextDelta, hookimpl
from providerkit.engine import blocking as sync
from providerkit.engine.plan import EndpointOptions, RunOptions

HELLO = chunked(b'data: "Hel"\n\n', b'data: "lo"\n\n')


@pytest.fixture
async def server():
    async with serve(HELLO) as server:
        yield server


@pytest.fixture
async def client():
    async with providerkit.Client() as client:
        yield client


@pytest.fixture
def ask(client, server):
    def ask(messages="hi", **options):
        return client.run(messages, **{"provider": Parrot, "base_url": server.base_url, **options})

    return ask


async def in_thread(function, *args):
    """Call a blocking function as a blocking caller would: where no event loop runs."""
    return await asyncio.to_thread(function, *args)


def texts_of(run):
    return list(run)


class TestRun:
    async def test_async_for_gives_the_text_in_pieces(self, ask):
        assert [text async for text in ask()] == ["Hel", "lo"]

    async def test_for_gives_the_text_in_pieces(self, ask):
        assert await in_thread(texts_of, ask()) == ["Hel", "lo"]

    async def test_await_gives_the_reply(self, ask):
        reply = await ask()
        assert (reply.text, reply.finish_reason, reply.proven) == ("Hello", "stop", True)
        assert (reply.provider, reply.model) == ("parrot", "grey")
        assert reply.message == Message("assistant", "Hello")

    async def test_result_gives_the_reply(self, ask):
        assert (await in_thread(ask().result)).text == "Hello"

    async def test_a_blocking_call_works_under_a_running_loop(self, server):
        with providerkit.sandbox("koala") as base_url:
            assert "turns came before" in providerkit.run("hi", provider="koala", base_url=base_url).result().text

    async def test_events_come_async_and_blocking(self, ask):
        expected = [TextDelta("Hel"), TextDelta("lo"), Finish("stop", proven=True)]
        assert [event async for event in ask().events()] == expected
        assert await in_thread(lambda: list(ask().events())) == expected

    async def test_nothing_is_sent_before_it_is_asked_for(self, ask, server):
        ask()
        await ask()
        assert len(server.requests) == 1

    async def test_the_reply_so_far_is_there_while_it_comes(self, ask):
        run = ask()
        assert run.reply.text == ""
        async for _ in run:
            assert run.reply.text.startswith("Hel")
        assert (run.reply.text, run.reply.finish_reason) == ("Hello", "stop")

    async def test_an_attempt_says_how_it_went(self, ask):
        (attempt,) = (await ask()).attempts
        assert (attempt.route, attempt.error, attempt.source) == ("parrot/grey", None, "network")
        assert attempt.seconds > 0

    @pytest.mark.parametrize(
        "again",
        [
            aiter,
            iter,
            lambda run: run.result(),
            lambda run: run.__await__(),
            lambda run: aiter(run.events()),
            lambda run: iter(run.events()),
        ],
        ids=["async for", "for", "result", "await", "async events", "events"],
    )
    async def test_it_is_started_once(self, ask, again):
        run = ask()
        await run
        with pytest.raises(providerkit.RunConsumed, match="started already"):
            again(run)

    async def test_leaving_early_closes_the_connection_though_the_run_is_kept(self, client):
        async def drip(request, writer):
            writer.write(chunked(b'data: "a"\n\n', end=False))
            await asyncio.Event().wait()

        async with serve(drip) as server:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            async for _ in run:
                break
            await server.closed.get()
            assert run.reply.text == "a"
            assert run.reply.finish_reason is None

            blocking = providerkit.run("hi", provider=Parrot, base_url=server.base_url)
            assert await in_thread(lambda: next(text for text in blocking)) == "a"
            await server.closed.get()

    @pytest.mark.parametrize("close", ["aclose", "async with", "close", "with", "aclose of a blocking one"])
    async def test_closing_ends_the_iteration_and_the_connection(self, close):
        async def drip(request, writer):
            writer.write(chunked(b'data: "a"\n\n', b'data: "b"\n\n', end=False))
            await asyncio.Event().wait()

        async def leave(run):
            match close:
                case "aclose":
                    texts = aiter(run)
                    await anext(texts)
                    await run.aclose()
                    return [text async for text in texts]
                case "async with":
                    async with run:
                        texts = aiter(run)
                        await anext(texts)
                    return [text async for text in texts]
                case "aclose of a blocking one":
                    texts = iter(run)
                    await in_thread(next, texts)
                    await run.aclose()
                    return await in_thread(list, texts)
            return await in_thread(leave_blocking, run)

        def leave_blocking(run):
            texts = iter(run)
            if close == "close":
                next(texts)
                run.close()
            else:
                with run:
                    next(texts)
            return list(texts)

        async with serve(drip) as server, providerkit.Client() as client:
            assert await leave(client.run("hi", provider=Parrot, base_url=server.base_url)) == []
            await server.closed.get()
            if "blocking" in close or "a" not in close:
                await in_thread(client.close)

    async def test_leaving_the_run_closes_what_a_loop_within_has_left(self, ask):
        async with ask() as run:
            async for _ in run:
                break
        assert len(run.reply.attempts) == 1  # it has ended, and is not about to

    async def test_leaving_the_run_waits_for_what_a_blocking_loop_within_has_left(self, client):
        async def drip(request, writer):
            writer.write(chunked(b'data: "a"\n\n', end=False))
            await asyncio.Event().wait()

        def leave(run):
            with run:
                for _ in run:
                    break
            return len(run.reply.attempts)

        async with serve(drip) as server:
            runs = [client.run("hi", provider=Parrot, base_url=server.base_url) for _ in range(20)]
            assert [await in_thread(leave, run) for run in runs] == [1] * 20
            await in_thread(client.close)

    async def test_a_fork_leaves_a_run_to_its_parent(self, ask, monkeypatch):
        chat = ask(None)
        run = chat.send("hi")
        texts = aiter(run)
        assert await anext(texts) == "Hel"
        with monkeypatch.context() as fork:
            fork.setattr(sync, "_process", -1)
            run.close()
            await run.aclose()
            assert (await chat.send("hi")).text == "Hello"
            with pytest.raises(providerkit.RunConsumed, match="before a fork"):
                [text async for text in texts]
        assert run.reply.attempts == ()

    async def test_a_closed_run_is_not_started(self, ask):
        run = ask()
        run.close()
        with pytest.raises(providerkit.RunConsumed):
            await run

    async def test_a_run_of_async_code_is_closed_there(self, ask):
        run = ask()
        texts = aiter(run)
        await anext(texts)
        with pytest.raises(providerkit.RunConsumed, match="aclose"):
            run.close()
        await run.aclose()

    async def test_a_run_that_another_task_waits_for_is_closed_by_cancelling_that_task(self, client):
        asked = asyncio.Event()

        async def silence(request, writer):
            asked.set()
            await asyncio.Event().wait()

        async with serve(silence) as server:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            texts = aiter(run)
            reader = asyncio.ensure_future(anext(texts))
            await asked.wait()
            with pytest.raises(providerkit.RunConsumed, match="another task"):
                await run.aclose()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            await server.closed.get()

    async def test_a_collected_run_that_is_waited_for_is_closed_by_cancelling_that_task(self, client):
        asked = asyncio.Event()

        async def silence(request, writer):
            asked.set()
            await asyncio.Event().wait()

        async with serve(silence) as server:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            collecting = asyncio.ensure_future(run)
            await asked.wait()
            with pytest.raises(providerkit.RunConsumed, match="another task"):
                await run.aclose()
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
            assert len(server.requests) == 1

    async def test_a_run_that_another_thread_waits_for_is_not_closed_from_here(self, client):
        asked, end = asyncio.Event(), asyncio.Event()

        async def silence(request, writer):
            asked.set()
            await end.wait()
            writer.write(HELLO)

        async with serve(silence) as server:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            reading = asyncio.ensure_future(in_thread(texts_of, run))
            await asked.wait()
            with pytest.raises(providerkit.RunConsumed, match="thread"):
                run.close()
            end.set()
            assert await reading == ["Hel", "lo"]
            await in_thread(client.close)

    async def test_a_run_from_before_a_fork_is_refused(self, ask, monkeypatch):
        run = ask()
        monkeypatch.setattr(sync, "_process", -1)
        with pytest.raises(providerkit.RunConsumed, match="fork"):
            aiter(run)

    async def test_its_repr_says_where_it_stands(self, ask):
        run = ask()
        assert repr(run) == "<Run parrot/grey: not started>"
        texts = aiter(run)
        assert repr(run) == "<Run parrot/grey: started>"
        await anext(texts)
        await texts.aclose()
        assert repr(run) == "<Run parrot/grey: ended>"
        run = ask()
        await run
        assert repr(run) == "<Run parrot/grey: stop>"

    async def test_a_notebook_shows_where_it_stands_and_its_text_and_starts_nothing(self, client):
        shown = asyncio.Event()

        async def halting(request, writer):
            writer.write(chunked(b'data: "Hel"\n\n', end=False))
            await shown.wait()
            writer.write(b'c\r\ndata: "lo"\n\n\r\n0\r\n\r\n')

        async with serve(halting) as server:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            hint = "Nothing is sent before it is iterated, awaited or asked for its `result()`."
            assert run._repr_markdown_() == f"`<Run parrot/grey: not started>`\n\n{hint}"
            texts = aiter(run)
            assert run._repr_markdown_() == "`<Run parrot/grey: started>`"
            assert server.requests == []
            assert await anext(texts) == "Hel"
            assert run._repr_markdown_() == "`<Run parrot/grey: started>`\n\nHel"
            shown.set()
            assert [text async for text in texts] == ["lo"]
            assert run._repr_markdown_() == "`<Run parrot/grey: stop>`\n\nHello"

    async def test_messages_are_not_changed(self, ask, server):
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
        before = [dict(message) for message in messages]
        await ask(messages)
        assert messages == before
        assert server.requests[0].body == b'{"model":"grey","text":"hi"}'


class Namesake(Parrot):
    """Have models whose names begin with the provider's own, as openrouter/auto."""

    @hookimpl
    def describe(self) -> ProviderInfo:
        known = {"default_model": "parrot/grey", "models": ("parrot/green",)}
        return ProviderInfo("parrot", default_base_url="http://parrot.invalid", **known)

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "parrot/grey")


class TestOptions:
    def test_an_unknown_keyword_is_a_type_error(self):
        with pytest.raises(TypeError, match="modle"):
            providerkit.run("hi", provider=Parrot, modle="grey")

    def test_the_options_of_a_send_are_those_of_run(self):
        run = [name for name in inspect.signature(providerkit.run).parameters if name != "messages"]
        assert sorted(run) == sorted(RunOptions.__annotations__)

    @pytest.mark.parametrize("messages", ["", "  ", [], [{"content": "no role"}], 7])
    def test_bad_messages_are_refused_at_the_call(self, messages):
        with pytest.raises(providerkit.InvalidMessages):
            providerkit.run(messages, provider=Parrot)

    def test_no_provider_names_what_is_installed(self):
        installed = providerkit.providers()
        words = f"installed are: {', '.join(installed)}; say provider=..."
        with pytest.raises(providerkit.UnknownProvider, match=words) as caught:
            providerkit.run("hi")
        assert caught.value.installed == tuple(installed)
        with pytest.raises(providerkit.UnknownProvider, match=r"say provider=\.\.\. or model='PROVIDER/gpt-4o'$"):
            providerkit.run("hi", model="gpt-4o")

    def test_a_provider_in_the_place_of_a_model_and_a_route_in_that_of_a_provider_are_seen(self):
        with pytest.raises(providerkit.UnknownProvider, match=r"say provider='koala'$"):
            providerkit.run("hi", model="koala")
        with pytest.raises(providerkit.UnknownProvider, match=r"did you mean model='koala/gpt-4o'\?$"):
            providerkit.run("hi", provider="koala/gpt-4o")

    def test_no_provider_and_none_installed_says_how_to_get_one(self, monkeypatch):
        monkeypatch.setattr("providerkit.engine.plan.providers", list)
        with pytest.raises(providerkit.UnknownProvider, match="none is installed"):
            providerkit.run("hi")

    def test_an_unknown_provider_suggests_the_nearest(self):
        with pytest.raises(providerkit.UnknownProvider, match=r"installed are: .*\bkoala\b.*; did you mean 'koala'"):
            providerkit.run("hi", provider="coala")
        with pytest.raises(providerkit.UnknownProvider):
            providerkit.run(provider="coala")

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"model": "koala/gpt-4o"}, "gpt-4o"),
            ({"model": "koala/a/b"}, "a/b"),
            ({"model": "koala/"}, "gpt-4o-mini"),
            ({"provider": "koala"}, "gpt-4o-mini"),
            ({"provider": "koala", "model": ""}, "gpt-4o-mini"),
            ({"provider": "koala", "model": "a/b"}, "a/b"),
        ],
    )
    def test_a_model_may_name_its_provider(self, options, expected):
        assert providerkit.run("hi", **options)._bound.first.model == Model(expected)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"model": "parrot/grey"}, "parrot/grey"),
            ({"model": "parrot/parrot/grey"}, "parrot/grey"),
            ({"model": "parrot/green"}, "parrot/green"),
            ({"model": "parrot/blue"}, "blue"),
            ({"model": "parrot/"}, "parrot/grey"),
            ({"provider": "koala", "fallback": "parrot/green"}, "parrot/green"),
            ({"provider": "koala", "fallback": "parrot"}, "parrot/grey"),
        ],
    )
    def test_the_name_of_a_model_may_begin_with_its_providers(self, install, options, expected):
        install("parrot", Namesake)
        assert providerkit.run("hi", **options)._bound.targets[-1].model == Model(expected)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("tools", [providerkit.Tool("t")]),
            ("response_format", {"type": "json_object"}),
            ("temperature", 0.0),
            ("top_p", 1),
            ("max_tokens", 5),
            ("stop", "x"),
            ("seed", 0),
            ("extra", {"a": 1}),
        ],
    )
    def test_an_option_that_is_not_served_is_refused_before_sending(self, option, value):
        with pytest.raises(providerkit.UnsupportedFeature, match=f"parrot.*--supports {option}$") as caught:
            providerkit.run("hi", provider=Parrot, **{option: value})
        assert (caught.value.option, caught.value.provider) == (option, "parrot")

    @pytest.mark.parametrize(
        ("feature", "messages"),
        [
            ("history", ["one", "two"]),
            ("prefill", [Message("assistant", "and")]),
            ("images", [Message("user", (providerkit.ImagePart("https://x.example/a.png"),))]),
            ("tools", [Message("tool", "42", tool_call_id="1")]),
            ("system", [Message("system", "be brief"), Message("user", "hi")]),
        ],
    )
    def test_messages_that_are_not_served_are_refused_before_sending(self, feature, messages):
        class Bare(Parrot):
            supports = frozenset()

        messages = [Message("user", item) if isinstance(item, str) else item for item in messages]
        with pytest.raises(providerkit.UnsupportedFeature) as caught:
            providerkit.run(messages, provider=Bare)
        assert caught.value.option == feature

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("model", 7),
            ("system", 7),
            ("temperature", "hot"),
            ("max_tokens", True),
            ("stop", [7]),
            ("tools", [{"type": "function"}]),
            ("extra", "realTimeData"),
            ("api_key", ""),
            ("api_key", "two\nlines"),
            ("api_key", 7),
            ("connector", "x"),
            ("extensions", 5),
            ("base_url", ""),
            ("base_url", "koala.sh"),
            ("base_url", "ftp://koala.sh"),
            ("base_url", "https://user:secret@koala.sh"),
            ("headers", {"X-Evil": "a\r\nb: c"}),
            ("headers", "X-Evil: a"),
            ("proxy", "proxy.example:80"),
            ("timeouts", 5),
        ],
    )
    def test_a_value_that_cannot_be_sent_is_refused_before_sending(self, option, value):
        with pytest.raises(providerkit.InvalidOption) as caught:
            providerkit.run("hi", **{"provider": Parrot, option: value})
        assert caught.value.option == option
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("option", sorted(RunOptions.__annotations__))
    def test_none_leaves_an_option_to_the_provider_or_the_client(self, option):
        """For every option, in every place that takes it: run, a Client, a Provider, a send, a list of models."""
        given = {"provider": Parrot, "model": "parrot/grey" if option == "provider" else None}
        run = providerkit.run("hi", **{**given, "provider": Parrot})
        if option != "provider":
            assert providerkit.run("hi", **{**given, option: None})._plan.chat == run._plan.chat
            chat = providerkit.run(None, provider=Parrot)
            assert chat.send("hi", **{option: None})._plan.chat == run._plan.chat
            providerkit.provider(Parrot).run("hi", **{option: None})
        if option in EndpointOptions.__annotations__:
            providerkit.provider(Parrot).models(**{option: None})

    def test_none_leaves_every_setting_of_a_client_to_its_default(self):
        settings = list(inspect.signature(providerkit.Client).parameters)
        client = providerkit.Client(**dict.fromkeys(settings))
        assert client._settings.timeouts == providerkit.Timeouts()
        client.run("hi", provider=Parrot)

    def test_every_parameter_of_run_is_none_unless_it_is_given(self):
        parameters = inspect.signature(providerkit.run).parameters.values()
        assert {parameter.default for parameter in parameters} == {None}

    def test_help_shows_the_options_of_run(self):
        shown = pydoc.render_doc(providerkit.run, renderer=pydoc.plaintext)
        assert [name for name in RunOptions.__annotations__ if f"{name}: " not in shown] == []

    def test_a_provider_without_an_address_needs_one(self):
        class Homeless(Parrot):
            @hookimpl
            def describe(self):
                return ProviderInfo(name="homeless")

        with pytest.raises(providerkit.InvalidOption, match="homeless has no address"):
            providerkit.run("hi", provider=Homeless)

    async def test_options_may_be_iterators(self, ask):
        class Keen(Parrot):
            supports = Parrot.supports | {"stop"}

        chat = ask(None, provider=Keen, stop=iter("ab"))
        await chat.send("a")
        run = chat.send("b")
        await run
        assert run._question.chat(run._bound.first).stop == ("a", "b")

    async def test_the_key_is_the_arguments_then_the_environments(self, ask, server, monkeypatch):
        monkeypatch.setenv("PARROT_API_KEY", "from-environment")
        await ask(api_key="from-argument")
        await ask()
        monkeypatch.setenv("PARROT_API_KEY", "")
        await ask()
        keys = [request.headers.get("authorization") for request in server.requests]
        assert keys == ["Bearer from-argument", "Bearer from-environment", None]

    def test_a_client_is_made_of_timeouts_and_limits(self):
        with pytest.raises(providerkit.InvalidOption):
            providerkit.Client(extensions=5).run("hi", provider=Parrot)
        with pytest.raises(providerkit.InvalidOption, match=r"timeouts is 5; expected a providerkit\.Timeouts"):
            providerkit.Client(timeouts=5)


class TestClient:
    async def test_runs_share_pooled_connections(self, client):
        async with serve(chunked(b'data: "a"\n\n', b"data: [DONE]\n\n")) as server:
            for provider in (Parrot, Macaw, Parrot, Macaw):
                assert (await client.run("hi", provider=provider, base_url=server.base_url)).text == "a"
            assert server.connections == 1

    async def test_blocking_runs_share_pooled_connections(self, server):
        def call_often():
            with providerkit.Client() as client:
                for _ in range(3):
                    client.run("hi", provider=Parrot, base_url=server.base_url).result()

        await in_thread(call_often)
        assert server.connections == 1

    async def test_leaving_a_client_closes_its_connections(self, server):
        async with providerkit.Client() as client:
            await client.run("hi", provider=Parrot, base_url=server.base_url)
        await server.closed.get()
        with pytest.raises(providerkit.ConfigurationError, match="closed"):
            client.run("hi", provider=Parrot)

    async def test_a_run_of_a_client_that_has_closed_since_is_refused(self, server):
        async with providerkit.Client() as client:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
        with pytest.raises(providerkit.ConfigurationError, match="closed"):
            await run

    async def test_a_client_that_did_nothing_closes(self):
        async with providerkit.Client() as client:
            pass
        with pytest.raises(providerkit.ConfigurationError, match="this Client is closed"):
            client.run("hi", provider=Parrot)

    async def test_its_settings_hold_where_a_run_has_none(self, server):
        seen = []

        class Witness:
            @hookimpl
            def observe(self, chat):
                seen.append(chat)

        short = providerkit.Timeouts(total=1)
        async with providerkit.Client(timeouts=short, extensions=[Witness]) as client:
            run = client.run("hi", provider=Parrot, base_url=server.base_url)
            await run
            assert run._bound.timeouts == short
            await client.run("hi", provider=Parrot, base_url=server.base_url, extensions=[])
        assert len(seen) == 1


class TestConversation:
    async def test_it_remembers(self, client):
        async def echo(request: Received, writer):
            said = providerkit.loads(request.body)["said"]
            writer.write(http(b'data: "%d"\n\n' % len(said)))

        class Listener(Parrot):
            @hookimpl
            def build_request(self, chat, endpoint):
                return Request.json(endpoint.url("/say"), {"said": [message.text for message in chat.messages]})

        async with serve(echo) as server:
            chat = client.run(provider=Listener, base_url=server.base_url)
            assert [(await chat.send(text)).text for text in ("a", "b", "c")] == ["1", "3", "5"]
            assert [message.text for message in chat.messages] == ["a", "1", "b", "3", "c", "5"]
            chat.reset()
            assert (await chat.send(Message("user", "d"), model="green")).model == "green"
            assert chat.messages == (Message("user", "d"), Message("assistant", "1"))
            assert (await chat.send([Message("user", "e"), {"role": "user", "content": "f"}])).text == "4"
            assert [message.text for message in chat.messages] == ["d", "1", "e", "f", "4"]

    async def test_a_notebook_shows_its_turns(self, ask):
        chat = ask(None)
        assert chat._repr_markdown_() == "*nothing was said yet*"
        await chat.send("- a\n- b")
        assert chat._repr_markdown_() == "**user**\n\n- a\n- b\n\n**assistant**\n\nHello"

    async def test_a_send_that_fails_or_is_left_leaves_it_as_it_was(self, ask):
        chat = ask(None)
        await chat.send("a")
        before = chat.messages
        with pytest.raises(providerkit.ConnectError):
            await chat.send("b", base_url="http://127.0.0.1:1")
        async for _ in chat.send("c"):
            break
        run = chat.send("d")
        async with run:
            await anext(aiter(run.events()))
        assert chat.messages == before
        await chat.send("e")
        assert len(chat.messages) == 4

    async def test_a_blocking_send_that_is_left_leaves_it_as_it_was_though_all_has_come(self, ask):
        def leave(chat):
            texts = iter(chat.send("a"))
            next(texts)
            with pytest.raises(providerkit.RunConsumed, match="still running"):
                chat.send("b").result()
            texts.close()
            for _ in chat.send("c"):
                break
            return chat.messages

        assert await in_thread(leave, ask(None)) == ()

    async def test_a_second_send_while_one_runs_is_an_error(self, ask):
        chat = ask(None)
        first = aiter(chat.send("a"))
        await anext(first)
        with pytest.raises(providerkit.RunConsumed, match="still running"):
            await chat.send("b")
        await first.aclose()
        assert (await chat.send("c")).text == "Hello"

    async def test_two_sends_do_not_start_from_the_same_history(self, ask):
        chat = ask(None)
        first, second = chat.send("a"), chat.send("b")
        texts = aiter(first)
        with pytest.raises(providerkit.RunConsumed, match="still running"):
            aiter(second)
        assert [text async for text in texts] == ["Hel", "lo"]
        await second
        assert [message.text for message in chat.messages] == ["a", "Hello", "b", "Hello"]

    async def test_a_send_reads_the_history_when_it_starts(self, ask):
        chat = ask(None)
        second = chat.send("b")
        await chat.send("a")
        await second
        assert [message.text for message in chat.messages] == ["a", "Hello", "b", "Hello"]

    def test_what_is_wrong_with_a_send_is_told_at_the_call(self):
        chat = providerkit.run(provider=Parrot)
        with pytest.raises(TypeError, match="modle"):
            chat.send("hi", modle="grey")
        with pytest.raises(providerkit.InvalidMessages):
            chat.send("")
        with pytest.raises(providerkit.UnsupportedFeature):
            chat.send("hi", temperature=1)

    @pytest.mark.parametrize("name", ["result", "events", "reply"])
    def test_asking_it_what_a_run_is_asked_says_to_use_send(self, name):
        with pytest.raises(AttributeError, match=rf'chat\.send\("Hello"\)\.{name}'):
            getattr(providerkit.run(provider=Parrot), name)
        with pytest.raises(AttributeError, match=r"no 'rseult'$"):
            providerkit.run(provider=Parrot).rseult  # noqa: B018 - the access is what is tested

    @pytest.mark.parametrize("use", [iter, aiter, lambda chat: chat.__await__()], ids=["for", "async for", "await"])
    def test_iterating_it_says_to_use_send(self, use):
        with pytest.raises(TypeError, match="send"):
            use(providerkit.run(provider=Parrot))

    def test_its_repr_says_whom_it_asks_and_what_it_remembers(self, client):
        assert (
            repr(client.run(provider=Parrot, model="green")) == "<Conversation Parrot/green: 0 messages; send() asks>"
        )
        assert repr(client.run(provider="koala")) == "<Conversation koala: 0 messages; send() asks>"


class TestProvider:
    def test_reprs_say_what_it_is_and_what_to_do_with_models(self):
        koala = providerkit.provider("koala")
        assert (repr(koala), repr(koala.models())) == (
            "<Provider koala>",
            "<Lookup of the models of koala: await it, or call result()>",
        )

    async def test_it_is_loaded_by_name_and_runs(self):
        provider = providerkit.provider("koala")
        assert provider.info.name == "koala"
        async with providerkit.sandbox("koala") as base_url:
            assert "'hi'" in (await provider.run("hi", base_url=base_url)).text
            chat = provider.run(base_url=base_url)
            assert "'hi'" in (await chat.send("hi")).text

    def test_it_takes_no_other_provider_and_no_unknown_option(self):
        provider = providerkit.provider(Parrot)
        with pytest.raises(TypeError, match="leave out provider="):
            provider.run("hi", provider="koala")
        with pytest.raises(TypeError, match="temprature"):
            provider.run("hi", temprature=1)
        with pytest.raises(TypeError, match="foo"):
            provider.models(foo=1)

    async def test_models_are_those_the_plugin_knows_where_it_cannot_be_asked(self):
        provider = providerkit.provider(Parrot)
        assert await provider.models() == (Model("grey"), Model("green"))
        assert await in_thread(provider.models().result) == (Model("grey"), Model("green"))

    def test_providers_are_listed_by_name(self):
        installed = providerkit.providers()
        assert installed == sorted(installed)
        assert "koala" in installed
