"""Which language a text is in, where that is sure, and whether an answer is in another one than it should be.

By `py3langid` (BSD-3-Clause; 5 MB with its model; 75 MB of memory and 1.2 s of CPU at the first text, so warm it up where a loop must not
wait; then a third of a millisecond a text). lingua has 96 MB and was left. It is silent unless sure: an answer that is wrong once in
a while says more than a tripwire that is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from extproc.domain import Role, Transcript

KNOWN: Final = (
    "ar bg bn ca cs da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv ml mr ms nl no pa pl pt ro ru sk sl sr sv sw ta te th "
    "tl tr uk ur vi zh zxx"
)
"""Languages that are told apart; zxx is no language: code, numbers. The rarer ones of the model cost certainty and are left out."""
ALIKE: Final = (
    frozenset(("hr", "sr", "sl", "bs")),
    frozenset(("da", "no", "nb", "nn", "sv")),
    frozenset(("id", "ms", "tl")),
    frozenset(("cs", "sk")),
    frozenset(("es", "pt", "gl", "ca")),
    frozenset(("bg", "mk", "ru", "uk", "sr")),
    frozenset(("hi", "mr")),
    frozenset(("fa", "ur", "ar")),
    frozenset(("zh", "yue", "wuu")),
)
"""Languages that a short text does not tell apart: between them nothing is ever wrong."""
SURE: Final = 0.97
"""Probability from which a language is sure; the model is overconfident, so that this is lower than it sounds."""
LEAST_WEIGHT: Final = 60
"""Letters of a text from which it is looked at: ten words."""
LEAST_OF_LINE: Final = 25
"""Letters of a single line of what a user wrote: four words."""
IDEOGRAPH: Final = 4
"""Letters that a character of Chinese, Japanese or Korean counts for."""
READ: Final = 3_000
"""Characters of a text that are looked at."""
SCANNED: Final = 8_000
"""Characters of a turn that are searched for words about languages: half of them at its beginning, half at its end."""
MOST_MARKS: Final = 0.25
"""Share of characters that are neither letters nor blanks up to which a text is prose; tables and data have more."""
MOST_CODE: Final = 0.008
"""Share of marks of code up to which a text is prose, where there is more than one: one in 120 characters. Of 556 files of Python, with
the English of their comments, one was taken for prose; without this, 302."""

_NO_PROSE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|https?://\S{1,500}|\[(?:image|audio|video|file)\]", re.DOTALL)
_CODE: Final = re.compile(
    r"[_={}\[\]<>\\]|;[ \t]*$|\w\(|^[ \t]+(?=\w)|^(?:def|class|import|from|return|#include|using|package|func|fn|let|const|var)\b",
    re.MULTILINE,
)
"""Marks that code has and prose hardly has; a line that is indented, or begins as a statement."""
_WIDE: Final = re.compile("[぀-ヿ㐀-鿿가-힯]")
_SPOKEN_OF: Final = re.compile(
    r"translat|übersetz|traduc|traduir|traduz|vertaal|vertal|tłumacz|przetłumacz|перевед|перевод|переклад|çevir|翻译|翻譯|译成|翻訳|訳して|번역|ترجم|अनुवाद|"
    r"\blanguages?\b|\bsprache\b|\blangue\b|\bidioma\b|\blingua\b|\btaal\b|\bjęzyk|\bязык|语言|言語|언어|\blocali[sz]|"
    r"\b(?:english|german|french|spanish|italian|portuguese|dutch|polish|russian|ukrainian|turkish|arabic|hebrew|hindi|chinese|mandarin|"
    r"japanese|korean|swedish|danish|norwegian|finnish|greek|czech|hungarian|romanian|vietnamese|thai|indonesian|latin)\b|"
    r"\b(?:englisch|deutsch|französisch|spanisch|italienisch|portugiesisch|polnisch|russisch|türkisch|chinesisch|japanisch)\w{0,3}\b|"
    r"\b(?:anglais|allemand|français|espagnol|italien|portugais|néerlandais|chinois|japonais|russe)e?s?\b|"
    r"\b(?:inglés|alemán|francés|español|italiano|portugués|chino|japonés|ruso|inglês|alemão|francês|espanhol|português|inglese|tedesco|"
    r"francese|spagnolo|engels|duits|frans|spaans|nederlands|angielsk\w*|niemieck\w*|polsk\w*|английск\w*|немецк\w*|русск\w*|ingilizce|türkçe)\b|"
    r"英语|英文|中文|汉语|日语|日文|法语|德语|英語|日本語|中国語|영어|한국어|일본어|중국어",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    found: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages(KNOWN.split())
    return found


def warm_up() -> None:
    """Load the model now (1.2 s of CPU), and not at the first text."""
    _identifier()


def language_of(text: str, least: int = LEAST_WEIGHT) -> str | None:
    """ISO 639-1 code of the language, None where that is not sure: too short, code, or a mixture."""
    prose = _NO_PROSE.sub(" ", text[: READ * 2])[:READ].strip()
    if _weight(prose) < least or not _is_prose(prose):
        return None
    name, probability = _identifier().classify(prose)
    return str(name) if probability >= SURE and name != "zxx" else None


def is_wrong(transcript: Transcript, expected: str | None) -> bool:
    """Whether the answer is surely in another language than `expected` (a code such as `en` or `en-GB`), or, without one, than the last
    turn of the user's, where that is surely in one language and nobody speaks of languages or translating."""
    answer = _answer_language(transcript.answer)
    if answer is None:
        return False
    wanted = expected.lower().replace("_", "-").partition("-")[0] if expected else _asked_in(transcript)
    return wanted is not None and wanted != answer and not any({wanted, answer} <= group for group in ALIKE)


def _answer_language(answer: str) -> str | None:
    """Sure of the whole, and of its two halves: an answer that quotes another language is of both."""
    if len(_NO_PROSE.sub("", answer)) * 2 < len(answer):
        return None
    whole = language_of(answer)
    read = answer[:READ]
    halves = (read[: len(read) // 2], read[len(read) // 2 :])
    return whole if whole and all(language_of(half, LEAST_OF_LINE) == whole for half in halves) else None


def _asked_in(transcript: Transcript) -> str | None:
    """The language in which an answer is expected; None where that is not sure."""
    users = [turn.text for turn in transcript.turns if turn.role is Role.USER]
    rules = [turn.text for turn in transcript.turns if turn.role is Role.SYSTEM]
    if not users or any(_SPOKEN_OF.search(_ends(text)) for text in (*rules, *users[-3:])):
        return None
    last = users[-1]
    whole = language_of(last)
    return whole if whole and all(language_of(line, LEAST_OF_LINE) == whole for line in _outer_lines(last)) else None


def _outer_lines(text: str) -> list[str]:
    """The first and the last line, and what stands before a colon in the first: there stands what is to be done with a text that may be
    in another language."""
    stripped = text.strip()
    first = stripped.partition("\n")[0]
    before, colon, after = first.partition(":")
    return [before, after or first, stripped.rpartition("\n")[2]] if colon else [first, stripped.rpartition("\n")[2]]


def _ends(text: str) -> str:
    return text if len(text) <= SCANNED else f"{text[: SCANNED // 2]}\n{text[-SCANNED // 2 :]}"


def _weight(text: str) -> int:
    """Letters, those of East Asia counted more."""
    return sum(map(str.isalpha, text)) + (IDEOGRAPH - 1) * len(_WIDE.findall(text))


def _is_prose(text: str) -> bool:
    marks = sum(not (one.isalpha() or one.isspace()) for one in text if one.isascii())
    code = len(_CODE.findall(text))
    return marks <= MOST_MARKS * len(text) and code <= max(1, MOST_CODE * len(text))
