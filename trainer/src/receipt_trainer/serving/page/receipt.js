/** A receipt as it was read, what a person changed, and the fields that follow. Knows no document. */

export const NONE = "O";
export const UNSURE = 0.7; // below it a person should look

const NAMES = {
  MERCHANT_NAME: "Merchant",
  PHONE_NUMBER: "Phone",
  ADDRESS_LINE: "Address",
  DATE: "Date",
  TIME: "Time",
  PRODUCT_NAME: "Item",
  QUANTITY: "Quantity",
  UNIT_PRICE: "Unit price",
  LINE_TOTAL: "Item total",
  SUBTOTAL: "Subtotal",
  TAX: "Tax",
  GRAND_TOTAL: "Total",
  AMOUNT: "Amount",
  [NONE]: "No label",
};
const SUMMARY = { merchant: "MERCHANT_NAME", date: "DATE", total: "GRAND_TOTAL", subtotal: "SUBTOTAL", tax: "TAX" };
const MONEY = new Set(["total", "subtotal", "tax"]);
const ITEM = ["PRODUCT_NAME", "QUANTITY", "UNIT_PRICE", "LINE_TOTAL"];
const SEVERAL_LINES = new Set(["MERCHANT_NAME", "ADDRESS_LINE", "PRODUCT_NAME"]);
const CHECKS = {
  items_sum_to_subtotal: ["The items add up to the subtotal", "The items do not add up to the subtotal"],
  items_sum_to_total: ["The items add up to the total", "The items do not add up to the total"],
  subtotal_plus_tax_is_total: ["Subtotal and tax make the total", "Subtotal and tax do not make the total"],
  tax_included: ["The prices include the tax", null],
};

/** A label in plain words. */
export function nameOf(label) {
  const plain = label.replaceAll("_", " ").toLowerCase();
  return NAMES[label] ?? plain.charAt(0).toUpperCase() + plain.slice(1);
}

/** 0.975 as "98 %"; never 100 % of what is not certain. */
export const percent = (share) => `${share < 1 ? Math.min(99, Math.round(share * 100)) : 100} %`;

/** How sure a word's label is: by the model, or because a person has said it. */
export function suretyOf({ byPerson, label, proposed, confidence }) {
  if (byPerson) return "checked by you";
  return label === proposed ? `${percent(confidence)} sure` : "set by a person";
}

/** Whether the model says it, and hardly. */
export const isUnsure = (word) => suretyOf(word).endsWith("sure") && word.confidence < UNSURE;

export class Receipt {
  /** Of an answer of the server; `photo` is a Blob or null, `key` that of the review queue. */
  constructor(answer, { photo = null, key = null, name = "" } = {}) {
    Object.assign(this, { answer, photo, key, name });
    const made = (word) => ({ ...word, read: word.text, proposed: proposedOf(word), byPerson: false });
    this.words = answer.words.map(made);
    this.done = [];
    this.undone = [];
    this.savedAt = undefined;
  }

  /** Whether there is something that was not saved. */
  get changed() {
    return this.done.at(-1) !== this.savedAt;
  }

  /** Whether there is nothing that could be saved. */
  get empty() {
    return !this.words.length;
  }

  /** How much it is, in words. */
  get size() {
    return `${this.words.length} word${this.words.length === 1 ? "" : "s"}`;
  }

  get numTouched() {
    return this.words.filter((word) => word.byPerson).length;
  }

  /** Up to the step that was the last when it was sent. */
  markSaved(step, confirmed) {
    Object.assign(this, { savedAt: step, confirmed });
  }

  /** Change words by their places: {label} or {text}. */
  edit(places, change) {
    const pairs = places.map((place) => {
      const before = this.words[place];
      return { place, before, after: { ...before, ...change, byPerson: true } };
    });
    this.done.push(pairs);
    this.undone = [];
    return this.#apply(pairs, "after");
  }

  undo() {
    const step = this.done.pop();
    if (step) this.undone.push(step);
    return this.#apply(step ?? [], "before");
  }

  redo() {
    const step = this.undone.pop();
    if (step) this.done.push(step);
    return this.#apply(step ?? [], "after");
  }

  #apply(step, side) {
    for (const pair of step) this.words[pair.place] = pair[side];
    return step.map((pair) => pair.place);
  }

  /** What stands on the receipt now: [{label, words, text, value, confidence (null where a person said it)}]. */
  finds() {
    const found = [];
    const taken = new Set();
    for (const [label, finds] of Object.entries(this.answer.fields)) {
      for (const find of finds) {
        const kept = find.words.filter((place) => this.#stays(place, label));
        kept.forEach((place) => taken.add(place));
        const whole = kept.length === find.words.length && kept.every((place) => this.#asRead(place));
        const { text, confidence } = find;
        if (whole) found.push({ label, words: kept, text, value: valueOf(find), confidence });
        else if (kept.length) found.push({ label, words: kept });
      }
    }
    this.words.forEach(({ label }, place) => {
      if (label !== NONE && !taken.has(place)) this.#join(found, label, place);
    });
    for (const find of found) if (!("value" in find)) Object.assign(find, this.#said(find));
    return found;
  }

  #stays(place, label) {
    const word = this.words[place];
    return word.label === label || word.label === word.proposed;
  }

  #asRead(place) {
    return this.words[place].text === this.words[place].read;
  }

  #join(found, label, place) {
    const line = this.words[place].line;
    const beside = (other) =>
      Math.abs(other - place) === 1 && (SEVERAL_LINES.has(label) || this.words[other].line === line);
    const find = found.find((one) => one.label === label && one.words.some(beside));
    if (!find) return void found.push({ label, words: [place] });
    find.words = [...find.words, place].sort((one, other) => one - other);
    delete find.value;
  }

  #said(find) {
    const text = find.words.map((place) => this.words[place].text).join(" ");
    return { text, value: text, confidence: null };
  }

  /** Whether a person gave or took away this label, or edited a word that bears it. */
  #touched(label) {
    const moved = (word) => (word.label === label) !== (word.proposed === label);
    return this.words.some((word) => moved(word) || (word.label === label && word.text !== word.read));
  }

  /** {rows of the summary, rows of items by label, others}, made of the finds. */
  fields() {
    const finds = this.finds();
    const chosen = Object.entries(SUMMARY).map(([key, label]) => this.#summaryRow(finds, key, label));
    const shown = new Set(chosen.map((row) => row.find));
    const shared = ({ label }) => Object.values(SUMMARY).includes(label);
    const items = this.#items(finds.filter((find) => ITEM.includes(find.label)));
    const order = Object.keys(NAMES);
    const others = finds.filter((find) => !shown.has(find) && !ITEM.includes(find.label));
    others.sort((one, other) => shared(one) - shared(other) || order.indexOf(one.label) - order.indexOf(other.label));
    return { summary: chosen, items, others };
  }

  #summaryRow(finds, key, label) {
    const own = finds.filter((find) => find.label === label);
    const read = this.answer.summary[key];
    const touched = this.#touched(label);
    const said = own.find((find) => find.confidence === null);
    const find = (touched ? said : own.find((one) => one.value === read)) ?? (touched || read === null ? own[0] : null);
    const value = touched ? (find?.value ?? null) : read;
    const currency = MONEY.has(key) && value && !touched ? this.answer.summary.currency : null;
    return { label, value, currency, find: find ?? null, words: find?.words ?? [] };
  }

  #items(finds) {
    const rows = this.answer.items.map((item) => ({ lines: item.lines, cells: {}, first: item.lines[0] ?? 0 }));
    for (const find of finds) {
      const line = this.words[find.words[0]]?.line;
      let row = rows.find((one) => one.lines.includes(line) && !one.cells[find.label]);
      if (!row) rows.push((row = { lines: [line], cells: {}, first: line }));
      row.cells[find.label] = find;
    }
    const columns = ITEM.filter((label) => rows.some((row) => row.cells[label]));
    const full = rows.filter((row) => Object.keys(row.cells).length);
    return { columns, rows: full.sort((one, other) => one.first - other.first) };
  }

  /** [{text, holds}] of the sums that were checked, and whether a person has changed an amount since. */
  checks() {
    const textOf = (name, holds) => CHECKS[name]?.[holds ? 0 : 1];
    const said = Object.entries(this.answer.checks).map(([name, holds]) => ({ text: textOf(name, holds), holds }));
    const stale = ["LINE_TOTAL", "SUBTOTAL", "TAX", "GRAND_TOTAL"].some((label) => this.#touched(label));
    return { known: said.filter((check) => check.holds !== null && check.text), stale };
  }

  /** Why a person should look at it, in plain words. */
  reasons() {
    return this.answer.review_reasons.map(({ code, text }) => {
      const [, label, share] = /^([A-Z_]+) is right with a probability of ([\d.]+)/.exec(text) ?? [];
      if (label) return `${nameOf(label)} is only ${percent(Number(share))} sure`;
      const [check] = Object.keys(CHECKS).filter((name) => code === "check_failed" && text.startsWith(name));
      const plain = text.replace(/\b[A-Z]+(_[A-Z]+)+\b|\b(DATE|TIME|TAX|SUBTOTAL|QUANTITY|AMOUNT)\b/g, nameOf);
      return CHECKS[check]?.[1] ?? plain.charAt(0).toUpperCase() + plain.slice(1);
    });
  }

  /** Places of the words of which only the model says what they are, the least sure first. */
  unsure() {
    const byModel = ({ byPerson, label, proposed }) => !byPerson && label === proposed;
    const places = [...this.words.keys()].filter((place) => byModel(this.words[place]));
    return places.sort((one, other) => this.words[one].confidence - this.words[other].confidence);
  }

  /** The body of `:correct`. */
  correction(confirmed) {
    return {
      pages: this.answer.pages.map(({ page, width, height }) => ({ page, width, height })),
      words: this.words.map(({ text, read, box, page, line, label, proposed, byPerson }) => ({
        text, box, page, line, label, proposed, by_person: byPerson, ...(text !== read && { original_text: read }),
      })),
      confirmed,
      model: this.answer.model && { name: this.answer.model.name, version: this.answer.model.version },
      by: null,
      review_key: this.key,
    };
  }
}

/** The model's label: that of the tag; `label` may be one that a person gave before. */
const proposedOf = ({ tag }) => (tag === NONE ? NONE : tag.replace(/^[BI]-/, ""));

function valueOf(find) {
  const value = find.value;
  return value === null ? null : typeof value === "object" ? value.amount : value;
}
