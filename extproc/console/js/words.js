// What the words of the API are called for people, and the symbol that goes with each: colour is never the only sign.

export const VERDICTS = {
  pass: { symbol: "✓", word: "holds", tone: "good" },
  inconclusive: { symbol: "…", word: "not shown yet", tone: "wait" },
  no_data: { symbol: "∅", word: "no data", tone: "wait" },
  fail: { symbol: "✕", word: "fails", tone: "bad" },
};
export const RANK = ["fail", "no_data", "inconclusive", "pass"];

export const STATUSES = {
  pending: { symbol: "○", word: "waits for its start", tone: "calm" },
  shadow: { symbol: "◌", word: "shadow", tone: "calm" },
  progressing: { symbol: "▶", word: "progressing", tone: "live" },
  paused: { symbol: "‖", word: "paused", tone: "wait" },
  awaiting_approval: { symbol: "?", word: "a person decides", tone: "wait" },
  completed: { symbol: "✓", word: "completed", tone: "good" },
  rolled_back: { symbol: "↩", word: "rolled back", tone: "bad" },
};
export const EXPOSES = new Set(["progressing", "paused", "awaiting_approval"]);

export const ACTIONS = {
  start: "started", advance: "advanced", complete: "completed", roll_back: "rolled back", roll_back_cohort: "one cohort rolled back",
  pause: "paused", resume: "resumed", return: "went back", override: "gates overridden", ask: "asked a person", adopt: "adopted",
  revoke: "tokens revoked", hold: "held",
};
export const TOGETHER = "together";

export const SAFE_LIMIT = Math.log(20); // of ln E: evidence enough that a comparison stays within its margin

/** What a gate is called. */
export function title(gate) {
  if (gate === TOGETHER) return "all together";
  const [kind, , name] = gate.match(/^(ceiling|metric|shadow)(:)(.*)$/)?.slice(1) || ["", "", gate];
  const words = name.replace(/_/g, " ").replace(/^ttft/, "first token").replace(/^cost$/, "cost per request");
  return kind ? `${words} (${kind})` : words;
}

/** How far harm has come: 1 is the limit. */
export function reached(finding) {
  return finding.log_e_limit ? finding.log_e_harm / finding.log_e_limit : 0;
}

/** Worst first: by verdict, then by how near harm is to its limit. */
export function worstFirst(findings) {
  return [...findings].sort((one, other) => RANK.indexOf(one.verdict) - RANK.indexOf(other.verdict) || reached(other) - reached(one));
}
