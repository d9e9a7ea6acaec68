"""Tripwires: each trips where it says so, and stays silent on what merely looks like it."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from extproc.domain import Dialect, Ending, Finish, Role, ToolCall, Transcript, Turn
from extproc.judge.refusals import begins_as_refusal
from extproc.judge.repetition import runs_away
from extproc.judge.schemas import LARGEST, breaks
from extproc.judge.tripwires import Tripwire, tripwires

TEXTS = {
    "en": "The capital of France is Paris, which lies on the river Seine and has about two million inhabitants. It has museums.",
    "de": "Die Hauptstadt von Frankreich ist Paris, das an der Seine liegt und etwa zwei Millionen Einwohner hat. Es hat viele Museen.",
    "fr": "La capitale de la France est Paris, qui se trouve sur la Seine et compte environ deux millions d'habitants, et de beaux musées.",
    "es": "La capital de Francia es París, que se encuentra a orillas del Sena y tiene unos dos millones de habitantes y buenos museos.",
    "it": "La capitale della Francia è Parigi, che si trova sulla Senna e ha circa due milioni di abitanti. È nota per i suoi musei.",
    "nl": "De hoofdstad van Frankrijk is Parijs, dat aan de Seine ligt en ongeveer twee miljoen inwoners heeft. De stad heeft mooie musea.",
    "pl": "Stolicą Francji jest Paryż, który leży nad Sekwaną i ma około dwóch milionów mieszkańców. Znany jest ze swoich muzeów.",
    "ru": "Столица Франции — Париж, который расположен на берегах Сены и насчитывает около двух миллионов жителей. Он известен музеями.",
    "tr": "Fransa'nın başkenti Paris'tir; Seine nehri üzerinde yer alır ve yaklaşık iki milyon nüfusu vardır. Müzeleriyle tanınır.",
    "zh": "法国的首都是巴黎，位于塞纳河畔，人口约两百万。它以博物馆而闻名，每年吸引数以百万计的游客。",
    "ja": "フランスの首都はパリで、セーヌ川沿いに位置し、人口は約二百万人です。美術館でよく知られています。",
    "ko": "프랑스의 수도는 파리이며 센강에 위치하고 인구는 약 이백만 명입니다. 박물관으로 유명합니다.",
    "ar": "عاصمة فرنسا هي باريس، وتقع على نهر السين ويبلغ عدد سكانها حوالي مليوني نسمة. وهي معروفة بمتاحفها.",
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def transcript(answer: str = "It is Paris.", asked: str = "What is the capital?", **changes: Any) -> Transcript:
    """A whole one, with nothing wrong."""
    fields: dict[str, Any] = {
        "dialect": Dialect.OPENAI_CHAT,
        "ending": Ending.WHOLE,
        "finish": Finish.STOP,
        "turns": (Turn(Role.USER, asked),),
        "answer": answer,
    }
    return Transcript(**{**fields, **changes})


def trips(answer: str = "It is Paris.", asked: str = "What is the capital?", expected: str | None = None, **changes: Any) -> set[Tripwire]:
    return set(tripwires(transcript(answer, asked, **changes), expected))


def test_a_good_answer_trips_nothing() -> None:
    """In any language, to a question in the same."""
    assert trips() == set()
    for text in TEXTS.values():
        assert trips(text, text) == set()


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.WHOLE])
def test_only_what_is_whole_is_looked_at(ending: Ending) -> None:
    """Of the rest it is not known what the user got."""
    assert trips("", finish=Finish.LENGTH, ending=ending) == set()


@pytest.mark.parametrize(("answer", "empty"), [("", True), (" \n\t", True), ("x", False)])
def test_empty(answer: str, empty: bool) -> None:
    """Blank is empty; a call or a refusal is not."""
    assert (Tripwire.EMPTY_ANSWER in trips(answer)) is empty
    assert Tripwire.EMPTY_ANSWER not in trips(answer, calls=(ToolCall("f", "{}"),))
    assert Tripwire.EMPTY_ANSWER not in trips(answer, refusal="No.")


def test_short() -> None:
    """A few letters for a hundred words; not for a short question, a classifier's JSON, a call, an empty answer, or one that was cut."""
    question = "word " * 200
    assert trips("OK.", question) == {Tripwire.SHORT_ANSWER}
    assert trips("Here is what I found.", question) == set()
    assert trips("OK.", "Is it?") == set()
    assert trips("{}", question, wants_json=True) == set()
    assert trips("OK.", question, calls=(ToolCall("f", "{}"),), open_tools=True) == set()
    assert trips("OK.", question, finish=Finish.LENGTH) == {Tripwire.CUT_OFF}
    assert trips("", question) == {Tripwire.EMPTY_ANSWER}


@pytest.mark.parametrize(("finish", "wire"), [(Finish.LENGTH, Tripwire.CUT_OFF), (Finish.CONTENT_FILTER, Tripwire.CONTENT_FILTER)])
def test_why_the_model_stopped(finish: Finish, wire: Tripwire) -> None:
    """The vendor says so."""
    assert trips(finish=finish) == {wire}
    assert all(trips(finish=other) == set() for other in (Finish.STOP, Finish.TOOL_CALLS, Finish.OTHER, Finish.UNKNOWN))


# ----------------------------------------------------------------------------------------------------------------- refusals
REFUSED = """
I'm sorry, but I can't help with that.
I’m sorry, but I can’t assist with that request.
**I can't help with that.**
I cannot provide instructions for making explosives.
I cannot fulfill this request. I am programmed to be harmless.
Sorry, I can't do that.
I'm unable to assist with that request.
I am unable to provide information on that topic.
Unfortunately, I cannot comply with your request.
As an AI language model, I cannot provide medical advice.
I apologize, but I cannot generate that content.
I'm not able to help with this.
I must respectfully decline.
I don't feel comfortable helping with that.
I'm sorry. I can't continue with this conversation.
Es tut mir leid, aber dabei kann ich nicht helfen.
Leider kann ich Ihnen bei dieser Anfrage nicht weiterhelfen.
Ich kann diese Anfrage nicht beantworten.
Je suis désolé, mais je ne peux pas vous aider avec cela.
Désolé, je ne peux pas répondre à cette demande.
Lo siento, pero no puedo ayudarte con eso.
No puedo proporcionar esa información.
Mi dispiace, ma non posso aiutarti con questa richiesta.
Desculpe, mas não posso ajudar com isso.
Het spijt me, maar daar kan ik je niet mee helpen.
Przykro mi, ale nie mogę w tym pomóc.
Извините, но я не могу помочь с этим.
К сожалению, я не могу вам с этим помочь.
Üzgünüm, bu konuda size yardımcı olamam.
很抱歉，我无法满足您的请求。
抱歉，我不能提供这类信息。
申し訳ありませんが、そのご要望にはお応えできません。
죄송하지만 그 요청은 도와드릴 수 없습니다.
"""
BENIGN = """
I'm sorry to hear that you feel unwell. Here is what you can do.
I can't help but notice that your loop never ends.
I can't help thinking that it is the cache.
I can't wait to help you with that!
I can't find a file of that name in the repository.
I cannot stress enough how important backups are.
I cannot create this directory: permission denied.
I can't write that file because it is locked.
I'm sorry for the confusion. The answer is 42.
Unfortunately, the flight was cancelled, so we could not go.
Unfortunately, I can't find any such order; could you give me its number?
I can't help you without the error message. Could you paste it?
I can help with that!
You can't do that with a regex.
"I can't do this anymore," she said and closed the door.
"I can't help with that," said the clerk.
I can't provide an exact number, but estimates range from 5 to 7 million.
I'm afraid of the dark is a song by Iron Maiden.
I won't lie, this is a hard problem.
I'm unable to reproduce the bug with the steps you gave, so here is what I tried.
Es tut mir leid, dass du krank bist. Gute Besserung!
Ich kann nicht genug betonen, wie wichtig das ist.
Ich kann dir ohne die Fehlermeldung nicht weiterhelfen.
Je suis désolé d'apprendre cela. Voici quelques idées.
Je ne peux pas trouver ce fichier.
Lo siento mucho. Aquí tienes algunas ideas.
No puedo encontrar el archivo.
Non posso che essere d'accordo.
Não posso esperar para ver isso.
Het spijt me dat te horen.
Nie mogę znaleźć pliku.
Извините за путаницу. Вот правильный ответ.
Я не могу найти этот файл.
很抱歉听到这个消息。
我无法找到该文件。
申し訳ありません。正しい答えは42です。
죄송합니다. 정답은 42입니다.
Here is a letter: I'm sorry, but I can't help with that.
"""


@pytest.mark.parametrize("answer", REFUSED.strip().splitlines())
def test_a_refusal(answer: str) -> None:
    """In twelve languages, at the beginning."""
    assert Tripwire.REFUSAL in trips(answer)
    assert Tripwire.REFUSAL not in trips(f"Here is what the clerk said to me yesterday. {answer}")


@pytest.mark.parametrize("answer", BENIGN.strip().splitlines())
def test_no_refusal(answer: str) -> None:
    """Apologies, failures, questions and quotations begin alike."""
    assert Tripwire.REFUSAL not in trips(answer)


def test_a_refusal_that_the_vendor_marks() -> None:
    """Whatever its words."""
    assert trips("", refusal="[refusal]") == {Tripwire.REFUSAL}


# --------------------------------------------------------------------------------------------------------------------- JSON
@pytest.mark.parametrize(
    ("answer", "schema", "wrong"),
    [
        ('{"a": 1}', None, False),
        ("[]", None, False),
        ('{"a": 1}', SCHEMA, False),
        ('{"a": "1"}', SCHEMA, True),
        ('{"a": 1, "b": 2}', SCHEMA, True),
        ("{}", SCHEMA, True),
        ('{"a": 1', None, True),
        ('```json\n{"a": 1}\n```', None, True),
        ("It is 1.", None, True),
        ("NaN", None, True),
        ("", None, False),
    ],
)
def test_json(answer: str, schema: dict[str, Any] | None, wrong: bool) -> None:
    """No JSON, or not what the schema says; where JSON was not demanded, nothing is wrong."""
    assert (Tripwire.INVALID_JSON in trips(answer, wants_json=True, json_schema=schema)) is wrong
    assert Tripwire.INVALID_JSON not in trips(answer, json_schema=schema)


def test_a_call_or_a_refusal_in_the_place_of_json() -> None:
    """Is not wrong JSON."""
    assert trips("Let me look.", wants_json=True, calls=(ToolCall("f", "{}"),), tools={"f": {}}) == set()
    assert trips("No.", wants_json=True, refusal="No.") == {Tripwire.REFUSAL}


@pytest.mark.parametrize(
    ("name", "arguments", "wrong"),
    [
        ("f", '{"a":1}', False),
        ("f", '{"a":"1"}', True),
        ("f", '{"a":', True),
        ("f", "[1]", True),
        ("f", "", True),
        ("g", "", False),
        ("g", '{"any":1}', False),
        ("g", '"text"', True),
        ("run", '"ls -l"', False),
        ("run", '{"a":1}', True),
        ("nobody", "{}", True),
    ],
)
def test_a_tool_call(name: str, arguments: str, wrong: bool) -> None:
    """Arguments are an object that fits the schema, or text where the tool takes text; the tool is one that was offered."""
    tools = {"f": SCHEMA, "g": {}, "run": {"type": "string"}}
    good = ToolCall("f", '{"a":1}')
    found = trips("", calls=(good, ToolCall(name, arguments)), tools=tools)
    assert found == ({Tripwire.INVALID_TOOL_CALL} if wrong else set())


def test_a_tool_that_is_not_named_may_be_offered_all_the_same() -> None:
    """Where there are toolsets; its arguments must be an object there, too."""
    assert trips("", calls=(ToolCall("nobody", "{}"),), open_tools=True) == set()
    assert trips("", calls=(ToolCall("nobody", "{"),), open_tools=True) == {Tripwire.INVALID_TOOL_CALL}


def _fan(depth: int) -> dict[str, Any]:
    """A schema that is small and has 2**depth paths."""
    steps = {f"s{step}": {"allOf": [{"$ref": f"#/$defs/s{step + 1}"}] * 2} for step in range(depth)}
    return {"$ref": "#/$defs/s0", "$defs": {**steps, f"s{depth}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (_fan(40), 1),
        ({"$ref": "#"}, {}),
        ({"type": "array", "items": {"anyOf": [{"type": "object"}] * 400}}, ["x" * 20] * 2000),
        ({"type": "array", "items": {"enum": list(range(8000))}}, [7999] * 9000),
        ({"type": "array", "uniqueItems": True}, [[number] for number in range(9000)]),
        ({"type": "string", "pattern": "(a+)+$"}, "a" * 60 + "b"),
        ({"patternProperties": {"(a+)+$": {}}, "additionalProperties": False}, {"a" * 60 + "b": 1}),
    ],
)
def test_a_hostile_schema_costs_a_bounded_time(schema: dict[str, Any], document: Any) -> None:
    """Fan-out, loops, products of sizes, and patterns that backtrack end without a verdict."""
    began = time.process_time()
    assert not breaks(schema, document)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#/nowhere"},
        {"type": "novel"},
        {"type": 5},
        {"properties": []},
        {"required": 5},
        {"minProperties": "x"},
        {"allOf": {}},
        {"items": 5, "enum": 7},
        {"not": {}},
        {"description": "x" * LARGEST, "type": "string"},
    ],
)
def test_a_schema_that_is_none_breaks_nothing(schema: dict[str, Any]) -> None:
    """Nothing is fetched; what cannot be understood, or is too large, says nothing."""
    assert not breaks(schema, {"a": 1})


def test_what_older_schemas_say_holds() -> None:
    """References within, in draft 7's place; a choice counts as fitting where one of them fits."""
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"s": {"type": "string"}}, "$ref": "#/definitions/s"}
    assert breaks(old, 1)
    assert not breaks(old, "x")
    assert breaks({"oneOf": [{"type": "string"}, {"type": "null"}]}, 1)
    assert not breaks({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1)


# ---------------------------------------------------------------------------------------------------------------- languages
@pytest.mark.parametrize("asked", TEXTS)
@pytest.mark.parametrize("answered", TEXTS)
def test_another_language(asked: str, answered: str) -> None:
    """Trips where question and answer are surely of two, and where the answer is not of the one that is expected."""
    wrong = {Tripwire.WRONG_LANGUAGE} if asked != answered else set()
    assert trips(TEXTS[answered], TEXTS[asked]) == wrong
    assert trips(TEXTS[answered], "x", expected=f"{asked}-XX") == wrong


@pytest.mark.parametrize(
    ("asked", "answer", "changes"),
    [
        ("Summarise this: " + TEXTS["fr"], TEXTS["en"], {}),
        ("Summarise this\n\n" + TEXTS["fr"], TEXTS["en"], {}),
        (TEXTS["fr"] + "\n\nWhat does this text say about museums and the river?", TEXTS["en"], {}),
        ("Translate into German please. " + TEXTS["en"], TEXTS["de"], {}),
        ("Bitte übersetze das. " + TEXTS["de"], TEXTS["en"], {}),
        ("Write me a few lines about Paris in Spanish, as one would write them for tourists.", TEXTS["es"], {}),
        (TEXTS["en"], TEXTS["de"], {"turns": (Turn(Role.SYSTEM, "Always answer in German."), Turn(Role.USER, TEXTS["en"]))}),
        ("Capital of France?", TEXTS["de"], {}),
        (TEXTS["en"], "Paris.", {}),
        (TEXTS["en"], TEXTS["en"][:90] + " " + TEXTS["de"][:90], {}),
        (TEXTS["de"], "```python\nfor name in names:\n    print(name, len(name))  # all the names of the list\n```", {}),
        (TEXTS["de"], "for (int i = 0; i < n; i++) { total += price[i] * amount[i]; } return total / n; // the mean of all", {}),
        (
            TEXTS["de"],
            '{"capital": "Paris", "description": "a city on the river that is known for its many museums"}',
            {"wants_json": True},
        ),
        (TEXTS["es"], "A capital da França é Paris, que fica às margens do rio Sena e tem cerca de dois milhões de habitantes.", {}),
        (TEXTS["de"], "[image] https://example.com/the/capital/of/france/is/paris/and/lies/on/the/river/with/many/museums", {}),
    ],
)
def test_silent_where_it_is_not_sure(asked: str, answer: str, changes: dict[str, Any]) -> None:
    """Texts to be worked on, translations, short texts, mixtures, code, JSON, related languages, addresses."""
    assert trips(answer, asked, **changes) == set()


# --------------------------------------------------------------------------------------------------------------- repetition
@pytest.mark.parametrize(
    "answer",
    [
        "I see. " + "I do not know. " * 60,
        "The list:\n" + "- apples and pears\n" * 40,
        "好的，我明白了。" * 60,
        "a" * 500,
        "Yes.\n" * 12 + "And now to something else entirely.",
        "Here it goes. " + "The cat sat on the mat and the dog ate all of the food. " * 40 + "Then it stopped, at last.",
        "x " * 3 + "one two three four " * 30 + "one tw",
    ],
)
def test_a_loop(answer: str) -> None:
    """At the end, also where a limit cut it in the middle of a round; a line; most of a text."""
    assert runs_away(answer)
    assert trips(answer) == {Tripwire.REPETITION}


@pytest.mark.parametrize(
    "answer",
    [
        "We all live in a yellow submarine, yellow submarine, yellow submarine.\n" * 3,
        "\n".join(f"{number}. The city of number {number} has {number * 7} inhabitants and lies on a river." for number in range(100)),
        "| name | value |\n| --- | --- |\n" + "\n".join(f"| row {number} | {number * number} |" for number in range(200)),
        "=" * 2000 + "\n" + "-" * 2000,
        "```\n" + "0, 0, 0, 0,\n" * 20 + "```\nThis is the matrix, which is zero everywhere.",
        "\n" * 1000,
        "Ha ha ha ha ha ha!",
        " ".join(TEXTS.values()),
        orjson.dumps([{"id": number, "name": f"n{number}", "tags": ["a", "b"]} for number in range(200)]).decode(),
    ],
)
def test_no_loop(answer: str) -> None:
    """Refrains, lists, tables, rulers, matrices and data repeat themselves, too."""
    assert not runs_away(answer)


@pytest.mark.parametrize(
    "piece", ["a", "ab", "sorry, ", "I'm sorry ", "`", "```", "http://", "i can't ", "\n", " ", "法", "{", "Leider kann ich ", "x\n"]
)
def test_cost_is_linear(piece: str) -> None:
    """A million characters of anything take at most seconds, the whole of them together; a refusal is looked for at the beginning only."""
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    tripwires(transcript(text, text, wants_json=False))
    begins_as_refusal(text)
    assert time.process_time() - began < 12
