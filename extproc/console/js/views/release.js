// One release: where it stands, both arms side by side, the evidence over time, cohorts, and what was decided.

import { chart, shownOf, withDecisions } from "../chart.js";
import { h } from "../dom.js";
import { differing, eValue, instant, lasting, money, percent, valued, whole } from "../format.js";
import { empty, forest, harmBar, statusChip, track, verdictChip } from "../parts.js";
import { state } from "../state.js";
import { ACTIONS, EXPOSES, SAFE_LIMIT, TOGETHER, VERDICTS, title, worstFirst } from "../words.js";
import { moneyPanel } from "./money.js";
import { waiting } from "./releases.js";

export function release(name) {
  const rollout = state.status?.rollouts[name];
  if (!state.status) return empty("Waiting for the controller…");
  if (!rollout) return empty(`There is no rollout ${name}.`, "It may have been taken out of the Spec. The Releases page has those that there are.");
  return [
    h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Releases"), " / ", h("span", { "aria-current": "page" }, name)),
    head(name, rollout),
    h("section", { class: "panel", "aria-labelledby": "arms" }, h("h2", { id: "arms" }, "Canary and stable"), ...arms(name, rollout), measuresTable(name, rollout)),
    h("section", { class: "panel", "aria-labelledby": "evidence" }, h("h2", { id: "evidence" }, "Evidence over time"), evidence(name, rollout)),
    h("section", { class: "panel", "aria-labelledby": "cohorts" }, h("h2", { id: "cohorts" }, "Cohorts, worst first"), cohorts(rollout)),
    moneyPanel(name, rollout),
    h("section", { class: "panel", "aria-labelledby": "journal" }, h("h2", { id: "journal" }, "Journal"), journal(name)),
  ];
}

function head(name, rollout) {
  return h("section", { class: `panel head ${rollout.page ? "page" : ""}` },
    h("div", { class: "title" }, h("h1", null, name), statusChip(rollout.status), rollout.page ? h("span", { class: "chip bad" }, "! somebody has to look") : null),
    h("p", { class: "muted" }, rollout.canary, " in the place of ", rollout.stable, ` · attempt ${rollout.attempt} · generation ${rollout.generation}`),
    track(rollout, visits(state.journal.get(name), rollout)),
    h("p", { class: "waits" }, waiting(rollout)),
    rollout.override ? h("p", { class: "line" }, `A person answers for missing evidence for ${lasting(rollout.override.seconds)} more.`) : null,
    rollout.advice ? h("p", { class: "advice" }, "Next step: ", rollout.advice, isRead(rollout) ? [". ", worstAnswers({ rollout: name, which: "worst", before: rollout.since }, "Its worst answers, in the console")] : null) : null,
    h("dl", { class: "facts wide" },
      fact("Share on the canary", percent(rollout.share)),
      fact("Since", [instant(rollout.since), ` (${lasting(rollout.seconds)})`]),
      ...(inShadow(rollout) ? shadowFacts(rollout.shadow) : [
        fact("Watched", `${lasting(rollout.watched)} of ${lasting(rollout.min_dwell)}`),
        fact("Canary units", `${whole(rollout.canary_units)} of ${whole(rollout.min_units)}`),
      ]),
      rollout.together ? fact("Harm, all together", harmBar(rollout.together.log_e, rollout.together.log_e_limit)) : null));
}

/** It was rolled back, and a judge has read answers of it. */
function isRead(rollout) {
  return rollout.status === "rolled_back" && state.status.judge;
}

function fact(term, value) {
  return h("div", null, h("dt", null, term), h("dd", null, value));
}

// -------------------------------------------------------------------------------------------------------------------- shadow
const inShadow = (rollout) => rollout.status === "shadow" && rollout.shadow;

function shadowFacts(shadow) {
  const won = shadow.preferred;
  return [
    fact("Share mirrored", percent(shadow.share)),
    fact("Watched", `${lasting(shadow.watched)} of ${lasting(shadow.min_dwell)}`),
    fact("Pairs of answers", `${whole(shadow.pairs)} of ${whole(shadow.min_pairs)}`),
    shadow.min_judged ? fact("Judged pairs", `${whole(shadow.judged)} of ${whole(shadow.min_judged)}: canary better in ${whole(won.canary)}, stable in ${whole(won.stable)}`) : null,
    fact("Copies so far", shadow.per_release === null ? money(shadow.spent) : `${money(shadow.spent)} of ${money(shadow.per_release)}`),
    shadow.missing ? fact("Without a copy", whole(shadow.missing)) : null,
  ];
}

// ------------------------------------------------------------------------------------------------------------------- both arms
const COLUMNS = [
  ["requests", "Requests", (arm) => whole(arm.requests)],
  ["errors", "Errors", (arm) => (arm.error_rate === null ? "–" : `${(arm.error_rate * 100).toFixed(2)} % (${whole(arm.failures)})`)],
  ["ttft", "First token p50 / p95", (arm) => `${valued(arm.ttft_p50, "seconds")} / ${valued(arm.ttft_p95, "seconds")}`],
  ["latency", "Whole answer p50 / p95", (arm) => `${valued(arm.p50, "seconds")} / ${valued(arm.p95, "seconds")}`],
  ["tokens", "Tokens in / out", (arm) => `${whole(arm.input_tokens)} / ${whole(arm.output_tokens)}`],
  ["limits", "429 / given up", (arm) => `${whole(arm.throttled)} / ${whole(arm.client_aborted)}`],
];

/** How many answers of each arm users spoke of; nothing where the Spec has no feedback. */
function spoken(name, rollout) {
  const arms = inShadow(rollout) ? null : state.status.users?.feedback?.response[name];
  if (!arms) return [];
  return [["feedback", "Users spoke of", (_, arm) => (arms[arm]?.requests ? `${percent(arms[arm].rate, 2)} (${whole(arms[arm].heard)} of ${whole(arms[arm].requests)})` : "–")]];
}

function arms(name, rollout) {
  const present = Object.entries(inShadow(rollout) ? rollout.shadow.arms : rollout.arms);
  if (!present.length) return [];
  const feedback = spoken(name, rollout);
  const columns = [...COLUMNS, ...feedback];
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What both arms have seen" }, h("table", { class: "arms" },
    h("caption", null, inShadow(rollout) ? "The same requests: stable's answers, and the canary's to their copies, which nobody gets" : "What ended in this phase"),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Arm"), columns.map(([, word]) => h("th", { scope: "col" }, word)))),
    h("tbody", null, present.map(([arm, one]) => h("tr", null, h("th", { scope: "row" }, h("span", { class: `arm ${arm}` }, arm)), columns.map(([, , read]) => h("td", null, read(one, arm)))))))),
    feedback.length ? h("p", { class: "small muted" }, "Who speaks of an answer chooses to: where the arms differ in how many do, what is said of them is not alike.") : null];
}

function measuresTable(name, rollout) {
  const last = rollout.findings.length ? null : state.journal.get(name)?.find((entry) => entry.numbers.findings?.length);
  const compared = worstFirst((last?.numbers.findings || rollout.findings).filter((one) => one.gate !== TOGETHER));
  if (!compared.length) {
    return empty("Nothing is compared now.", rollout.share === 0 ? "Nobody meets the canary." : "In this phase nobody is left to compare with.");
  }
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparisons" }, h("table", { class: "measures" },
    h("caption", null, last ? ["As the last decision found it, ", instant(last.at)] : "Compared: 95 % intervals are for eyes; the E-values decide"),
    h("thead", null, h("tr", null, ["Measure", "Verdict", "Canary", "Stable", "Difference", "Interval and margin", "Harm against its limit", "Safety"].map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", null, compared.map((one) => measureRow(one, name, last)))));
}

function measureRow(one, name, last) {
  const measure = state.measures[one.gate.replace(/^(ceiling|shadow):/, "")] || {};
  const ceiling = one.gate.startsWith("ceiling:");
  const interval = one.interval ? `${differing(one.interval[0], measure.unit)} to ${differing(one.interval[1], measure.unit)}` : "";
  return h("tr", { "data-key": one.gate },
    h("th", { scope: "row", title: measure.sentence }, title(one.gate), one.cohort ? h("span", { class: "small muted" }, ` cohort ${one.cohort} alone`) : null),
    h("td", null, verdictChip(one.verdict), answersBehind(one, name, last)),
    h("td", null, valued(one.canary_value, measure.unit), among(one.canary_samples)),
    h("td", null, valued(one.stable_value, measure.unit), among(one.stable_samples)),
    h("td", null, ceiling || one.estimate === null ? "–" : differing(one.estimate, measure.unit)),
    h("td", { class: "picture" }, ceiling ? `at most ${valued(one.margin, measure.unit)}` : [forest(one, measure), h("span", { class: "small muted" }, [interval, one.within ? `margin ${one.within.replace("-", "−")}` : ""].filter(Boolean).join(" · "))]),
    h("td", null, one.log_e_limit ? harmBar(one.log_e_harm, one.log_e_limit) : "–"),
    h("td", null, one.within ? `E ${eValue(one.log_e_safe)} of ${eValue(SAFE_LIMIT)}` : h("span", { class: "muted small" }, "guards only")));
}

/** Where the judge failed the canary: the way to the answers that it liked least, before the decision `entry` where there was one. */
function answersBehind(finding, name, entry) {
  const [, shadow, gate] = finding.gate.match(/^(?:ceiling:|(shadow:))?(.*)$/);
  if (gate !== "judge" || finding.verdict !== "fail") return null;
  return [" ", worstAnswers({ rollout: name, which: shadow ? "shadow" : "worst", ...(entry ? { before: entry.at } : {}) }, "Worst answers")];
}

function worstAnswers(query, words) {
  return h("a", { class: "small", href: `#/samples?${new URLSearchParams(query)}` }, words);
}

function among(samples) {
  return samples ? h("span", { class: "small muted of" }, `of ${whole(samples)}`) : null;
}

// -------------------------------------------------------------------------------------------------------------------- over time
const RANGES = [["All", 0], ["Last 6 h", 21_600], ["Last hour", 3_600], ["Last 5 min", 300]];

function evidence(name, rollout) {
  const columns = withDecisions(state.history.get(name), state.journal.get(name) || []);
  if (!columns || columns.at.length < 2) return empty("No history yet.", "It begins when the API process starts; older points are in the Journal's decisions.");
  const safety = columns.safety.at(-1);
  const figures = Object.entries(columns.gates).map(([gate, one]) => `${title(gate)} ${eValue(one.harm.at(-1))} of ${eValue(one.limit)}`);
  return [
    h("p", { class: "line", role: "group", "aria-label": "How much of it is shown" }, RANGES.map(([word, seconds]) =>
      h("button", { type: "button", class: "small-button", "data-do": "range", "data-name": name, "data-seconds": String(seconds), "aria-pressed": shownOf(name) === seconds ? "true" : "false" }, word)),
      h("span", { class: "small muted" }, "or draw over the chart; a double click shows all")),
    h("p", { class: "small muted" }, "Each line is the evidence of harm of one comparison, on a log scale, as a part of its own limit. What reaches the red line rolls back. "
      + "The thick dotted line is the evidence of safety of the comparison that has least of it, as a part of 20: the next phase wants it at the line. "
      + `Since ${lasting(columns.at.at(-1) - columns.at[0])}; dashed uprights are changes of phase.`),
    chart(name, columns, `Evidence of harm of ${name}: ${figures.join(", ")}; of safety, where it is least: ${eValue(safety)} of ${eValue(SAFE_LIMIT)}`),
  ];
}

function cohorts(rollout) {
  const limit = rollout.harm_limit;
  const all = [...rollout.by_cohort].sort((one, other) => other.out - one.out || (other.log_e ?? -1e9) - (one.log_e ?? -1e9) || ahead(other) - ahead(one));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cohorts" }, h("table", null,
    h("thead", null, h("tr", null, ["Cohort", "Stands", "Share", "Canary units", "Errors of canary", "Errors of stable", "Harm, its own comparisons", "Most of it"].map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", null, all.map((one) => h("tr", { "data-key": one.cohort },
      h("th", { scope: "row" }, one.cohort),
      h("td", null, one.out ? h("span", { class: "chip bad" }, "↩ rolled back by itself") : one.share ? h("span", { class: "chip live" }, "▶ takes part") : h("span", { class: "chip calm" }, "○ on stable")),
      h("td", null, percent(one.share)), h("td", null, whole(one.canary_units)), h("td", null, failed(one.arms.canary)), h("td", null, failed(one.arms.stable)),
      h("td", null, one.log_e === null ? "–" : harmBar(one.log_e, limit)), h("td", null, one.measure ? title(one.measure) : "–"))))));
}

/** By how much more often the canary fails. */
function ahead({ arms }) {
  return (arms.canary.error_rate ?? 0) - (arms.stable.error_rate ?? 0);
}

function failed(arm) {
  return arm.error_rate === null ? "–" : [percent(arm.error_rate, 2), h("span", { class: "small muted of" }, `${whole(arm.failures)} of ${whole(arm.requests)}`)];
}

// --------------------------------------------------------------------------------------------------------------------- journal
const LONG = 240; // characters of a reason that is made of the Findings shown below it
const TONES = { roll_back: "bad", roll_back_cohort: "bad", complete: "good", advance: "live", start: "live", ask: "wait", pause: "wait", override: "wait", return: "bad" };

function journal(name) {
  const entries = state.journal.get(name);
  if (!entries) return h("p", { class: "muted" }, "Loading…");
  if (!entries.length) return empty("Nothing has been decided yet.");
  return h("ol", { class: "timeline" }, entries.map((entry) => h("li", { class: TONES[entry.action] || "calm", "data-key": String(entry.sequence) },
    h("div", { class: "when" }, instant(entry.at)),
    h("div", { class: "what" },
      h("p", null, h("strong", null, ACTIONS[entry.action] || entry.action), moved(entry), h("span", { class: "muted" }, " by ", entry.actor === "extproc" ? "extproc itself" : entry.actor)),
      h("p", null, entry.numbers.findings?.length > 1 && entry.why.length > LONG ? `${entry.why.slice(0, LONG)} …` : entry.why),
      findings(entry)))));
}

/** Phase -> seconds in it so far, in this attempt, by the Journal. */
function visits(entries, rollout) {
  const seconds = new Map();
  let until = state.status.at;
  for (const entry of entries || []) {
    if (entry.numbers.attempt !== rollout.attempt || !entry.numbers.to) continue;
    const { phase, status } = entry.numbers.to;
    const stage = status === "shadow" ? "shadow" : EXPOSES.has(status) ? phase : "";
    if (stage) seconds.set(stage, (seconds.get(stage) || 0) + until - entry.at);
    until = entry.at;
  }
  return seconds;
}

function moved(entry) {
  const { from, to, cohort } = entry.numbers;
  if (cohort) return ` (${cohort})`;
  return from && to && from.phase !== to.phase ? ` ${from.phase} → ${to.phase}` : "";
}

function findings(entry) {
  const found = entry.numbers.findings || [];
  if (!found.length) return null;
  const failed = found.filter((one) => one.verdict === "fail").length;
  return h("details", null,
    h("summary", null, `${found.length} findings behind it${failed ? `, ${failed} failed` : ""}`),
    h("ul", { class: "findings" }, worstFirst(found).map((one) => h("li", { "data-key": one.gate },
      h("span", { class: `mark ${VERDICTS[one.verdict]?.tone}`, "aria-hidden": "true" }, VERDICTS[one.verdict]?.symbol), " ",
      h("span", { class: "sr" }, VERDICTS[one.verdict]?.word), " ", one.sentence, answersBehind(one, entry.rollout, entry)))));
}
