// Pieces that several pages show.

import { h, s } from "./dom.js";
import { eValue, lasting } from "./format.js";
import { may, state } from "./state.js";
import { STATUSES, VERDICTS, reached } from "./words.js";

/** A word with its symbol, in its colour. */
export function chip(symbol, word, tone) {
  return h("span", { class: `chip ${tone}` }, h("span", { class: "symbol", "aria-hidden": "true" }, symbol), h("span", null, word));
}

export function statusChip(status) {
  const one = STATUSES[status] || { symbol: "•", word: status, tone: "calm" };
  return chip(one.symbol, one.word, one.tone);
}

export function verdictChip(verdict) {
  const one = VERDICTS[verdict] || { symbol: "•", word: verdict, tone: "calm" };
  return chip(one.symbol, one.word, one.tone);
}

/** How far an e-value has come on a logarithmic scale: from 1 to its limit. */
export function harmBar(logE, limit, label) {
  const share = limit ? Math.max(0, Math.min(1, logE / limit)) : 0;
  const tone = share >= 1 ? "bad" : share > 0.5 ? "wait" : "good";
  return h("span", { class: "harm" },
    s("svg", { viewBox: "0 0 100 6", class: "meter", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: "ground", width: 100, height: 6, rx: 3 }), s("rect", { class: tone, width: Math.max(share * 100, 1), height: 6, rx: 3 })),
    h("span", { class: "small" }, `${label || ""}E ${eValue(logE)} of ${eValue(limit)}`));
}

/** A person's sentence where there is nothing. */
export function empty(title, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "lead" }, title), more.map((text) => h("p", null, text)));
}

/** What stands in place of something that this person may not see; null where he may. */
export function closed(role, why) {
  if (may(role)) return null;
  if (state.session.name) return empty(`This is for ${role}.`, `You are ${state.session.role}: ask somebody who is ${role}, or for that role.`);
  return empty(`This wants a login${why}`, "Log in above with your token, or with the one that lies beside the store.");
}

/** A refusal, as a box. */
export function problem(error) {
  const problems = error.problems?.length ? error.problems : [{ message: error.message, hint: "" }];
  return h("div", { class: "problem", role: "alert" }, problems.map((one) =>
    h("div", null, h("p", null, h("strong", null, one.path ? `${one.path}: ` : ""), one.message), one.hint ? h("p", { class: "small" }, one.hint) : null)));
}

/** The phases as a track: those behind, the present one, those to come, the shadow before them; `seconds`: how long each took. */
export function track(rollout, seconds = new Map()) {
  const { status } = rollout;
  const begun = status !== "pending";
  const back = status === "rolled_back";
  const stages = rollout.phases.map((phase) => phase.name);
  let at = status === "completed" ? stages.length : begun ? rollout.phase_index : -1;
  if (rollout.has_shadow) {
    stages.unshift("shadow");
    // Of an attempt that nobody met, the shadow is as far as it came.
    at = status === "shadow" || (back && !rollout.money.arms.canary.requests) ? 0 : begun ? at + 1 : -1;
  }
  return h("ol", { class: `track${back ? " back" : ""}`, "aria-label": "Phases" }, stages.map((name, index) => {
    const stands = index < at ? "past" : index === at ? "here" : "ahead";
    const said = back && stands === "here" ? "stopped here" : { past: "behind", here: "now", ahead: "to come" }[stands];
    return h("li", { class: stands, "aria-current": stands === "here" && !back ? "step" : null },
      h("span", { class: "dot", "aria-hidden": "true" }, stands === "past" && !back ? "✓" : ""),
      h("span", { class: "name" }, name), h("span", { class: "sr" }, said),
      seconds.has(name) ? h("span", { class: "took" }, lasting(seconds.get(name))) : null);
  }));
}

/** Canary minus stable as an interval against nothing and against the margin; a picture of numbers that stand beside it. */
export function forest(finding, measure) {
  const [low, high] = finding.interval || [null, null];
  if (low === null || finding.estimate === null) return null;
  const worse = measure.more_is_worse === false ? -1 : 1;
  const margin = finding.margin ? worse * finding.margin * (measure.relative ? finding.stable_value || 0 : 1) : 0;
  const reach = Math.max(Math.abs(low), Math.abs(high), Math.abs(margin), 1e-12) * 1.12;
  const x = (value) => 60 + (Math.max(-reach, Math.min(reach, value)) / reach) * 58;
  const tone = VERDICTS[finding.verdict]?.tone || "calm";
  return s("svg", { viewBox: "0 0 120 20", class: "forest", "aria-hidden": "true", preserveAspectRatio: "none" },
    margin ? s("rect", { class: "beyond", x: margin > 0 ? x(margin) : 0, y: 0, width: margin > 0 ? 120 - x(margin) : x(margin), height: 20 }) : null,
    s("line", { class: "zero", x1: 60, x2: 60, y1: 1, y2: 19 }),
    margin ? s("line", { class: "margin", x1: x(margin), x2: x(margin), y1: 1, y2: 19 }) : null,
    s("rect", { class: `interval ${tone}`, x: x(low), y: 7, width: Math.max(x(high) - x(low), 1.2), height: 6, rx: 1.5 }),
    s("rect", { class: "estimate", x: x(finding.estimate) - 0.9, y: 4, width: 1.8, height: 12 }));
}

/** The one worst thing of a rollout, as a sentence. */
export function worst(findings) {
  const ranked = findings.filter((one) => one.estimate !== null || one.verdict === "fail").sort((one, other) =>
    (other.verdict === "fail") - (one.verdict === "fail") || reached(other) - reached(one));
  return ranked[0] || null;
}
