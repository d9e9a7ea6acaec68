// Sampled answers of both arms side by side. Blind until they have been given a level: which is which is told afterwards.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { instant } from "../format.js";
import { closed, empty, problem } from "../parts.js";
import { may, rollouts } from "../state.js";

const WORDS = ["unusable", "poor", "fair", "good", "nothing wrong"];
const read = { key: "", pairs: [], error: null, busy: false, place: 0, levels: new Map(), shown: new Set() };

export function samples(again, query) {
  const rollout = query.get("rollout") || rollouts()[0]?.[0] || "";
  const which = query.get("which") === "worst" ? "worst" : "latest";
  if (may("admin") && rollout && read.key !== `${rollout} ${which}`) load(rollout, which, again);
  const link = (other, of = rollout) => `#/samples?${new URLSearchParams({ rollout: of, which: other })}`;
  return [
    h("h1", null, "Samples"),
    h("p", { class: "muted" }, "Redacted answers that were kept for the judge. They stand in random places: say how good each is, then see whose it was. Your levels show how far the judge agrees with people."),
    closed("admin", ": these are texts of users."),
    may("admin") && rollouts().length > 1 ? h("p", { class: "tabs" }, rollouts().map(([name]) => h("a", { href: link(which, name), "aria-current": name === rollout ? "page" : null }, name))) : null,
    may("admin") ? h("p", { class: "tabs" }, h("a", { href: link("latest"), "aria-current": which === "latest" ? "page" : null }, "Latest"), h("a", { href: link("worst"), "aria-current": which === "worst" ? "page" : null }, "Worst")) : null,
    read.error ? problem(read.error) : null,
    may("admin") && !read.error ? pairs() : null,
  ];
}

async function load(rollout, which, again) {
  const key = `${rollout} ${which}`;
  Object.assign(read, { key, busy: true, error: null, pairs: [], place: 0 });
  try {
    const { arms } = await ask(`samples?${new URLSearchParams({ rollout, which })}`);
    if (read.key !== key) return; // others were asked for meanwhile
    const [canary, control] = [arms.canary || [], arms.control || []];
    read.pairs = canary.slice(0, control.length).map((one, index) => {
      const pair = [{ arm: "canary", ...one }, { arm: "control", ...control[index] }];
      return crypto.getRandomValues(new Uint8Array(1))[0] & 1 ? pair : pair.reverse();
    });
  } catch (error) {
    if (read.key !== key) return;
    read.error = error;
  }
  read.busy = false;
  again();
}

function pairs() {
  if (read.busy) return h("p", { class: "muted" }, "Reading…");
  if (!read.pairs.length) return empty("No pair yet.", "The Spec's judge samples answers of both arms while a phase with it goes on.");
  const pair = read.pairs[read.place];
  return [
    h("p", { class: "line" }, h("button", { type: "button", "data-do": "pair", "data-step": "-1", disabled: read.place === 0 }, "← Before"),
      ` Pair ${read.place + 1} of ${read.pairs.length} `,
      h("button", { type: "button", "data-do": "pair", "data-step": "1", disabled: read.place === read.pairs.length - 1 }, "Next →")),
    h("div", { class: "pair" }, pair.map((one, index) => sample(one, "AB"[index], pair))),
  ];
}

function sample(one, letter, pair) {
  const level = read.levels.get(one.request);
  const open = pair.every((other) => read.levels.has(other.request)) || read.shown.has(one.request);
  return h("article", { class: "panel sample", "data-key": one.request, "aria-label": `Answer ${letter}` },
    h("h2", null, `Answer ${letter}`, open ? h("span", { class: `arm ${one.arm}` }, one.arm) : h("span", { class: "muted small" }, " blind")),
    one.turns.map(([role, text]) => h("p", { class: "turn" }, h("span", { class: "role" }, role), text)),
    h("p", { class: "answer" }, one.answer || `(${one.ending})`),
    one.calls.map(([name, said]) => h("p", { class: "turn" }, h("span", { class: "role" }, "calls"), `${name}(${said})`)),
    one.tripwires.length ? h("p", { class: "line" }, h("span", { class: "chip wait" }, `! ${one.tripwires.join(", ")}`)) : null,
    h("fieldset", null, h("legend", null, `How good is answer ${letter}?`), WORDS.map((word, index) =>
      h("button", { type: "button", "data-do": "level", "data-request": one.request, "data-level": String(index + 1), "aria-pressed": level === index + 1 ? "true" : "false" }, `${index + 1} ${word}`))),
    open ? h("p", { class: "small" }, one.score === null ? "The judge has no score for it." : [h("strong", null, `The judge: ${one.score.toFixed(2)}. `), one.reason]) : null,
    h("p", { class: "small muted" }, instant(one.at), open ? ` · phase ${one.phase} · cohort ${one.cohort}` : ""));
}

export function step(by) {
  read.place = Math.max(0, Math.min(read.pairs.length - 1, read.place + by));
}

/** Write a level down. */
export async function levelled(request, level, again) {
  try {
    await ask("label", { request, level });
    read.levels.set(request, level);
  } catch (error) {
    read.error = error;
  }
  again();
}
