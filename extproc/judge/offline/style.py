"""How the report looks: one sheet, light and dark, for screens and paper. It names no font, picture or address of anybody's."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5a6577; --page: #f6f7f9; --card: #ffffff; --line: #d9dee6; --head: #eef1f5;
  --good: #14663a; --good-bg: #def3e6; --bad: #9c1c28; --bad-bg: #fbe3e5; --open: #7a5200; --open-bg: #fdf0d2; --none: #475063;
  --none-bg: #e6e9ee; --canary: #8a4b00; --stable: #1f4f8f; --bar: #c9d1dc; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e4e8ee; --soft: #9da8b8; --page: #14181f; --card: #1c222b; --line: #333c49; --head: #242c37; --good: #8fe0b0;
  --good-bg: #123524; --bad: #ffa5ad; --bad-bg: #451a20; --open: #f3cd7d; --open-bg: #3d2e0e; --none: #c0c8d4; --none-bg: #2b333f;
  --canary: #f0b46a; --stable: #8fbcf5; --bar: #465164; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 34px 0 10px; } h3 { font-size: 14px; margin: 0 0 6px; }
p { margin: 6px 0; } .soft { color: var(--soft); } .small { font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 12px 0; }
.verdict { border-left-width: 7px; } .verdict .word { font-size: 20px; font-weight: 700; }
.badge { display: inline-block; border-radius: 5px; padding: 0 8px; font-weight: 600; font-size: 13px; border: 1px solid currentColor;
  white-space: nowrap; }
.pass { color: var(--good); background: var(--good-bg); } .fail { color: var(--bad); background: var(--bad-bg); }
.inconclusive { color: var(--open); background: var(--open-bg); } .no_data { color: var(--none); background: var(--none-bg); }
.verdict.pass, .verdict.fail, .verdict.inconclusive, .verdict.no_data { border-color: currentColor; }
.verdict p { color: var(--ink); } .verdict .word { color: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { background: var(--head); font-size: 13px; } tbody th { font-weight: 500; } tr:last-child > * { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
.canary { color: var(--canary); } .stable { color: var(--stable); }
.scale { position: relative; display: block; height: 16px; min-width: 140px; background: linear-gradient(var(--line), var(--line))
  center / 100% 1px no-repeat; }
.scale i { position: absolute; top: 6px; height: 5px; background: var(--bar); border-radius: 2px; }
.scale b { position: absolute; top: 2px; width: 3px; height: 13px; margin-left: -1px; background: currentColor; }
.votes { display: flex; height: 26px; border-radius: 5px; overflow: hidden; border: 1px solid var(--line); font-size: 13px; }
.votes span { display: flex; align-items: center; justify-content: center; min-width: 0; white-space: nowrap; overflow: hidden; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 12px; margin-top: 10px; }
.answer { border: 1px solid var(--line); border-top: 3px solid currentColor; border-radius: 6px; padding: 10px 12px; min-width: 0; }
.answer > * { color: var(--ink); } .answer > h3 { color: inherit; }
pre { margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, monospace;
  unicode-bidi: plaintext; max-height: 420px; overflow-y: auto; }
.turn { border-left: 3px solid var(--line); padding-left: 10px; margin: 6px 0; } .turn .role { font-size: 12px; color: var(--soft); }
.reason { border-left: 3px solid var(--bar); padding-left: 10px; font-size: 14px; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: 4px 0; overflow-wrap: anywhere; }
summary:focus-visible, pre:focus-visible { outline: 2px solid var(--stable); outline-offset: 2px; }
details.prompt { border-bottom: 1px solid var(--line); } details.prompt:last-child { border-bottom: 0; }
.id { font-weight: 600; } .tag { color: var(--soft); font-size: 12px; border: 1px solid var(--line); border-radius: 4px; padding: 0 5px; }
@media print { pre { max-height: none; } .card { break-inside: avoid; } }
"""
