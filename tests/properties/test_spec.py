"""Laws of reading a Spec: values survive the way there and back, and no text makes `load` do anything but answer."""

from __future__ import annotations

import copy
import datetime
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc import spec
from extproc.domain import Spec
from extproc.errors import SpecError
from extproc.spec.bundle import bundled, parted
from extproc.spec.units import duration, money, share, show_share

TEXT = (Path(__file__).parents[2] / "envoy" / "release.yaml").read_text(encoding="utf-8")
EXAMPLE = yaml.safe_load(TEXT)
SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
quick = settings(max_examples=300, deadline=None, derandomize=True)
slow = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""A whole document takes PyYAML about 15 ms."""


def answered(text: str) -> Spec | tuple[Any, ...]:
    """What `load` says: a Spec, or problems in the order of lines, each of which can be shown on one terminal. Anything else fails."""
    try:
        return spec.load(text)
    except SpecError as error:
        problems = error.problems
    assert problems
    lines = [problem.line for problem in problems]
    assert lines == sorted(lines)
    assert lines[-1] <= len(text.splitlines()) + 1
    for problem in problems:
        assert problem.message
        str(problem).encode()
    return problems


# ------------------------------------------------------------------------------------------------------------------------- units
@quick
@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(sorted(SECONDS))), min_size=1, max_size=5), st.sampled_from(["", " "]))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]], blank: str) -> None:
    """`1h30m` is 5400 seconds, however it is split."""
    exact = sum(number * SECONDS[unit] for number, unit in parts)
    assert math.isclose(duration(blank.join(f"{number}{unit}" for number, unit in parts)), exact, rel_tol=1e-12, abs_tol=1e-12)


@quick
@given(st.decimals(0, 100, places=4))
def test_a_share_survives_the_way_there_and_back(percent: Decimal) -> None:
    """What is shown is what was written, digit for digit; reports and commands go by it."""
    fraction = share(f"{percent:f}%")
    assert 0.0 <= fraction <= 1.0
    assert Decimal(show_share(fraction).removesuffix("%")) == percent
    assert share(show_share(fraction)) == fraction


@quick
@given(st.decimals(0, 10**9, places=6))
def test_money_is_exact(amount: Decimal) -> None:
    """No binary fraction ever touches money."""
    assert money(f"${amount:f}") == amount
    assert money(f" $ {amount:f} ") == amount


@quick
@given(
    st.one_of(
        st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers()), st.text(),
        st.text("0123456789.,%$smhd -+e٣", max_size=8),
    )
)  # fmt: skip
def test_units_answer_with_a_number_or_a_sentence(value: Any) -> None:
    """A bare number, a sign, another script's digits, an exponent: ValueError, never a guess, never infinity."""
    for read, sign in ((duration, "smhd"), (share, "%"), (money, "$")):
        try:
            number = read(value)
        except ValueError:
            continue
        assert math.isfinite(number)
        assert number >= 0
        assert isinstance(value, str)
        assert any(character in value for character in sign)
        assert value.isascii()


@pytest.mark.parametrize(
    "value", ["", "8", "8 s", "s", "-1s", "1e3s", "1h 30", "1,5h", "٣s", "1.s", ".5s", "8s\n", 8, 8.0, None, True, "1" + "0" * 400 + "d"]
)
def test_what_is_no_duration(value: Any) -> None:
    """A number without its unit could be seconds or milliseconds: refused."""
    with pytest.raises(ValueError, match=r"is no duration|longer than ten years"):
        duration(value)


@pytest.mark.parametrize("value", ["5", "5 %%", "-5%", "100.001%", "1e1%", "٣%", "5%\n", 5, 0.05, None, True])
def test_what_is_no_share(value: Any) -> None:
    """1 could be one per cent or everybody: refused."""
    with pytest.raises(ValueError, match=r"is no percentage|more than 100%"):
        share(value)


@pytest.mark.parametrize("value", ["2.50", "$", "$-1", "€2", "$1e3", "$٣", "$1,000", "$2\n", 2, 2.5, None, True])
def test_what_is_no_money(value: Any) -> None:
    """Without its sign an amount could be in any currency: refused."""
    with pytest.raises(ValueError, match="is no amount of money"):
        money(value)


# -------------------------------------------------------------------------------------------------------------------------- text
@quick
@given(st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"#%@?<=~ \n\tab01\\Ux.", max_size=60))
def test_no_text_makes_load_stumble(text: str) -> None:
    """Whatever an editor or a broken copy leaves behind is answered with problems."""
    assert not isinstance(answered(text), Spec)


@slow
@given(st.data())
def test_no_spelling_of_the_example_makes_load_stumble(data: st.DataObject) -> None:
    """Characters are inserted, dropped and replaced anywhere in a valid file."""
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 6))
        text = text[:at] + data.draw(st.text("[]{}:,-&*!|>'\"#%@?<=~ \n\tab01\\Ux.\0\ud800é", max_size=4)) + text[at + length :]
    answered(text)


# ----------------------------------------------------------------------------------------------------------------------- bundles
@quick
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=40), min_size=1, max_size=3), st.sampled_from(["", "\n", "\n\n\n"])
)
def test_a_bundle_comes_apart_as_it_was_put_together(files: dict[str, str], end: str) -> None:
    """Whatever the files hold, in whatever script: line separators, quotes, control characters; and it stays YAML for everybody."""
    text = "version: 1\nkey: [a, b]" + end
    bundle = bundled(text, files)
    assert parted(bundle) == (text.rstrip("\n") + "\n", files)
    assert yaml.safe_load(bundle) == yaml.safe_load(text)
    assert bundled(text, {}) == text
    assert parted(text) == (text, {})


@quick
@given(st.text('#extproc files:{}"[]1,\n ', max_size=40))
def test_no_last_line_makes_a_bundle_stumble(line: str) -> None:
    """Somebody's own comment that looks like ours: a text, files, or a problem."""
    answered(f"version: 1\n# extproc files: {line}")


# --------------------------------------------------------------------------------------------------------------------- mutations
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), math.inf, -math.inf, math.nan])
    | st.text(max_size=12) | st.dates() | st.sampled_from(["5%", "0%", "100%", "1h", "0s", "$2", "x-llm-a", "gpt-4o", "1e999", "edge"])
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a document but the root."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in entries for found in [(*path, key), *paths(inner, (*path, key))]]


@slow
@given(st.data())
def test_no_mutation_of_the_example_makes_load_stumble(data: st.DataObject) -> None:
    """Any key dropped, doubled under another name or given any value: a Spec or problems, never another exception."""
    document = copy.deepcopy(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths(document) or [("version",)]))
        block = document
        for key in way:
            block = block[key]
        change = data.draw(st.sampled_from(["drop", "replace", "add"]))
        if change == "add" and isinstance(block, dict):
            block[data.draw(st.text(max_size=8))] = data.draw(anything)
        elif change == "add" and isinstance(block, list):
            block.append(data.draw(anything))
        elif change == "drop" and (isinstance(block, list) or last in block):
            del block[last]
        else:
            block[last] = data.draw(anything)
    loaded = answered(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    if isinstance(loaded, Spec):
        spec.blind_spots(loaded)
        for rollout in loaded.rollouts.values():
            assert spec.fingerprint(rollout)


BOMBS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)),
    "an alias of itself": "a: &a [*a]\n",
    "an alias of the whole": "&a {a: *a}\n",
    "merge keys": "a: &a {b: 1}\nc: {<<: *a}\n",
    "lists without end": "[" * 20_000,
    "lists": "[" * 400 + "]" * 400,
    "blocks": "".join(" " * n + "a:\n" for n in range(300)),
    "blocks in a line": "{a: " * 20_000,
    "keys in keys": "? " * 3000 + "a",
    "many tags": "!!python/object/apply:os.system [ls]",
    "a tag of Python": "version: !!python/name:os.system ''",
    "a set": "version: !!set {a, b}",
    "binary": "version: !!binary aGVsbG8=",
    "an empty number": "version: !!int ''",
    "an empty fraction": "version: !!float ''",
    "a strange boolean": "version: !!bool maybe",
    "sexagesimal": "version: " + "1:" * 400 + "1.5",
    "digits": "version: " + "9" * 10_000,
    "exponent": "version: 1.0e+999",
    "hexadecimal": "version: 0x" + "f" * 5000,
    "NUL": "version: 1\0",
    "byte order mark": "\ufeffversion: 1",
    "surrogate": 'version: "\\ud800"',
    "surrogate as a key": '"\\ud800": 1',
    "surrogate in the text": "version: \ud800",
    "no character": 'version: "\\UFFFFFFFF"',
    "a directive": "%YAML 9.9\n---\nversion: 1",
    "a date": "version: 2024-05-13",
    "an impossible date": "version: 2024-99-99",
    "duplicate keys": "version: 1\n" * 50,
    "null": "~",
    "a number": "1",
    "an empty list": "[]",
    "an empty block": "{}",
    "white space": " \n\t\n",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_answered_at_once(text: str) -> None:
    """Few characters that mean very much, or nothing: problems, quickly and without growing."""
    problems = answered(text)
    assert not isinstance(problems, Spec)
    assert all(len(str(problem)) < 1000 for problem in problems)


@slow
@given(st.sampled_from(["daily_requests", "daily_units"]), st.integers())
def test_counts_have_bounds(key: str, count: int) -> None:
    """A whole number is taken as it is, or refused; nothing overflows behind it."""
    document = copy.deepcopy(EXAMPLE)
    document["application"][key] = count
    loaded = answered(yaml.safe_dump(document))
    assert isinstance(loaded, Spec) == (1 <= count <= 10**12)


def test_a_date_is_a_word() -> None:
    """PyYAML would make a date of it, which no name may be."""
    document = copy.deepcopy(EXAMPLE)
    document["models"]["gpt-5-mini"]["send_model"] = datetime.date(2024, 5, 13)
    loaded = answered(yaml.safe_dump(document))
    assert isinstance(loaded, Spec)
    assert loaded.models["gpt-5-mini"].send_model == "2024-05-13"
