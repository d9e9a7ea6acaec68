// Sampled answers of both arms side by side. Blind until they have been given a level: which is which is told afterwards.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { instant } from "../format.js";
import { closed, empty, problem } from "../parts.js";
import { may, rollouts, state } from "../state.js";

const WORDS = ["unusable", "poor", "fair", "good", "nothing wrong"];
const WHICH = {
  latest: ["Latest", "The newest answers of each arm. The two that stand side by side answer different questions: judge each by its own."],
  worst: ["Worst", "The answers of each arm that the judge scored lowest. The two that stand side by side answer different questions: judge each by its own."],
  shadow: ["Same question (shadow)", "Pairs of the last shadow. Both answers are to the same question: one is stable's, which the user got, one the canary's to a copy, which nobody got. Those that the judge liked least in the canary come first."],
};
const PREFERRED = { 0: "stable is better", 0.5: "no difference", 1: "the canary is better" };
const read = { key: "", pairs: [], error: null, busy: false, place: 0, levels: new Map() };

export function samples(again, query) {
  const rollout = query.get("rollout") || rollouts()[0]?.[0] || "";
  const which = Object.hasOwn(WHICH, query.get("which")) ? query.get("which") : "latest";
  const before = Number(query.get("before")) || 0;
  const question = new URLSearchParams({ rollout, which, ...(before ? { before } : {}) });
  if (may("admin") && rollout && read.key !== question.toString()) load(question, again);
  const offered = Object.keys(WHICH).filter((one) => one !== "shadow" || one === which || state.status?.rollouts[rollout]?.has_shadow);
  const link = (other, of = rollout) => `#/samples?${new URLSearchParams({ rollout: of, which: other })}`;
  return [
    h("h1", null, "Samples"),
    h("p", { class: "muted" }, "Redacted answers that were kept for the judge. They stand in random places: say how good each is, then see whose it was. Your levels show how far the judge agrees with people."),
    closed("admin", ": these are texts of users."),
    may("admin") && rollouts().length > 1 ? tabs("Rollout", rollouts().map(([name]) => [name, link(which, name), name === rollout])) : null,
    may("admin") ? tabs("Which answers", offered.map((one) => [WHICH[one][0], link(one), one === which])) : null,
    may("admin") ? h("p", { class: "note" }, WHICH[which][1], before ? [" Of the visit that ended ", instant(before), "."] : null) : null,
    read.error ? problem(read.error) : null,
    may("admin") && !read.error ? pairs(which) : null,
  ];
}

function tabs(label, links) {
  return h("nav", { class: "tabs", "aria-label": label }, links.map(([word, href, here]) => h("a", { href, "aria-current": here ? "page" : null }, word)));
}

async function load(question, again) {
  const key = question.toString();
  Object.assign(read, { key, busy: true, error: null, pairs: [], place: 0 });
  try {
    const found = await ask(`samples?${question}`);
    if (read.key !== key) return; // others were asked for meanwhile
    read.pairs = (found.pairs ? found.pairs.map(ofOneQuestion) : sideBySide(found.arms)).map(anywhere);
  } catch (error) {
    if (read.key !== key) return;
    read.error = error;
  }
  read.busy = false;
  again();
}

function sideBySide(arms) {
  const [canary, control] = [arms.canary || [], arms.control || []];
  return canary.slice(0, control.length).map((one, index) => ({ judge: "", answers: [{ ...one, arm: "canary" }, { ...control[index], arm: "control" }] }));
}

function ofOneQuestion({ canary, stable, preferred, reason }) {
  return { judge: `${PREFERRED[preferred]}. ${reason}`, answers: [{ ...canary, arm: "canary" }, { ...stable, arm: "stable" }] };
}

/** Nobody knows from the place which is which. */
function anywhere({ judge, answers }) {
  return { judge, answers: crypto.getRandomValues(new Uint8Array(1))[0] & 1 ? answers : [...answers].reverse() };
}

function pairs(which) {
  if (read.busy) return h("p", { class: "muted" }, "Reading…");
  if (!read.pairs.length) {
    return empty("No pair yet.", which === "shadow" ? "A pair is there when the judge has compared both answers to one question of a shadow."
      : "The Spec's judge samples answers of both arms while a phase with it goes on.");
  }
  const pair = read.pairs[read.place];
  const open = pair.answers.every((one) => read.levels.has(one.request));
  return [
    h("p", { class: "line" }, h("button", { type: "button", "data-do": "pair", "data-step": "-1", disabled: read.place === 0 }, "← Before"),
      ` ${which === "shadow" ? "Pair" : "Two answers,"} ${read.place + 1} of ${read.pairs.length} `,
      h("button", { type: "button", "data-do": "pair", "data-step": "1", disabled: read.place === read.pairs.length - 1 }, "Next →")),
    h("div", { class: "pair" }, pair.answers.map((one, index) => sample(one, "AB"[index], open, pair.judge))),
    open && pair.judge ? h("p", { class: "note", role: "status" }, h("strong", null, "The judge: "), pair.judge) : null,
  ];
}

function sample(one, letter, open, compared) {
  const level = read.levels.get(one.request);
  return h("article", { class: "panel sample", "data-key": one.request, "aria-label": `Answer ${letter}` },
    h("h2", null, `Answer ${letter}`, open ? h("span", { class: `arm ${one.arm}` }, one.arm) : h("span", { class: "muted small" }, " blind")),
    one.turns.map(([role, text]) => h("p", { class: "turn" }, h("span", { class: "role" }, role), text)),
    h("p", { class: "answer" }, one.answer || `(${one.ending})`),
    one.calls.map(([name, said]) => h("p", { class: "turn" }, h("span", { class: "role" }, "calls"), `${name}(${said})`)),
    one.tripwires.length ? h("p", { class: "line" }, h("span", { class: "chip wait" }, `! ${one.tripwires.join(", ")}`)) : null,
    h("fieldset", null, h("legend", null, `How good is answer ${letter}?`), WORDS.map((word, index) =>
      h("button", { type: "button", "data-do": "level", "data-request": one.request, "data-level": String(index + 1), "aria-pressed": level === index + 1 ? "true" : "false" }, `${index + 1} ${word}`))),
    open && !compared ? h("p", { class: "small" }, one.score === null ? "The judge has no score for it." : [h("strong", null, `The judge: ${one.score.toFixed(2)}. `), one.reason]) : null,
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
