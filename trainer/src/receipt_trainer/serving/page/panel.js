/** What was read, beside the receipt: reasons for a look, summary, items, checks. */

import { make, tone } from "./elements.js";
import { NONE, UNSURE, nameOf, percent } from "./receipt.js";

const OLD = "Fields and sums are those from before your last corrections: the server has not answered.";

/** All of it, for `root`. Each row bears the places of its words in `data-words`. */
export function fieldsOf(receipt) {
  const { summary, items, others } = receipt.fields();
  return [
    receipt.stale ? make("p", { className: "note", textContent: OLD }) : null,
    reasonsOf(receipt),
    titled("Summary", rowsOf(summary)),
    others.length ? titled("Details", rowsOf(others.map((find) => ({ ...find, find })))) : null,
    items.rows.length ? titled("Items", itemsOf(items)) : null,
    checksOf(receipt.checks()),
    receipt.answer.problems.length ? titled("Left out", listOf(receipt.answer.problems)) : null,
  ].filter(Boolean);
}

export const titled = (title, ...children) => make("section", {}, make("h2", { textContent: title }), ...children);
const rowsOf = (rows) => make("div", { className: "rows" }, ...rows.map(row));
const listOf = (texts) => make("ul", {}, ...texts.map((text) => make("li", { textContent: text })));

/** Why a person should look at it. */
export function reasonsOf(receipt) {
  const reasons = receipt.reasons();
  if (!reasons.length) return make("p", { className: "note good", textContent: "Nothing speaks for a second look." });
  return make("div", { className: "note" }, make("h2", { textContent: "Please check" }), listOf(reasons));
}

function row({ label, value, currency, find, words }) {
  const shown = value ?? (find ? null : "not found");
  const name = make("span", { className: "name", textContent: nameOf(label) });
  const text = make("span", { className: shown === "not found" ? "value none" : "value" }, shown ?? find.text);
  if (currency) text.append(make("small", { textContent: ` ${currency}` }));
  const differs = find && value !== null && find.text !== value;
  if (differs) text.append(make("small", { className: "as-read" }, `read as ${find.text}`));
  const children = [tone(make("i", { className: "dot" }), find ? label : NONE), name, text, find ? surety(find) : null];
  if (!words.length) return make("div", { className: "row" }, ...children);
  return make("button", { type: "button", className: "row", dataset: { words: words.join(" ") } }, ...children);
}

function surety({ confidence }) {
  if (confidence === null) return make("span", { className: "sure yours", textContent: "corrected" });
  const unsure = confidence < UNSURE;
  return make("span", { className: unsure ? "sure unsure" : "sure" }, percent(confidence), unsure ? " unsure" : null);
}

function itemsOf({ columns, rows }) {
  const head = columns.map((label) => make("th", { scope: "col", className: label, textContent: nameOf(label) }));
  const body = rows.map((cells) => make("tr", {}, ...columns.map((label) => cellOf(label, cells[label]))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  return make("div", { className: "scroll" }, table);
}

function cellOf(label, find) {
  if (!find) return make("td", { className: label, textContent: "–" });
  const doubt = find.confidence !== null && find.confidence < UNSURE;
  const note = find.confidence === null ? "corrected" : percent(find.confidence) + (doubt ? ", unsure" : "");
  const text = find.value ?? find.text;
  const dataset = { words: find.words.join(" ") };
  const button = make("button", { type: "button", className: doubt ? "unsure" : "", title: note, dataset }, text);
  button.ariaLabel = `${nameOf(label)} ${text}, ${note}`;
  if (doubt) button.append(make("small", { textContent: percent(find.confidence) }));
  return make("td", { className: label }, button);
}

/** Sums that hold or do not; null where none could be checked. */
export function checksOf(checks, ...notes) {
  if (!checks.length) return null;
  const lines = checks.map(({ text, holds }) => make("li", { className: holds ? "holds" : "fails", textContent: text }));
  return titled("Sums", make("ul", { className: "checks" }, ...lines), ...notes);
}
