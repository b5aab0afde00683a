/** The receipts to review: which comes next, those fetched ahead, and saves that go on behind. */

import { make } from "./elements.js";
import { Receipt, percent } from "./receipt.js";
import * as server from "./server.js";

const AHEAD = 6;

export class Queue {
  /** Of the answer of `/v1/review`; `onOpen(key)` when a person picks one. */
  constructor({ entries }, { list, onOpen }) {
    Object.assign(this, { list, receipts: new Map(), unsaved: new Map(), done: new Set(), current: null });
    list.addEventListener("click", (event) => {
      const key = event.target.closest("button")?.dataset.key;
      if (key !== undefined) onOpen(key);
    });
    this.#list(entries);
  }

  /** Ask for the order again while the server still reads some of the receipts. */
  async refresh() {
    if (this.entries.some((entry) => entry.confidence === null)) this.#list((await server.review()).entries);
  }

  #list(entries) {
    this.entries = entries.map((entry) => (this.done.has(entry.key) ? { ...entry, state: "done" } : entry));
    this.rows = new Map(this.entries.map((entry) => [entry.key, this.#row(entry)]));
    this.list.replaceChildren(...this.rows.values());
    this.#point();
  }

  #point() {
    for (const [key, row] of this.rows) row.firstChild.ariaCurrent = key === this.current ? "true" : null;
    this.rows.get(this.current)?.scrollIntoView({ block: "nearest" });
  }

  #row({ key, name, confidence, state }) {
    const sure = confidence === null ? "" : percent(confidence);
    const parts = [make("span", {}, name), make("small", {}, sure)];
    return make("li", {}, make("button", { type: "button", dataset: { key, state } }, ...parts));
  }

  get numDone() {
    return this.entries.filter((entry) => entry.state === "done").length;
  }

  /** Keys of the open entries, those behind `key` first. */
  open(key = null) {
    const at = this.entries.findIndex((entry) => entry.key === key);
    const turned = [...this.entries.slice(at + 1), ...this.entries.slice(0, Math.max(0, at))];
    return turned.filter((entry) => entry.state !== "done").map((entry) => entry.key);
  }

  /** The receipt of an entry, with what a person changed and did not save; the next ones are fetched meanwhile. */
  async receipt(key) {
    const wanted = this.#fetched(key);
    for (const next of this.open(key).slice(0, AHEAD)) this.#fetched(next).catch(() => {});
    const receipt = await wanted;
    this.current = key;
    this.#point();
    return receipt;
  }

  #fetched(key) {
    if (!this.receipts.has(key)) {
      const { name } = this.entries.find((entry) => entry.key === key);
      const made = server.entry(key).then(({ answer, photo }) => new Receipt(answer, { photo, key, name }));
      this.receipts.set(key, made);
      made.catch(() => this.receipts.delete(key));
    }
    return this.receipts.get(key);
  }

  /** Save behind the next receipt; a receipt that fails stays in `unsaved`, changes and all. */
  async save(receipt, send) {
    const { key } = receipt;
    const work = async () => {
      await send();
      this.unsaved.delete(key);
      this.receipts.delete(key);
    };
    this.unsaved.set(key, work);
    await work();
  }

  markDone(key) {
    this.done.add(key);
    this.entries.find((entry) => entry.key === key).state = "done";
    this.rows.get(key).firstChild.dataset.state = "done";
  }
}
