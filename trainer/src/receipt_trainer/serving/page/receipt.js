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
const ITEM = { description: "PRODUCT_NAME", quantity: "QUANTITY", unit_price: "UNIT_PRICE", total: "LINE_TOTAL" };
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

/** Whether only the model says what a word is. */
const isModels = ({ byPerson, label, proposed }) => !byPerson && label === proposed;

/** How sure a word's label is: by the model, or because a person has said it. */
export function suretyOf(word) {
  if (isModels(word)) return `${percent(word.confidence)} sure`;
  return word.byPerson ? "checked by you" : "set by a person";
}

/** Whether the model says it, and hardly. */
export const isUnsure = (word) => isModels(word) && word.confidence < UNSURE;

export class Receipt {
  /** Of an answer of the server; `photo` is a Blob or null, `key` that of the review queue. */
  constructor(answer, { photo = null, key = null, name = "" } = {}) {
    Object.assign(this, { answer, said: answer, photo, key, name });
    const made = (word) => ({ ...word, read: word.text, proposed: proposedOf(word), byPerson: false });
    this.words = answer.words.map(made);
    this.done = [];
    this.undone = [];
    this.savedAt = this.saidAt = undefined;
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

  /** Fields, items and sums that the server has made of the words as they are now. */
  renew(said) {
    Object.assign(this, { said, saidAt: this.done.at(-1) });
  }

  /** Whether what is said is not of the words as they are now. */
  get stale() {
    return this.saidAt !== this.done.at(-1);
  }

  #find(label, { words, text, value, confidence }) {
    const corrected = words.some((place) => !isModels(this.words[place]));
    return { label, words, text, value: amountOf(value), confidence: corrected ? null : confidence };
  }

  /** {rows of the summary, rows of items by label, others}. */
  fields() {
    const { summary, fields, items } = this.said;
    const finds = Object.entries(fields).flatMap(([label, found]) => found.map((find) => this.#find(label, find)));
    const chosen = Object.entries(SUMMARY).map(([key, label]) => {
      const own = finds.filter((find) => find.label === label);
      const value = summary[key];
      const find = own.find((one) => one.value === value) ?? (value === null ? own[0] : null) ?? null;
      const currency = MONEY.has(key) && value ? summary.currency : null;
      return { label, value, currency, find, words: find?.words ?? [] };
    });
    const shown = new Set(chosen.map((row) => row.find));
    const shared = ({ label }) => Object.values(SUMMARY).includes(label);
    const order = Object.keys(NAMES);
    const others = finds.filter((find) => !shown.has(find) && !Object.values(ITEM).includes(find.label));
    others.sort((one, other) => shared(one) - shared(other) || order.indexOf(one.label) - order.indexOf(other.label));
    const cells = (item) => Object.entries(ITEM).map(([name, label]) => [label, item[name] && this.#find(label, item[name])]);
    const rows = items.map((item) => Object.fromEntries(cells(item)));
    return { summary: chosen, items: { columns: Object.values(ITEM).filter((label) => rows.some((row) => row[label])), rows }, others };
  }

  /** [{text, holds}] of the sums that were checked. */
  checks() {
    const textOf = (name, holds) => CHECKS[name]?.[holds ? 0 : 1];
    const said = Object.entries(this.said.checks).map(([name, holds]) => ({ text: textOf(name, holds), holds }));
    return said.filter((check) => check.holds !== null && check.text);
  }

  /** Why a person should look at it, in plain words. */
  reasons() {
    return this.said.review_reasons.map(({ code, text }) => {
      const [, label, share] = /^([A-Z_]+) is right with a probability of ([\d.]+)/.exec(text) ?? [];
      if (label) return `${nameOf(label)} is only ${percent(Number(share))} sure`;
      const [check] = Object.keys(CHECKS).filter((name) => code === "check_failed" && text.startsWith(name));
      const plain = text.replace(/\b[A-Z]+(_[A-Z]+)+\b|\b(DATE|TIME|TAX|SUBTOTAL|QUANTITY|AMOUNT)\b/g, nameOf);
      return CHECKS[check]?.[1] ?? plain.charAt(0).toUpperCase() + plain.slice(1);
    });
  }

  /** Places of the words of which only the model says what they are, the least sure first. */
  unsure() {
    const places = [...this.words.keys()].filter((place) => isModels(this.words[place]));
    return places.sort((one, other) => this.words[one].confidence - this.words[other].confidence);
  }

  /** The body of `:correct`. */
  correction(confirmed) {
    return {
      pages: this.answer.pages.map(({ page, width, height }) => ({ page, width, height })),
      words: this.words.map(({ text, read, byPerson, box, page, line, label, proposed, confidence, ocr_confidence }) => ({
        text, box, page, line, label, proposed, confidence, ocr_confidence, by_person: byPerson,
        ...(text !== read && { original_text: read }),
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

const amountOf = (value) => value?.amount ?? value;
