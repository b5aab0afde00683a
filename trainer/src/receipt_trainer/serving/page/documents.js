/** A document that a model has written, as a form: a person puts its fields and rows right. */

import { make } from "./elements.js";
import { checksOf, reasonsOf, titled } from "./panel.js";
import { Receipt } from "./receipt.js";

const KINDS = {
  text: [/^/, "", "text"],
  number: [/^-?\d+(\.\d+)?$/, "a number such as 12.50", "decimal"],
  date: [/^\d{4}-\d\d-\d\d$/, "a day such as 2026-11-28", "text"],
  currency: [/^[A-Z]{3}$/, "three letters such as EUR", "text"],
};
const SUMMARY = [
  ["vendor.name", "Merchant", "text", true], ["date", "Date", "date"], ["currency", "Currency", "currency"],
  ["grand_total", "Total", "number"], ["subtotal", "Subtotal", "number"], ["tax", "Tax", "number"],
  ["tax_rate", "Tax rate in %", "number"], ["discount", "Discount", "number"],
];
const DETAILS = [
  ["vendor.address", "Address", "text", true], ["vendor.phone", "Phone", "text"], ["vendor.tax_id", "Tax number", "text"],
  ["invoice_number", "Invoice number", "text"], ["due_date", "To be paid by", "date"],
  ["client.name", "Client", "text", true], ["client.address", "Client's address", "text", true],
  ["client.tax_id", "Client's tax number", "text", true],
];
const ROW = [
  ["description", "Description", "text", true], ["quantity", "Quantity", "number"],
  ["unit_price", "Unit price", "number"], ["total", "Total", "number"],
];
const TYPES = ["receipt", "invoice"];

/** A receipt whose fields are texts of a form, a page each: {page, type, values by dotted path, rows}. */
export class WrittenReceipt extends Receipt {
  constructor(answer, given) {
    super(answer, given);
    this.pages = answer.documents.map(({ page, document }) => pageOf(page, document ?? {}));
  }

  get empty() {
    return false;
  }

  get size() {
    const { length } = this.pages.flatMap(({ rows }) => rows);
    return `${length} item${length === 1 ? "" : "s"}`;
  }

  /** Change a copy of the pages; steps of one `key` that follow each other are one, to be undone. */
  edit(key, change) {
    const last = this.done.at(-1);
    const before = key && last?.key === key && last !== this.savedAt ? this.done.pop().before : this.pages;
    this.pages = structuredClone(this.pages);
    change(this.pages);
    this.done.push({ key, before, after: this.pages });
    this.undone = [];
  }

  undo() {
    const step = this.done.pop();
    if (step) this.undone.push(step);
    this.pages = step?.before ?? this.pages;
    return [];
  }

  redo() {
    const step = this.undone.pop();
    if (step) this.done.push(step);
    this.pages = step?.after ?? this.pages;
    return [];
  }

  /** Why a person should look at it, with the fields called as in the form. */
  reasons() {
    return super.reasons().map((text) => text.replace(/^(page \d+: )?([a-z_.]+)(?:\[(\d+)\]\.([a-z_]+))?: /i, inForm));
  }

  /** Why it cannot be saved yet, in words; null if it can. */
  fault() {
    for (const { values, rows } of this.pages) {
      const parts = [[[...SUMMARY, ...DETAILS], values, ""], ...rows.map((row, at) => [ROW, row, ` of item ${at + 1}`])];
      for (const [fields, texts, of] of parts) {
        const wrong = fields.find(([path, , kind]) => !fits(texts[path], kind));
        if (wrong) return `${wrong[1]}${of} is “${texts[wrong[0]]}”: write ${KINDS[wrong[2]][1]}, or leave it empty.`;
      }
    }
    return null;
  }

  /** The body of `:correct`. */
  correction() {
    return { documents: this.pages.map((page) => ({ page: page.page, document: documentOf(page) })) };
  }
}

function inForm(whole, page, path, at, key) {
  const fields = at === undefined ? [...SUMMARY, ...DETAILS] : ROW;
  const name = fields.find(([known]) => known === (key ?? path).toLowerCase())?.[1];
  const of = at === undefined ? "" : ` of item ${Number(at) + 1}`;
  return name ? `${page ?? ""}${name}${of}: ` : whole;
}

const textOf = (value) => (["string", "number"].includes(typeof value) ? String(value).trim() : "");
const tidy = (text, kind) => (kind === "number" ? text.trim().replace(/^(-?\d+),(\d+)$/, "$1.$2") : text.trim());
const fits = (text, kind) => !tidy(text, kind) || KINDS[kind][0].test(tidy(text, kind));

function pageOf(page, document) {
  const at = (path) => path.split(".").reduce((found, key) => found?.[key], document);
  const values = Object.fromEntries([...SUMMARY, ...DETAILS].map(([path]) => [path, textOf(at(path))]));
  const items = Array.isArray(document.line_items) ? document.line_items : [];
  const rows = items.map((item) => Object.fromEntries(ROW.map(([key]) => [key, textOf(item?.[key])])));
  return { page, type: TYPES.includes(document.document_type) ? document.document_type : TYPES[0], values, rows };
}

function valueOf(text, kind) {
  const plain = tidy(text, kind).replace(/\s+/g, " ");
  return plain ? (kind === "number" ? Number(plain) : plain) : null;
}

function documentOf({ type, values, rows }) {
  const found = { document_type: type, vendor: {}, client: {} };
  for (const [path, , kind] of [...SUMMARY, ...DETAILS]) {
    const keys = path.split(".");
    const inner = keys.length > 1 ? found[keys[0]] : found;
    inner[keys.at(-1)] = valueOf(values[path], kind);
  }
  if (Object.values(found.client).every((value) => value === null)) found.client = null;
  found.line_items = rows.map((row) => Object.fromEntries(ROW.map(([key, , kind]) => [key, valueOf(row[key], kind)])));
  return found;
}

/** The form, for `root`; `onChange(redraw)` after each change, `redraw` where rows came or went. */
export function formOf(receipt, { editable, onChange }) {
  const edit = (key, change, redraw = false) => {
    receipt.edit(key, change);
    onChange(redraw);
  };
  const field = (place, at, [path, name, kind, wide]) => {
    const [, hint, mode] = KINDS[kind];
    const text = at(receipt.pages)[path];
    const input = make("input", { value: text, inputMode: mode, autocomplete: "off", spellcheck: false, title: hint });
    input.readOnly = !editable;
    const judge = () => (input.ariaInvalid = fits(input.value, kind) ? null : "true");
    input.oninput = () => {
      edit(`${place}.${path}`, (pages) => (at(pages)[path] = input.value));
      judge();
    };
    judge();
    return make("label", { className: wide ? "wide" : "" }, make("span", {}, name), input);
  };
  const sections = receipt.pages.flatMap(({ page, type, rows }, n) => {
    const of = receipt.pages.length > 1 ? ` of page ${page}` : "";
    const values = (pages) => pages[n].values;
    const form = (fields) => make("div", { className: "form" }, ...fields.map((one) => field(n, values, one)));
    const select = make("select", { disabled: !editable }, ...TYPES.map((one) => make("option", {}, one)));
    select.value = type;
    select.onchange = () => edit(null, (pages) => (pages[n].type = select.value));
    const details = form(DETAILS);
    details.prepend(make("label", { className: "wide" }, make("span", {}, "Kind"), select));
    const items = rows.map((_, at) => {
      const row = (pages) => pages[n].rows[at];
      const fields = ROW.map((one) => field(`${n}.${at}`, row, one));
      const aria = { label: `Remove item ${at + 1}${of}` };
      const remove = make("button", { type: "button", className: "quiet", hidden: !editable, aria }, "✕");
      remove.onclick = () => edit(null, (pages) => pages[n].rows.splice(at, 1), true);
      return make("div", { className: "item", role: "group", aria: { label: `Item ${at + 1}${of}` } }, ...fields, remove);
    });
    const add = make("button", { type: "button", className: "add", hidden: !editable, dataset: { page } }, `Add an item`);
    add.onclick = () => {
      edit(null, (pages) => pages[n].rows.push(Object.fromEntries(ROW.map(([key]) => [key, ""]))), true);
      document.querySelector(`.add[data-page="${page}"]`).previousElementSibling?.querySelector("input").focus();
    };
    return [
      titled(`Summary${of}`, form(SUMMARY)),
      titled(`Items${of}`, ...items, add),
      titled(`Details${of}`, details),
    ];
  });
  const note = receipt.stale ? make("p", { className: "soft" }, "As read, before your corrections.") : null;
  return [reasonsOf(receipt), ...sections, checksOf(receipt.checks(), note)].filter(Boolean);
}
