"""How pages of the folder look: one sheet, light and dark, for screens and paper."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --text: #1d2430; --quiet: #5a6577; --back: #f6f7f9; --sheet: #ffffff; --rule: #d9dee6; --tint: #eef1f5;
  --mark: #1f4f8f; }
@media (prefers-color-scheme: dark) {
:root { --text: #e4e8ee; --quiet: #9da8b8; --back: #14181f; --sheet: #1c222b; --rule: #333c49; --tint: #242c37; --mark: #8fbcf5; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 56px; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
nav { position: sticky; top: 0; display: flex; gap: 4px 20px; overflow-x: auto; padding: 10px max(20px, calc(50vw - 580px));
  background: var(--sheet); border-bottom: 1px solid var(--rule); white-space: nowrap; font-size: 14px; }
main { max-width: 1200px; margin: 0 auto; padding: 26px 20px 70px; }
a { color: var(--mark); text-decoration: none; } a:hover { text-decoration: underline; }
a:focus-visible, .wide:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
h1 { font-size: 25px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 46px 0 12px; padding-top: 14px; border-top: 2px solid var(--rule); }
h3 { font-size: 15px; margin: 30px 0 8px; color: var(--mark); }
p { margin: 8px 0; max-width: 96ch; } p:has(> .picture) { max-width: none; }
ul { margin: 8px 0; padding-left: 20px; max-width: 104ch; } li { margin: 5px 0; }
code { font: 0.88em ui-monospace, "SF Mono", Menlo, monospace; background: var(--tint); border-radius: 4px; padding: 1px 5px;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--sheet); border: 1px solid var(--rule); font-size: 14px;
  font-variant-numeric: tabular-nums; margin: 10px 0; }
th, td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { background: var(--tint); font-size: 13px; font-weight: 600; color: var(--quiet); } tr:last-child > td { border-bottom: 0; }
th:empty { padding: 0; }
td:first-child { min-width: 90px; } td[style*="right"] { white-space: nowrap; }
.picture { display: block; border: 1px solid var(--rule); border-radius: 10px; margin: 10px 0; background: var(--sheet); }
.picture svg { display: block; width: 100%; min-width: 880px; height: auto; }
@media print { nav { display: none; } body { background: none; } h3, table { break-inside: avoid; } }
"""
