"""Discovery: what is installed is read from metadata alone, and a ruin in it touches no other package."""

import sys
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest
from packages import announce, imported

from providerkit.plugins import discovery
from providerkit.plugins.discovery import PROVIDERS, announcements


def test_listing_imports_nothing(flock):
    all_are_listed = "assert {f'bird{number}' for number in range(20)} <= set(discovery.providers())"
    assert imported(flock, all_are_listed) == []
    assert imported(flock, "assert len(discovery.announcements()) >= 20") == []


def problems():
    return {found.name: found.problem for found in announcements()}


def test_a_package_whose_metadata_is_a_ruin_is_listed_all_the_same(site):
    announce(site, "parrot", "birds_module:Parrot")
    (site / "birds-1.0.dist-info" / "METADATA").write_text("")
    (found,) = (one for one in announcements() if one.name == "parrot")
    assert (found.distribution, found.version) == ("unknown", "unknown")


@pytest.mark.parametrize("entry", [Path("/nowhere"), b"/nowhere", None, 5], ids=repr)
def test_what_the_import_system_passes_over_in_its_path_is_passed_over_here(site, monkeypatch, entry):
    """Scripts append a Path, which is never read; all that is found on strings is found as before."""
    announce(site, "parrot", "birds_module:Parrot")
    before = announcements()
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    assert announcements() == before
    assert "parrot" in discovery.providers()
    assert len(discovery.announced(PROVIDERS, "parrot")) == 1


def test_a_package_on_a_path_that_is_no_string_is_not_found_for_it_can_not_be_imported(tmp_path, monkeypatch):
    announce(tmp_path, "parrot", "birds_module:Parrot")
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    assert "parrot" not in discovery.providers()
    assert discovery.announced(PROVIDERS, "parrot") == ()


def test_a_finder_of_the_old_kind_is_passed_over(site, monkeypatch):
    announce(site, "parrot", "birds_module:Parrot")
    before = problems()
    monkeypatch.setattr(sys, "meta_path", [object(), *sys.meta_path])
    assert problems() == before


class Backport:
    """Find what PathFinder finds, as the finder of importlib_metadata does, and raise where metadata is not there."""

    def find_distributions(self, context):
        return PathFinder.find_distributions(context)

    @property
    def metadata(self):
        raise FileNotFoundError


def test_a_program_that_has_imported_the_backport_of_importlib_metadata_lists_as_others_do(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Backport()])
    assert not discovery._is_all_in_folders()
    monkeypatch.setattr(Backport, "__module__", "importlib_metadata")
    assert discovery._is_all_in_folders()
    assert discovery.metadata_of(Backport()) == {}


def test_a_package_with_junk_in_its_metadata_touches_no_other(site, tmp_path_factory, monkeypatch):
    announce(site, "parrot", "birds_module:Parrot")
    announce(site, "junk", "junk_module:Junk", distribution="junk")
    (site / "junk-1.0.dist-info" / "entry_points.txt").write_text(
        f"[anything]\njunk\n[{PROVIDERS}]\njunk = junk:Junk\n"
    )
    second = tmp_path_factory.mktemp("second")
    announce(second, "parrot", "second:Parrot")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second)])
    with pytest.raises(TypeError):
        entry_points(group=PROVIDERS)
    found = [one.name for one in announcements()]
    assert (found.count("koala"), found.count("parrot"), found.count("junk")) == (1, 1, 0)
    assert len(discovery.announced(PROVIDERS, "parrot")) == 1


def test_a_package_is_listed_with_its_version(site):
    announce(site, "parrot", "birds:Parrot")
    assert ("parrot", "birds", "1.0") in {(found.name, found.distribution, found.version) for found in announcements()}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("birds", None),
        ("birds:Plugin", None),
        ("forest.trees.nests:Plugin", None),
        ("not a module", "its entry point 'not a module' is not of the form 'module:name'"),
        ("gone:Plugin", "its module 'gone' is not there"),
        ("birds.nests:Plugin", "its module 'birds.nests' is not there"),
    ],
)
def test_the_listing_says_what_metadata_alone_shows(site, value, problem):
    for module in ("birds.py", "nests.py", "forest/trees/nests.py"):
        (site / module).parent.mkdir(parents=True, exist_ok=True)
        (site / module).write_text("raise RuntimeError")
    announce(site, "parrot", value)
    assert problems()["parrot"] == problem


@pytest.mark.parametrize("group", [PROVIDERS, "console_scripts", "pytest11", "nothing"])
def test_a_listing_finds_what_importlib_finds(group, site):
    announce(site, "parrot", "birds:Parrot")
    text = (
        "# a comment\n[console_scripts]\n crow=birds : crow [x]\n\n[other]\na = b\n[providerkit.providers]\nx = y:z\n"
    )
    (site / "birds-1.0.dist-info" / "entry_points.txt").write_text(text)
    older = site / "older.egg-info"
    older.mkdir()
    (older / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Older\nVersion: 0.1\n\nName: not this one\n")
    (older / "entry_points.txt").write_text("[nothing]\n")
    expected = [discovery._line(entry_point) for entry_point in entry_points(group=group)]
    assert discovery._is_all_in_folders()
    assert sorted(discovery._lines(group)) == sorted(expected)


def test_of_two_versions_the_first_on_the_path_is_listed(site, tmp_path_factory, monkeypatch):
    second = tmp_path_factory.mktemp("second")
    announce(site, "parrot", "birds:Parrot")
    announce(second, "other", "birds:Parrot")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second)])
    found = [one.name for one in announcements()]
    assert (found.count("koala"), found.count("parrot"), found.count("other")) == (1, 1, 0)


def test_what_is_installed_within_an_archive_is_listed(site, tmp_path_factory, monkeypatch):
    archive = tmp_path_factory.mktemp("archives") / "birds.zip"
    with ZipFile(archive, "w") as file:
        file.writestr("birds-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: birds\nVersion: 1.0\n")
        file.writestr("birds-1.0.dist-info/entry_points.txt", f"[{PROVIDERS}]\nparrot = birds:Parrot\n")
        file.writestr("birds.py", "")
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    assert ("parrot", "birds", "1.0", None) in announcements()
