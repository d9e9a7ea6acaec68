// The console: which page is shown, what is heard, and what is clicked. Every address is relative: any prefix may stand before it.

import { choose, close, deed, openAct, openLogin, paint, submitLogin, watched } from "./act.js";
import { ask } from "./api.js";
import { within } from "./chart.js";
import { h, show } from "./dom.js";
import { lasting } from "./format.js";
import { follow } from "./live.js";
import { empty } from "./parts.js";
import { state } from "./state.js";
import { EXPOSES } from "./words.js";
import * as explainPage from "./views/explain.js";
import * as exposuresPage from "./views/exposures.js";
import { fleet } from "./views/fleet.js";
import { release } from "./views/release.js";
import { releases } from "./views/releases.js";
import * as samplesPage from "./views/samples.js";

const MOST_POINTS = 2_000;
const main = document.getElementById("main");
const PAGES = {
  "": () => releases(), fleet: () => fleet(), explain: () => explainPage.explain(),
  exposures: (query) => exposuresPage.exposures(render, query), samples: (query) => samplesPage.samples(render, query),
};

// ------------------------------------------------------------------------------------------------------------------- the page
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  return { page, name: decoded(rest.join("/")), query: new URLSearchParams(query || "") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function render() {
  const { page, name, query } = place();
  if (!state.session.looks && !state.session.name) show(main, empty("Log in to look.", "At this address even looking wants a login: it is not the controller's own machine."));
  else if (page === "release") show(main, release(name));
  else if (PAGES[page]) show(main, PAGES[page](query));
  else show(main, empty("There is no such page."));
  for (const link of document.querySelectorAll("#nav a")) {
    const here = link.dataset.page === (page || "releases") || (page === "release" && link.dataset.page === "releases");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const rollout = page === "release" ? state.status?.rollouts[name] : null;
  document.title = rollout ? `${name}: ${rollout.status.replace(/_/g, " ")} · extproc` : "extproc";
  frame();
}

function frame() {
  document.getElementById("application").textContent = state.status?.application || "";
  document.getElementById("who").textContent = state.session.name || "Log in";
  document.documentElement.dataset.role = state.session.role || "";
  const pulse = document.getElementById("pulse");
  const stale = state.status?.stale || 0;
  const [word, tone] = state.lost || !state.status ? [state.status ? "not live" : "connecting", "bad"] : stale ? ["controller silent", "bad"] : ["live", "good"];
  if (pulse.textContent !== word) pulse.textContent = word;
  pulse.className = `pulse ${tone}`;
  const notice = [];
  // What counts on is hidden from readers of the screen: else they would hear it again and again.
  if (state.lost) notice.push([`${capital(state.lost)}. This page comes back by itself. `, state.status ? quiet(`What you see is ${lasting((performance.now() - state.at) / 1000)} old.`) : null]);
  else if (stale) notice.push(["The controller has not answered ", quiet(`for ${lasting(stale)}`), ". Nothing is decided meanwhile; after its lease, routers send canary traffic to stable."]);
  for (const [name, why] of Object.entries(state.status?.watch.blind || {})) if (EXPOSES.has(state.status.rollouts[name]?.status)) notice.push(`${name}: outcomes do not arrive (${why}). Canary traffic goes to stable.`);
  show(document.getElementById("notice"), notice.map((told) => h("p", null, told)));
}

function quiet(text) {
  return h("span", { "aria-hidden": "true" }, text);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// ------------------------------------------------------------------------------------------------------------- what is heard
let asked = 0;

function told(status) {
  const before = state.status;
  const wasLost = state.lost;
  state.status = status;
  state.at = performance.now();
  state.lost = "";
  const { page, name } = place();
  for (const [rollout, one] of Object.entries(status.rollouts)) remember(rollout, one, status);
  if (page === "release" && (!before || before.generation !== status.generation || wasLost)) fresh(name);
  watched();
  render();
}

/** The history goes on with what the stream tells. */
function remember(name, rollout, status) {
  const columns = state.history.get(name);
  if (!columns || status.stale || (columns.at.length && status.at - columns.at.at(-1) < 0.9)) return;
  const length = columns.at.push(status.at);
  columns.share.push(rollout.share);
  for (const one of rollout.findings) {
    if (!one.log_e_limit) continue;
    columns.gates[one.gate] ||= { limit: one.log_e_limit, harm: Array(length - 1).fill(null), safe: Array(length - 1).fill(null) };
    Object.assign(columns.gates[one.gate], { limit: one.log_e_limit });
    columns.gates[one.gate].harm.push(one.log_e_harm);
    columns.gates[one.gate].safe.push(one.within ? one.log_e_safe : null);
  }
  for (const one of Object.values(columns.gates)) {
    while (one.harm.length < length) one.harm.push(null);
    while (one.safe.length < length) one.safe.push(null);
  }
  const last = columns.marks.at(-1);
  if (!last || last.phase !== rollout.phase || last.status !== rollout.status) columns.marks.push({ at: status.at, phase: rollout.phase, status: rollout.status, attempt: rollout.attempt });
  if (length > MOST_POINTS) load(name);
}

/** Journal and history of a release. */
async function fresh(name) {
  const mine = (asked += 1);
  try {
    const { entries } = await ask(`journal?${new URLSearchParams({ rollout: name, limit: "200" })}`);
    if (mine === asked) state.journal.set(name, entries);
    state.money = (await ask("money")).rollouts;
    if (!state.history.has(name)) await load(name);
  } catch (error) {
    if (!state.journal.has(name)) state.journal.set(name, []);
  }
  render();
}

async function load(name) {
  state.history.set(name, await ask(`history?${new URLSearchParams({ rollout: name })}`));
}

function lost(why) {
  state.lost = why;
  render();
}

// ------------------------------------------------------------------------------------------------------------ what is clicked
const DEEDS = {
  act: (from) => openAct(from.dataset.rollout || (place().page === "release" ? place().name : "")),
  login: openLogin, close, deed, theme,
  logout: async () => {
    state.session = await ask("logout", {});
    close();
    render();
  },
  level: (from) => samplesPage.levelled(from.dataset.request, Number(from.dataset.level), render),
  range: (from) => { within(from.dataset.name, Number(from.dataset.seconds)); render(); },
  pair: (from) => { samplesPage.step(Number(from.dataset.step)); render(); },
  export: (from) => exposuresPage.save(from.dataset.kind),
};
const FORMS = {
  login: (form) => submitLogin(form).then(afterLogin),
  explain: (form) => explainPage.submitted(form, render), exposures: (form) => exposuresPage.submitted(form, render),
};

async function afterLogin() {
  if (state.session.name && !state.status) again();
  if (state.session.name && !Object.keys(state.measures).length) await measures();
  render();
}

document.addEventListener("click", (event) => {
  const from = event.target.closest("[data-do]");
  if (from && !from.disabled) DEEDS[from.dataset.do]?.(from);
});
document.addEventListener("submit", (event) => {
  event.preventDefault();
  FORMS[event.target.dataset.form]?.(new FormData(event.target));
});
document.addEventListener("input", (event) => {
  if (event.target.dataset.input === "why") paint();
});
document.addEventListener("change", (event) => {
  if (event.target.dataset.change === "which") choose(event.target.value);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "s" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    DEEDS.act(document.getElementById("stop"));
  }
});
addEventListener("hashchange", async () => {
  if (location.hash.startsWith("#token=")) await handed().then(afterLogin, (error) => { state.lost = error.message; });
  const { page, name } = place();
  if (page === "release") fresh(name);
  render();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("resize", render);

// ---------------------------------------------------------------------------------------------------------------------- theme
const THEMES = ["", "light", "dark"];

function theme() {
  put(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length]);
  render();
}

function put(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  document.getElementById("theme").setAttribute("aria-label", `Theme: ${name || "as the system"}`);
  try {
    localStorage.setItem("extproc-theme", name);
  } catch {
    // A browser that keeps nothing has the system's theme.
  }
}

try {
  put(localStorage.getItem("extproc-theme") || "");
} catch {
  put("");
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);

// ---------------------------------------------------------------------------------------------------------------------- begin
let again = () => {};

/** `#token=...` in the address logs in, and is taken out of it: `extproc demo` opens the page so. */
async function handed() {
  const match = location.hash.match(/^#token=([\w-]+)$/);
  if (!match) return;
  history.replaceState(null, "", location.pathname);
  state.session = await ask("login", { name: "demo", token: match[1] });
}

async function session() {
  state.session = await ask("session");
}

async function measures() {
  state.measures = await ask("measures");
}

async function begin() {
  render();
  for (const step of [session, handed, measures]) {
    try {
      await step();
    } catch (error) {
      if (error.status !== 401) state.lost = error.message;
    }
  }
  again = follow(told, lost);
  const { page, name } = place();
  if (page === "release") fresh(name);
  render();
}

begin();
