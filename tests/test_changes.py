"""The next part of each changelog can be made of what lies in `changes`, at any time."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TYPES = ("removal", "feature", "bugfix", "doc", "misc")
PROJECTS = [ROOT, *(path.parent for path in sorted(ROOT.glob("providers/*/pyproject.toml")))]
each_distribution = pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name if path != ROOT else "core")


def fragments(project):
    return sorted(path for path in (project / "changes").iterdir() if path.name not in {"README.md", "template.md"})


@pytest.fixture
def copy(tmp_path):
    """Copy what makes a changelog; without git, so that nothing of the checkout is touched."""

    def copy(project):
        for folder in {ROOT, project}:
            there = tmp_path / folder.relative_to(ROOT)
            shutil.copytree(folder / "changes", there / "changes")
            for name in ("CHANGELOG.md", "pyproject.toml"):
                shutil.copy(folder / name, there)
        return tmp_path / project.relative_to(ROOT)

    return copy


def release(project, version="99.0.0"):
    build = (sys.executable, "-m", "towncrier", "build", "--yes", "--version", version, "--date", "2000-01-01")
    done = subprocess.run([*build, "--dir", project], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_distribution
def test_a_release_moves_every_change_into_the_changelog(project, copy):
    before = (project / "CHANGELOG.md").read_text("utf-8")
    texts = [path.read_text("utf-8").strip() for path in fragments(project)]
    copied = copy(project)
    release(copied)
    after = (copied / "CHANGELOG.md").read_text("utf-8")
    start = before.index("-->\n") + 4
    assert after.startswith(f"{before[:start]}\n## 99.0.0 (2000-01-01)\n\n")
    assert after.endswith(before[start:])
    assert sorted(re.findall("^- (.*)$", after.removesuffix(before[start:]), re.MULTILINE)) == sorted(texts)
    assert fragments(copied) == []


def test_what_a_release_writes(copy):
    copied = copy(ROOT)
    for path in fragments(copied):
        path.unlink()
    for kind in TYPES:
        (copied / "changes" / f"a-name.{kind}.md").write_text(f"The {kind}.\n")
    (copied / "changes" / "other-name.misc.md").write_text("More.\n")
    release(copied, "99.0.0")
    release(copied, "99.1.0")
    written = (copied / "CHANGELOG.md").read_text("utf-8").partition("-->\n")[2]
    assert written.startswith("""
## 99.1.0 (2000-01-01)

Nothing that users notice.

## 99.0.0 (2000-01-01)

### Removed or changed

- The removal.

### Added

- The feature.

### Fixed

- The bugfix.

### Explained

- The doc.

### Otherwise

- The misc.
- More.
""")


@each_distribution
def test_a_change_is_told_in_plain_sentences_on_one_line(project):
    for path in fragments(project):
        assert re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(TYPES)})\.md", path.name), path.name
        assert re.fullmatch(r"[^\n]+[.)]\n?", path.read_text("utf-8")), path.name


@each_distribution
def test_all_write_their_changelogs_alike(project):
    def settings(folder):
        return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]

    assert (project / settings(project).pop("template")).resolve() == ROOT / "changes" / "template.md"
    assert {**settings(project), "template": None} == {**settings(ROOT), "template": None}
