// What a release costs beyond stable alone: so far, and until it is completed.

import { h } from "../dom.js";
import { lasting, money, whole } from "../format.js";
import { state } from "../state.js";

const DAY = 86_400;

export function moneyPanel(name, rollout) {
  const plan = state.money[name];
  const judged = state.status.judge?.spent?.[name];
  const rows = [
    ["Parallel run", "the canary's answers, beyond what as many of stable's cost", rollout.money.parallel, plan?.parallel],
    ["Shadow", "copies that nobody gets", rollout.shadow?.spent, plan?.shadow],
    ["Judge", "reads sampled answers of all attempts", judged, plan?.judge],
  ].filter(([, , spent, planned]) => spent !== undefined || planned);
  const spent = rows.map(([, , usd]) => usd).filter((usd) => usd !== null && usd !== undefined);
  return h("section", { class: "panel", "aria-labelledby": "money" }, h("h2", { id: "money" }, "Money"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Money" }, h("table", { class: "money" },
      h("caption", null, `Beyond stable alone, attempt ${rollout.attempt}; below zero is saved`),
      h("thead", null, h("tr", null, ["", "So far", "Planned until completed"].map((word) => h("th", { scope: "col" }, word || h("span", { class: "sr" }, "Part"))))),
      h("tbody", null, rows.map(([part, what, usd, planned]) => h("tr", null, h("th", { scope: "row" }, part, h("span", { class: "small muted of" }, what)), h("td", null, money(usd)), h("td", null, plan?.priced ? money(planned) : "–")))),
      h("tfoot", null, h("tr", null, h("th", { scope: "row" }, "Together"), h("td", null, spent.length ? money(spent.reduce((sum, usd) => sum + usd, 0)) : "–"), h("td", null, plan?.priced ? money(plan.total) : "–"))))),
    h("p", { class: "small muted" }, sentences(rollout, plan)));
}

function sentences(rollout, plan) {
  const { canary } = rollout.money.arms;
  const known = rollout.money.parallel === null && canary.requests ? "Nothing is known of what both arms cost so far: a model has no prices, or no tokens are told. "
    : canary.priced < canary.requests ? `Of ${whole(canary.requests)} answers of the canary ${whole(canary.requests - canary.priced)} told no tokens, and are not in it. ` : "";
  if (!plan) return known;
  if (!plan.priced) return `${known}No plan: ${plan.why}.`;
  return `${known}The plan takes ${lasting(plan.days * DAY)}${plan.decided ? "" : ", and cannot succeed in one of its phases"}; tokens are ${told(plan.tokens)}, which leaves ${money(plan.low)} to ${money(plan.high)}.`
    + ` Afterwards ${plan.saving < 0 ? "it costs" : "it saves"} ${money(Math.abs(plan.saving))} a month.${plan.by_hours ? " A model is paid by the hour: what it costs so far is not told by requests." : ""}`;
}

function told({ stable, canary }) {
  return stable === canary ? stable : `${stable} for stable and ${canary} for the canary`;
}
