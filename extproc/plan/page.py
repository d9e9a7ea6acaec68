"""Markdown of the folder -> one HTML file that needs nothing else: no script, no asset, no network. Pure.

The Markdown is read as the plain kind with tables; HTML in it stays text, so no name of a Spec becomes markup. Pictures that the folder
has are put into the page.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from extproc.plan.markdown import anchor
from extproc.plan.style import CSS

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, text: str, pictures: Mapping[str, str]) -> str:
    """`text`: the Markdown; `pictures`: path -> SVG, in the place of images with that path."""
    reader = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    env: dict[str, Any] = {"pictures": pictures, "headings": {}}
    body = str(reader.render(text, env))
    ways = "".join(f'<a href="#{escape(name)}">{escape(said)}</a>' for name, (tag, said) in env["headings"].items() if tag == "h2")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n<body><nav>{ways}</nav>\n<main>\n{body}</main></body></html>\n"
    )


def _plain(inline: Token) -> str:
    """The text of a heading, without its markup."""
    return "".join(child.content for child in inline.children or ())


class _Renderer(RendererHTML):
    """Headings can be linked to, wide tables scroll, pictures are inside."""

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        said, seen = _plain(tokens[idx + 1]), env["headings"]
        name = plain = anchor(said)
        while name in seen:
            name = f"{plain}-{sum(one == plain or one.startswith(f'{plain}-') for one in seen)}"
        seen[name] = (tokens[idx].tag, said)
        tokens[idx].attrSet("id", name)
        return self.renderToken(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        return f'<div class="wide" tabindex="0">{self.renderToken(tokens, idx, options, env)}'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        return f"{self.renderToken(tokens, idx, options, env)}</div>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        picture = env["pictures"].get(tokens[idx].attrGet("src"))
        return super().image(tokens, idx, options, env) if picture is None else f'<span class="picture wide">{picture}</span>'
