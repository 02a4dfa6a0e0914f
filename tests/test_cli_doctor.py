"""`providerkit doctor`: what it finds, that it says what to do, and that it shows no key."""

import asyncio
import json
import site as python_site
import sys
from importlib import metadata

import pytest
from commands import call
from keyring.backends.fail import Keyring as Fail
from loopback import http, serve
from packages import announce

from providerkit.cli import checks
from providerkit.cli.doctor import _told
from providerkit.plugins import discovery, loading as plugins
from providerkit.plugins.discovery import EXTENSIONS
from providerkit.plugins.keys import SERVICE

KEY = "sk-marked-0123456789"

LOUD = """
from providerkit import hookimpl

class Plugin:
    @hookimpl(wrapper=True)
    def build_request(self):
        return (yield)
"""
PARROT = "from parrots import Parrot as Plugin"
AT = """
import attrs
from parrots import Parrot
from providerkit import hookimpl

class Plugin(Parrot):
    @hookimpl
    def describe(self):
        return attrs.evolve(super().describe(), default_base_url=URL)
"""


@pytest.fixture(autouse=True)
def start(site, tmp_path_factory, monkeypatch):
    """Return the only folder whose .pth files Python reads, so that tests do not see those of the developer."""
    folder = tmp_path_factory.mktemp("start")
    monkeypatch.setattr(python_site, "getsitepackages", lambda: [str(folder)])
    monkeypatch.setattr(python_site, "ENABLE_USER_SITE", False)
    return folder


def found(*options):
    """Return what the doctor finds, by what it is of, and the exit code."""
    code, output, errors = call("doctor", "--json", *options)
    assert errors == ""
    findings = [checks.Finding(**one) for one in json.loads(output)]
    return {one.what: one for one in findings}, code


def test_all_is_well_where_all_is_well(memory):
    findings, code = found()
    assert (code, {one.state for one in findings.values()}) == (0, {"ok", "note"})
    assert findings["Python"].says.startswith(".".join(map(str, sys.version_info[:3])))
    assert findings["aiohttp"].says == metadata.version("aiohttp")
    assert findings["provider koala"].says == f"providerkit-koala {metadata.version('providerkit-koala')}"
    assert findings["keyring"].says == "memory of the tests"
    notes = [what for what, one in findings.items() if one.state == "note"]
    assert "key of koala" in notes
    assert [what for what in notes if not what.startswith("key of ")] == ["extension limit"]
    assert {"aiohttp", "attrs", "click", "orjson", "pluggy"} <= set(findings)


def test_one_line_says_how_one_thing_is_and_the_last_whether_any_is_broken(memory, install):
    code, output, errors = call("doctor")
    assert (code, errors) == (0, "Nothing is broken.\n")
    lines = [line.split(maxsplit=2) for line in output.splitlines()]
    assert ["ok", "pluggy", metadata.version("pluggy")] in lines
    install("emu", "raise RuntimeError('first\\nsecond')")
    code, output, errors = call("doctor")
    assert (code, errors) == (1, f"Broken: 1 of {len(output.splitlines())}.\n")
    (line,) = (line for line in output.splitlines() if line.startswith("broken"))
    assert line.endswith("RuntimeError: first second; upgrade birds, or run: pip uninstall birds")


def test_a_package_that_is_too_old_or_gone_is_broken(site, monkeypatch):
    announce(site, "x", "y", group="nobody", distribution="orjson")  # before the real one on the path
    (site / "orjson-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: orjson\nVersion: 3.9\n")
    real = metadata.distribution

    def without_attrs(name):
        if name == "attrs":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "distribution", without_attrs)
    findings, code = found()
    assert code == 1
    assert findings["orjson"] == (
        "broken",
        "orjson",
        "3.9, which is older than 3.10",
        'try: pip install "orjson>=3.10"',
    )
    assert findings["attrs"] == ("broken", "attrs", "is not installed", 'try: pip install "attrs>=24.2"')


@pytest.mark.parametrize(
    ("version", "numbers"), [("3.14.5", [3, 14, 5]), ("24.2", [24, 2]), ("3.14.0rc1", [3, 14, 0]), ("junk", [])]
)
def test_a_version_is_read_as_its_release(version, numbers):
    assert checks._numbers(version) == numbers


def test_a_core_that_is_not_installed_is_broken(monkeypatch):
    monkeypatch.setattr(checks, "CORE", "providerkit-of-nobody")
    findings, code = found()
    assert (code, findings["providerkit-of-nobody"].state) == (1, "broken")


def test_another_copy_on_the_path_is_broken(site):
    (site / "providerkit").mkdir()
    assert found()[1] == 0
    (site / "providerkit" / "__init__.py").touch()
    findings, code = found()
    assert (code, findings["providerkit"].says) == (1, f"there is another copy at {site / 'providerkit'}")


@pytest.mark.parametrize("entry", [b"/nowhere", None], ids=repr)
def test_what_the_import_system_passes_over_in_its_path_is_passed_over_here(site, monkeypatch, entry):
    expected = found()
    monkeypatch.setattr(sys, "path", [*sys.path, entry, site])
    assert found() == expected


def test_two_versions_of_one_package_are_broken(site):
    announce(site, "x", "y", group="nobody", distribution="providerkit_core")
    info = site / "providerkit_core-1.0.dist-info" / "METADATA"
    info.write_text("Metadata-Version: 2.1\nName: providerkit-core\nVersion: 99.0\n")
    findings, code = found()
    assert (code, findings["providerkit-core"].says) == (1, "is there more than once: 0.1.0 and 99.0")


def test_the_other_project_of_that_name_is_broken(site):
    announce(site, "x", "y", group="nobody", distribution="providerkit")
    findings, code = found()
    assert (code, findings["providerkit"].says) == (1, "1.0 is another project that is imported by the same name")
    assert findings["providerkit"].advice.startswith(
        "run: pip uninstall providerkit, then in the checkout of this one: pip install "
    )


def test_two_packages_with_one_name_are_both_broken(site):
    announce(site, "dodo", "one:Dodo", distribution="one")
    announce(site, "dodo", "two:Dodo", distribution="two")
    code, output, _ = call("doctor", "--json")
    dodos = [one for one in json.loads(output) if one["what"] == "provider dodo"]
    assert (code, [one["state"] for one in dodos]) == (1, ["broken", "broken"])
    assert sorted(one["says"] for one in dodos) == [
        f"{name} 1.0: one 1.0 and two 1.0 both announce this name; uninstall one" for name in ("one", "two")
    ]


def test_where_there_is_no_provider_it_says_what_to_install(monkeypatch, install):
    install("loud", LOUD, group=EXTENSIONS)
    announcements = discovery.announcements
    monkeypatch.setattr(checks, "announcements", lambda group: announcements(group) if group == EXTENSIONS else [])
    findings, code = found()
    assert (code, findings["providers"].advice) == (
        0,
        "in a checkout of providerkit, run: pip install ./providers/koala",
    )
    assert findings["extension loud"].state == "ok"


def test_extensions_are_loaded_and_put_around_a_provider(install):
    install("loud", LOUD, group=EXTENSIONS, distribution="loud")
    install("misspelt", LOUD.replace("build_request", "build_requests"), group=EXTENSIONS, distribution="misspelt")
    findings, code = found()
    assert code == 1
    assert findings["extension loud"] == ("ok", "extension loud", "loud 1.0", "")
    assert "did you mean 'build_request'?" in findings["extension misspelt"].says


def test_an_extension_that_wants_to_be_told_more_is_not_broken(monkeypatch):
    monkeypatch.delenv("PROVIDERKIT_LIMIT_REQUESTS", raising=False)
    monkeypatch.delenv("PROVIDERKIT_LIMIT_TOKENS", raising=False)
    findings, _ = found()
    assert findings["extension limit"].state == "note"
    assert "PROVIDERKIT_LIMIT_REQUESTS" in findings["extension limit"].says


@pytest.mark.parametrize(
    ("name", "package", "distribution"),
    [("cost", "genai_prices", "genai-prices"), ("trace", "opentelemetry", "opentelemetry-api")],
)
@pytest.mark.parametrize(("wanted", "state"), [(False, "note"), (True, "broken")])
def test_an_extension_that_lacks_a_package_is_not_fine(monkeypatch, name, package, distribution, wanted, state):
    for module in [package, *(module for module in sys.modules if module.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "providerkit.extensions.spans", raising=False)
    monkeypatch.setattr("providerkit.plugins.loading._loaded", {})  # one that was loaded before has found its package
    plugins._instance_of.cache_clear()
    if wanted:
        monkeypatch.setenv("PROVIDERKIT_EXTENSIONS", name)
    findings, code = found()
    assert (code, findings[f"extension {name}"].state) == (int(wanted), state)
    assert findings[f"extension {name}"].says.endswith(f"pip install {distribution}")


@pytest.mark.parametrize("name", ["circle", "a" * 256])
def test_a_folder_on_the_path_that_can_not_be_read_is_named(tmp_path, monkeypatch, name):
    (tmp_path / "circle").symlink_to("circle")
    folder = str(tmp_path / name)
    monkeypatch.setattr(sys, "path", [*sys.path, folder, str(tmp_path / "gone")])
    findings, code = found()
    assert (code, findings[folder].state) == (0, "note")
    assert findings[folder].says.startswith("can't be read: ")
    assert str(tmp_path / "gone") not in findings


def test_an_extension_that_every_call_wants_must_be_installed(install, monkeypatch):
    install("loud", LOUD, group=EXTENSIONS)
    monkeypatch.setenv("PROVIDERKIT_EXTENSIONS", "loud, gone,")
    findings, code = found()
    assert (code, findings["extension gone"].advice) == (1, "install it, or take it out of PROVIDERKIT_EXTENSIONS")
    assert findings["extension loud"].state == "ok"


def test_it_says_where_a_key_is_found_and_never_the_key(memory, install, monkeypatch):
    install("parrot", PARROT)
    monkeypatch.setenv("PARROT_API_KEY", KEY)
    memory.kept[SERVICE, "koala"] = KEY
    findings, _ = found()
    assert findings["key of parrot"].says == "in the environment, PARROT_API_KEY"
    assert findings["key of koala"].says == "in the keyring"
    assert KEY not in call("doctor")[1]
    del memory.kept[SERVICE, "koala"]


def test_a_missing_key_is_no_fault_but_it_says_how_to_give_one(memory):
    findings, code = found()
    advice = "where one is needed: set KOALA_API_KEY, or run: providerkit keys set koala"
    assert (code, findings["key of koala"]) == (0, ("note", "key of koala", "none is found", advice))


def test_a_plugin_that_shows_a_key_as_it_breaks_does_not_show_it_here(install, monkeypatch):
    monkeypatch.setenv("EMU_API_KEY", KEY)
    install("emu", "import os\nraise RuntimeError(os.environ['EMU_API_KEY'])")
    for form in ((), ("--json",)):
        code, output, errors = call("doctor", *form)
        assert (code, KEY in output + errors) == (1, False)
        assert "RuntimeError: ***" in output


def test_a_keyring_that_fails_or_is_not_there_is_a_note(any_backend, monkeypatch):
    any_backend(Fail())
    findings, code = found()
    assert (code, findings["keyring"].state, findings["keyring"].advice) == (0, "note", "calls go on without it")
    assert findings["keyring"].says.startswith("the keyring can't be used: NoKeyringError")
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert found()[0]["keyring"].advice == "to keep keys in it: pip install keyring"


EDITABLE = "import __editable___birds_1_0_finder; __editable___birds_1_0_finder.install()"


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (f"{EDITABLE}\n", False),
        ("/somewhere/else\n# import that is none\n", False),
        (f"{EDITABLE}\nimport os; os.getcwd()\n", True),
        (f"{EDITABLE}; import os\n", True),
        ("import\tos\n", True),
        ("\ufeffimport os\n", True),
    ],
)
def test_files_that_run_code_when_python_starts_are_listed(start, text, listed):
    (start / "birds.pth").write_text(text, "utf-8")
    findings, code = found()
    assert (code, "birds.pth" in findings) == (0, listed)


def test_it_says_whose_a_file_is_that_runs_code(start, monkeypatch):
    monkeypatch.syspath_prepend(start)
    for name in ("of_birds.pth", "stray.pth"):
        (start / name).write_text("import os\n")
    (start / "gone.pth").symlink_to("nowhere")
    announce(start, "x", "y", group="nobody")
    (start / "birds-1.0.dist-info" / "RECORD").write_text("of_birds.pth,,\nbirds.py,,\n")
    (start / "junk-1.0.dist-info").mkdir()
    (start / "junk-1.0.dist-info" / "RECORD").write_bytes(b"\xff.pth,,\n")
    findings, _ = found()
    assert findings["of_birds.pth"].says == "runs code whenever Python starts, and belongs to birds 1.0"
    assert findings["stray.pth"].says == "runs code whenever Python starts, and belongs to no installed package"
    assert str(start / "stray.pth") in findings["stray.pth"].advice
    assert "gone.pth" not in findings


def test_those_of_the_user_are_looked_at_where_python_does(start, tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_text("import os\n")
    monkeypatch.setattr(python_site, "getusersitepackages", lambda: str(tmp_path))
    assert "mine.pth" not in found()[0]
    monkeypatch.setattr(python_site, "ENABLE_USER_SITE", True)
    assert "mine.pth" in found()[0]


@pytest.fixture
def knock(install, monkeypatch):
    """Return a function that installs a parrot at an address, and nobody else, and knocks there."""
    announcements = discovery.announcements
    monkeypatch.setattr(
        checks, "announcements", lambda group: [one for one in announcements(group) if one.name == "parrot"]
    )

    async def knock(url):
        install("parrot", AT.replace("URL", repr(url)))
        findings, code = await asyncio.to_thread(found, "--online")
        return findings.get("address of parrot"), code

    return knock


@pytest.mark.parametrize("status", [200, 404])
async def test_any_answer_of_an_address_will_do_and_no_key_is_sent(knock, monkeypatch, status):
    monkeypatch.setenv("PARROT_API_KEY", KEY)
    async with serve(http(b"", status=status)) as server:
        finding, code = await knock(server.base_url)
    assert (code, finding.state, finding.says) == (0, "ok", f"{server.base_url} answers (HTTP {status})")
    (request,) = server.requests
    assert (request.method, "authorization" in request.headers) == ("HEAD", False)


@pytest.mark.parametrize(("key", "state"), [(KEY, "broken"), (None, "note")])
async def test_an_address_that_can_not_be_reached_is_broken_if_there_is_a_key(knock, monkeypatch, key, state):
    if key:
        monkeypatch.setenv("PARROT_API_KEY", key)
    finding, code = await knock("http://nowhere.invalid")
    assert (code, finding.state) == (int(key is not None), state)
    assert finding.says.startswith("http://nowhere.invalid: can't find the host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_service_of_this_machine_that_does_not_run_is_a_note(knock, host):
    finding, code = await knock(f"http://{host}:1")
    assert (code, finding.state, finding.advice) == (
        0,
        "note",
        "it is a service on this machine; start it before you ask it",
    )


def test_advice_begins_a_sentence_where_a_question_has_ended_one():
    assert _told(checks.Finding("note", "x", "is it\nthere?", "start it")) == "is it there? Start it"
    assert _told(checks.Finding("note", "x", "it is gone", "start it")) == "it is gone; start it"
    assert _told(checks.Finding("ok", "x", "1.0")) == "1.0"


async def test_an_address_that_is_silent_is_not_waited_for_without_end(knock, monkeypatch):
    monkeypatch.setattr(checks, "PATIENCE", 0.05)
    over = asyncio.Event()

    async def silent(request, writer):
        await over.wait()

    async with serve(silent) as server:
        finding, _ = await knock(server.base_url)
        over.set()
    assert (finding.state, finding.says) == ("note", f"{server.base_url} did not answer within 0.05 s")


async def test_who_has_no_address_is_not_asked(knock):
    assert await knock(None) == (None, 0)


def test_nothing_is_asked_of_the_network_unless_it_is_wanted(monkeypatch):
    monkeypatch.setattr(checks, "_addresses", None)  # calling it would raise
    findings, _ = found()
    assert not [what for what in findings if what.startswith("address")]
