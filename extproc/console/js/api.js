// The server, by addresses relative to the page: any prefix may stand before them.

/** A document, or an Error with `problems` that can be shown. */
export async function ask(path, body) {
  const options = { credentials: "same-origin", headers: { "x-extproc-console": "1" }, cache: "no-store" };
  if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(`v1/${path}`, options);
  } catch {
    throw failure(0, [{ message: "the controller cannot be reached", hint: "is it running? The page goes on trying by itself" }]);
  }
  let document;
  try {
    document = await answer.json();
  } catch {
    throw failure(answer.status, [{ message: `something else answered (${answer.status})`, hint: "is a proxy between?" }]);
  }
  if (!answer.ok) throw failure(answer.status, document.problems || []);
  return document;
}

/** Lines of JSON, at most `most` of them. */
export async function lines(path) {
  const answer = await fetch(`v1/${path}`, { credentials: "same-origin", headers: { "x-extproc-console": "1" }, cache: "no-store" });
  if (!answer.ok) throw failure(answer.status, (await answer.json()).problems || []);
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

function failure(status, problems) {
  const first = problems[0] || { message: "no reason was given", hint: "" };
  return Object.assign(new Error(first.message), { status, problems });
}
