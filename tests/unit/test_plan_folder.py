"""The release folder: complete in itself, the same bytes each time, never over a person's work; and every kind of drift is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import orjson
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from extproc import plan, spec
from extproc.cli import app, folder, write
from extproc.cli.folder import write_folder
from extproc.domain import Spec
from extproc.errors import SettingsError
from extproc.plan import MANIFEST, README, Drift, DriftKind, drift, known_paths, strategy
from extproc.plan.about import about
from extproc.plan.folder import Part, files
from extproc.plan.markdown import anchor, code, prose, table
from extproc.plan.page import page
from extproc.plan.said import lasting

ROOT = Path(__file__).parents[2]
EXAMPLE, SHOP = ROOT / "envoy" / "release.yaml", ROOT / "tests" / "support" / "shop.yaml"
SLOTS = re.compile(r"TODO|FIXME|CHANGE_?ME|REPLACE(?:_|ME)|[Yy]our-|example\.com|<[A-Za-z][A-Za-z _-]*>")
FOUR = tuple(sorted((ROOT / "tests" / "examples").glob("*.yaml")))
"""One for each type of application: a chatbot, a code assistant on GPUs, a search on Cloud Run, content for forty tenants."""
KINDS = pytest.mark.parametrize("path", [EXAMPLE, SHOP, *FOUR], ids=lambda path: path.stem)
folder.register(app)
write.register(app)


@pytest.fixture(scope="module")
def made() -> dict[Path, dict[str, str]]:
    return {path: plan.files(spec.read(str(path)), text=spec.read_text(str(path))) for path in (EXAMPLE, SHOP, *FOUR)}


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["plan", *(str(one) for one in arguments)], catch_exceptions=False)
    return done.exit_code, done.stdout


class Page(HTMLParser):
    """What a page links to, what can be linked to, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if given.get("id"):
            self.names.append(given["id"] or "")
        self.loads += [given[key] or "" for key in ("src", "xlink:href", "data") if key in given]
        if tag in ("script", "link", "iframe", "img"):
            self.loads.append(tag)


# ------------------------------------------------------------------------------------------------------------------ the folder
@KINDS
def test_every_link_resolves(made: dict[Path, dict[str, str]], path: Path) -> None:
    """In Markdown and in pages: to a file of the folder, and to a heading that is there. Other sites are not asked."""
    checked = 0
    for name, text in made[path].items():
        if not name.endswith((".md", ".html")):
            continue
        read = Page(text if name.endswith(".html") else MarkdownIt("commonmark").enable("table").render(text))
        assert len(set(read.names)) == len(read.names), name
        for link in read.links:
            if "://" in link:
                continue
            file, _, heading = link.partition("#")
            target = str(PurePosixPath(name).parent / file) if file else name
            assert target in made[path], f"{name} links to {link}"
            if heading:
                assert heading in Page(made[path][target]).names, f"{name} links to {link}"
            checked += 1
    assert checked >= 10


@KINDS
def test_no_placeholder_is_left(made: dict[Path, dict[str, str]], path: Path) -> None:
    """Nothing waits for somebody to fill it in."""
    for name, text in made[path].items():
        shown = re.sub(r"<[^>]*>", "", text) if name.endswith((".html", ".svg", ".mmd")) else text.replace(r"\<b\>", "")
        assert not SLOTS.search(shown), (name, SLOTS.search(shown))


@KINDS
def test_pages_need_nothing_else(made: dict[Path, dict[str, str]], path: Path) -> None:
    """No script, no asset, no network; what the Spec says is text."""
    pages = [text for name, text in made[path].items() if name.endswith(".html")]
    assert pages
    for text in pages:
        assert Page(text).loads == []
        assert "url(" not in re.sub(r"url\(#arch-[a-z]+\)", "", text)
        assert "@import" not in text
        assert "<b>" not in text


def test_the_same_spec_gives_the_same_bytes(made: dict[Path, dict[str, str]]) -> None:
    """In another process too, whose sets have another order."""
    script = "import sys; from extproc import plan, spec; sys.stdout.write(plan.files(spec.read(sys.argv[1]))['manifest.json'])"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", script, str(SHOP)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == made[SHOP][MANIFEST]


@KINDS
def test_the_manifest_and_the_readme_name_every_file(made: dict[Path, dict[str, str]], path: Path) -> None:
    """With the hash of its bytes; the README with a link."""
    document = orjson.loads(made[path][MANIFEST])
    others = {name: text for name, text in made[path].items() if name != MANIFEST}
    assert document["spec"] == spec.read(str(path)).digest
    assert document["files"] == {name: sha256(text.encode()).hexdigest() for name, text in others.items()}
    for name in others.keys() - {README}:
        assert f"| [{prose(name)}]({name}) |" in made[path][README]


def test_the_readme_says_of_a_file_what_the_file_says() -> None:
    """Its title, its first comment, its description."""
    for path, text, said in (
        ("a/PLAN.md", "# A plan\n", "A plan"),
        ("x.yaml", "# Rules for Prometheus.\ngroups: []\n", "Rules for Prometheus."),
        ("run.sh", "#!/bin/sh\n# Waits.\n", "Waits."),
        ("board.json", '{"uid": "x", "title": "Canary"}', "Canary"),
        ("list.json", "[]", "list"),
        ("monitors.json", "[{}, {}]", "2 monitors"),
        ("new.flagd.json", '{"flags": {}}', "the flag new for flagd"),
        ("ask.py", '"""Asks for a flag.\n\nMore."""\n', "Asks for a flag."),
        ("p.html", "<html><title>A &amp; B</title>", "A & B"),
        ("a.mmd", "%% Architecture\nflowchart LR\n", "Architecture"),
        ("Dockerfile", "FROM scratch\n", "Dockerfile"),
    ):
        assert about(path, text) == said


def test_two_parts_cannot_make_one_file(made: dict[Path, dict[str, str]]) -> None:
    """Nor one that is not inside the folder."""
    given = spec.read(str(EXAMPLE))
    for paths in (("a", "a"), ("README.md",), ("../a",), ("/a",), ("a//b",)):
        parts = [Part(str(number), lambda _, path=path: {path: ""}) for number, path in enumerate(paths)]
        with pytest.raises(AssertionError):
            files(given, parts)


# ----------------------------------------------------------------------------------------------------------------------- drift
def other(given: Spec) -> dict[str, str]:
    """The folder of another Spec."""
    return files(given, (Part("one", lambda _: {"kept.txt": "same\n", "moved.txt": "b\n", "new.txt": "n\n"}),))


@pytest.fixture(scope="module")
def then() -> dict[str, str]:
    return files(spec.read(str(SHOP)), (Part("one", lambda _: {"kept.txt": "same\n", "moved.txt": "a\n", "old/gone.txt": "o\n"}),))


def test_every_kind_of_drift_is_told_apart(then: dict[str, str]) -> None:
    """Missing, changed by hand, made from another Spec, left over, made by another version; each with its first differing line."""
    now = other(spec.read(str(EXAMPLE)))
    assert drift(then, then) == ()
    found = {one.path: one for one in drift(now, then)}
    assert found["moved.txt"] == Drift("moved.txt", DriftKind.OTHER_SPEC, 1, "b", "a")
    assert found["new.txt"].kind is DriftKind.MISSING
    assert found["old/gone.txt"] == Drift("old/gone.txt", DriftKind.LEFT_OVER)
    assert found[MANIFEST].kind is found[README].kind is DriftKind.OTHER_SPEC
    assert "kept.txt" not in found

    (edited,) = drift(then, then | {"kept.txt": "same\nmore"})
    assert edited == Drift("kept.txt", DriftKind.CHANGED, 2, "", "more")
    (shorter,) = drift(then, then | {"kept.txt": "same"})
    assert shorter == Drift("kept.txt", DriftKind.CHANGED, 2, "", None)
    (manifest,) = drift(then, {path: text for path, text in then.items() if path != MANIFEST})
    assert (manifest.path, manifest.kind) == (MANIFEST, DriftKind.MISSING)
    newer = files(spec.read(str(SHOP)), (Part("one", lambda _: {"kept.txt": "SAME\n", "moved.txt": "a\n", "old/gone.txt": "o\n"}),))
    (version,) = drift(newer, then)
    assert version == Drift("kept.txt", DriftKind.OTHER_VERSION, 1, "SAME", "same")


def test_a_change_by_hand_is_told_before_another_spec(then: dict[str, str]) -> None:
    """Whoever writes the folder anew would lose it."""
    now = other(spec.read(str(EXAMPLE)))
    found = {one.path: one.kind for one in drift(now, then | {"moved.txt": "mine\n", "old/gone.txt": "mine\n"})}
    assert found["moved.txt"] is found["old/gone.txt"] is DriftKind.CHANGED
    assert {one.path for one in plan.blocking(now, then | {"moved.txt": "mine\n"})} == {"moved.txt"}


def test_a_folder_that_was_left_half_written_is_finished(then: dict[str, str]) -> None:
    """Killed between two files: those that are new already are no change of a person's, whichever they are."""
    now = other(spec.read(str(EXAMPLE)))
    for name in now.keys() - {MANIFEST}:
        assert plan.blocking(now, then | {name: now[name]}) == ()
    assert plan.blocking(now, then | {path: text for path, text in now.items() if path != MANIFEST}) == ()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"format": 2, "spec": "x", "files": {}}', '{"format": 1, "spec": "x", "files": {"../a": "h"}}'),
        *('{"format": 1, "spec": 1, "files": {}}', '{"format": 1, "spec": "x", "files": {"a": 1}}'),
    ],
)
def test_what_is_no_manifest_says_nothing(then: dict[str, str], text: str) -> None:
    """One that names files outside of the folder is none: files are deleted by what it says."""
    assert known_paths(then, text) == tuple(sorted(then))
    (one,) = drift(then, then | {MANIFEST: text})
    assert (one.path, one.kind) == (MANIFEST, DriftKind.CHANGED)


# --------------------------------------------------------------------------------------------------------------------- command
def texts(at: Path) -> dict[str, str]:
    return {str(path.relative_to(at)): path.read_text(encoding="utf-8") for path in at.rglob("*") if path.is_file()}


def test_plan_writes_a_folder_and_checks_it(tmp_path: Path, made: dict[Path, dict[str, str]]) -> None:
    """Twice changes nothing; --check finds what became of each file and ends with 1."""
    at = tmp_path / "deep" / "release"
    code, said = run(EXAMPLE, "-o", at)
    assert (code, texts(at)) == (0, made[EXAMPLE])
    assert list(at.parent.iterdir()) == [at]
    assert f"{len(made[EXAMPLE])} files" in said
    assert run(EXAMPLE, "--check", at) == (0, f"{at}: {len(made[EXAMPLE])} files, as the Spec makes them\n")
    assert "0 of them written" in run(EXAMPLE, "-o", at)[1]
    plan_md = at / "PLAN.md"
    plan_md.write_text(plan_md.read_text(encoding="utf-8").replace("a chatbot", "a toy"), encoding="utf-8")
    (at / "architecture.svg").unlink()
    code, said = run(EXAMPLE, "--check", at)
    assert code == 1
    assert "PLAN.md: changed by hand, from line 7\n  Spec  | **Application** | `chat`, a chatbot |\n" in said
    assert "  there | **Application** | `chat`, a toy |\n" in said
    assert "architecture.svg: missing\n" in said
    code, said = run(SHOP, "--check", at)
    assert code == 1
    assert "architecture.mmd: made from another Spec, from line 1\n" in said
    assert run(EXAMPLE, "--check", tmp_path / "nowhere")[0] == 1


def test_plan_never_overwrites_what_a_person_changed(tmp_path: Path, made: dict[Path, dict[str, str]]) -> None:
    """It names every such file and changes none; --force does. Files of others stay, those that are left over go."""
    at = tmp_path / "release"
    run(EXAMPLE, "-o", at)
    (at / "PLAN.md").write_text("mine\n")
    (at / "architecture.mmd").write_text("mine too\n")
    (at / "notes.txt").write_text("notes\n")
    before = texts(at)
    with pytest.raises(SettingsError) as caught:
        run(SHOP, "-o", at)
    assert [(one.id, one.path) for one in caught.value.problems] == [
        ("plan.changed", str(at / "PLAN.md")),
        ("plan.changed", str(at / "architecture.mmd")),
    ]
    assert texts(at) == before
    assert run(SHOP, "-o", at, "--force")[0] == 0
    assert texts(at) == made[SHOP] | {"notes.txt": "notes\n"}


def test_a_file_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A folder without a manifest in which a README is already."""
    (tmp_path / README).write_text("# Mine\n")
    with pytest.raises(SettingsError) as caught:
        run(EXAMPLE, "-o", tmp_path)
    assert [one.path for one in caught.value.problems] == [str(tmp_path / README)]
    assert texts(tmp_path) == {README: "# Mine\n"}


def folder_of(given: Mapping[str, str]) -> dict[str, str]:
    return files(spec.read(str(EXAMPLE)), (Part("one", lambda _: dict(given)),))


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    """A file stands where a folder must be: whatever was replaced before is put back."""
    at = tmp_path / "release"
    first = folder_of({"a.txt": "1\n", "gone/away.txt": "x\n"})
    write_folder(at, first, force=False)
    (at / "z").write_text("in the way\n")
    before = texts(at)
    with pytest.raises(SettingsError) as caught:
        write_folder(at, folder_of({"a.txt": "2\n", "b.txt": "new\n", "z/deep.txt": "y\n"}), force=False)
    assert caught.value.problems[0].id == "settings.write"
    assert texts(at) == before
    assert "1 removed" in write_folder(at, folder_of({"a.txt": "2\n"}), force=False)
    assert texts(at) == folder_of({"a.txt": "2\n"}) | {"z": "in the way\n"}
    assert not (at / "gone").exists()


def test_scripts_can_be_run(tmp_path: Path) -> None:
    """What begins with #! is executable, when it is made and when it is replaced; nothing else is."""
    at = tmp_path / "release"
    for number in ("1", "2"):
        write_folder(at, folder_of({"run.sh": f"#!/bin/sh\necho {number}\n", "a.txt": number}), force=False)
        assert subprocess.run([at / "run.sh"], capture_output=True, text=True, check=True).stdout == f"{number}\n"
        assert not os.access(at / "a.txt", os.X_OK)


@pytest.mark.parametrize("arguments", [(), ("-o", "x", "--check", "x"), ("--check", "x", "--force")])
def test_plan_wants_one_thing(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To write, or to check."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError):
        run(EXAMPLE, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_and_a_folder_is_no_file(tmp_path: Path) -> None:
    """Both are told, and left as they are."""
    (tmp_path / "file").write_text("mine\n")
    (tmp_path / "folder" / "PLAN.md").mkdir(parents=True)
    for name in ("file", "folder"):
        for option in ("-o", "--check"):
            with pytest.raises(SettingsError) as caught:
                run(EXAMPLE, option, tmp_path / name)
            assert caught.value.problems[0].id == "settings.plan"
    assert texts(tmp_path) == {"file": "mine\n"}


# --------------------------------------------------------------------------------------------------------------------- writing
@pytest.mark.parametrize(
    "text", ["a | b", "`x`", "*a* _b_ <b>c</b> [d](e)", "# x", "a\nb", "$1 and $2", "\u202egnp", "\\", "&lt;", "~~a~~"]
)
def test_names_never_become_markup(text: str) -> None:
    """As prose, as code, in a table, in a page: what is shown is what was written, on one line."""
    shown = re.sub("[\n\u202e]", " ", text)
    for written in (prose(text), code(text)):
        page_ = MarkdownIt("commonmark").enable("table").render(table(("a", "b"), [(written, "end")]))
        cells = re.findall(r"<td>(.*?)</td>", page_)
        assert len(cells) == 2
        plain = re.sub("</?code>", "", cells[0])
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
            plain = plain.replace(entity, character)
        assert plain.strip() == shown.strip()


def test_headings_of_one_name_are_told_apart() -> None:
    """As GitHub does: -1, -2 behind the later ones."""
    names = Page(page("x", "## A b\n\n### C\n\n## D\n\n### C\n\n### C\n", {})).names
    assert names == ["a-b", "c", "d", "c-1", "c-2"]
    assert anchor("Rollout gpt-5.1 (new)") == "rollout-gpt-51-new"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0, "0 s"), (7.2, "8 s"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (70200, "19 h 30 min")),
        *((86400, "1 d"), (86399, "1 d"), (90001, "1 d 2 h"), (31536000, "365 d")),
    ],
)
def test_times_are_short(seconds: float, said: str) -> None:
    """Two units at most, rounded up."""
    assert lasting(seconds) == said


def test_the_guide_names_every_file_and_every_kind_of_drift(made: dict[Path, dict[str, str]]) -> None:
    """docs/plan.md says what is there, in the words of the command."""
    guide = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(.*?)` \|", guide, re.MULTILINE)
    kinds = [kind.value.partition(":")[0] for kind in DriftKind]
    assert {*kinds, *strategy.files(spec.read(str(EXAMPLE))), README, MANIFEST} <= set(named) <= {*kinds, *made[EXAMPLE]}
