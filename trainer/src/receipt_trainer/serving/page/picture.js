/** The receipt: its photo, or its words drawn, and above it the words, which are selected by mouse, touch and keys. */

import { make, tone } from "./elements.js";
import { NONE, isUnsure, nameOf, suretyOf } from "./receipt.js";

const DRAG = 5; // pixels a pointer moves before it drags
const HOLD_MS = 300; // a finger rests that long before it drags over words; else it scrolls

export class Picture {
  /** Into `root`; `onSelect()` after each change of the selection, `onHover(place or null)`. */
  constructor(root, { onSelect, onHover }) {
    Object.assign(this, { root, onSelect, onHover, receipt: null, words: [], selected: new Set(), active: 0 });
    root.addEventListener("pointerdown", (event) => this.#press(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    root.addEventListener("pointerup", (event) => this.#release(event));
    root.addEventListener("pointercancel", () => this.#end());
    root.addEventListener("pointerover", (event) => onHover(placeOf(event.target)));
    root.addEventListener("pointerleave", () => onHover(null));
    root.addEventListener("touchmove", (event) => this.press?.dragged && event.preventDefault(), { passive: false });
    root.addEventListener("contextmenu", (event) => this.press?.touch && event.preventDefault());
    root.addEventListener("click", (event) => this.#assistedClick(event));
    root.addEventListener("focusin", (event) => this.#focused(placeOf(event.target)));
  }

  /** Show a receipt; its photo where it has one of one page that the browser can draw. */
  show(receipt) {
    if (this.url) URL.revokeObjectURL(this.url);
    Object.assign(this, { receipt, url: null, active: 0, anchor: 0 });
    this.selected.clear();
    const { pages } = receipt.answer;
    this.words = receipt.words.map((word, place) => this.#word(word, place));
    const shown = pages.map((page) => this.#page(page, pages.length));
    this.root.replaceChildren(...shown);
    if (receipt.photo && pages.length === 1) this.url = URL.createObjectURL(receipt.photo);
    pages.forEach((page, n) => (page.picture || this.url) && this.#photo(shown[n], page.picture ?? this.url, page));
    this.update(this.words.keys());
    this.words[0]?.setAttribute("tabindex", "0");
    if (this.words.length) this.root.removeAttribute("tabindex");
    else this.root.tabIndex = 0; // to scroll it by keys
    this.root.scrollTop = 0;
  }

  #page({ page, width, height }, count) {
    const places = [...this.words.keys()].filter((place) => this.receipt.words[place].page === page);
    const label = count > 1 ? `Words of page ${page}` : "Words of the receipt";
    const list = make("div", { className: "words", role: "listbox", aria: { label, multiselectable: true } });
    list.append(...places.map((place) => this.words[place]));
    const none = make("p", { className: "unseen" }, "Here is no picture of this page: open the file beside.");
    const element = make("div", { className: "sheet drawn", dataset: { page } }, places.length ? list : none);
    element.style.aspectRatio = `${width} / ${height}`;
    element.style.setProperty("--ratio", height / width);
    return element;
  }

  #photo(sheet, src, { rotated }) {
    const image = make("img", { src, alt: "", draggable: false, className: `turned-${rotated}` });
    sheet.classList.remove("drawn");
    image.addEventListener("error", () => {
      image.remove();
      sheet.classList.add("drawn");
    });
    sheet.prepend(image);
  }

  #word({ box, page, text }, place) {
    const { width, height } = this.receipt.answer.pages.find((one) => one.page === page);
    const [x0, y0, x1, y1] = box;
    const size = Math.min((y1 - y0) * 0.82, (x1 - x0) / Math.max(1, [...text].length) / 0.56);
    const element = make("div", { className: "word", role: "option", tabIndex: -1, dataset: { place } }, make("span"));
    element.style.left = `${(100 * x0) / width}%`;
    element.style.top = `${(100 * y0) / height}%`;
    element.style.width = `${(100 * (x1 - x0)) / width}%`;
    element.style.height = `${(100 * (y1 - y0)) / height}%`;
    element.style.setProperty("--size", `${(100 * size) / width}cqw`);
    return element;
  }

  /** Draw words again after a change. */
  update(places) {
    for (const place of places) {
      const word = this.receipt.words[place];
      const element = this.words[place];
      const name = word.label === NONE ? "no label" : `label ${nameOf(word.label)}`;
      const mark = word.byPerson ? "✓" : `· ${suretyOf(word).replace(" sure", "")}`;
      tone(element, word.label).firstChild.textContent = word.text;
      element.setAttribute("aria-label", `${word.text}, ${name}, ${suretyOf(word)}`);
      element.dataset.name = `${nameOf(word.label)} ${mark}`;
      element.classList.toggle("labelled", word.label !== NONE);
      element.classList.toggle("unsure", isUnsure(word));
      element.classList.toggle("touched", word.byPerson);
      element.setAttribute("aria-selected", this.selected.has(place));
    }
  }

  /** Select words by their places; `focus` moves the keyboard to the first. */
  select(places, { focus = true, active = places[0] } = {}) {
    this.selected = new Set(places);
    this.words.forEach((element, place) => element.setAttribute("aria-selected", this.selected.has(place)));
    if (active !== undefined) this.#activate(active, focus);
    if (places.length < 2) this.anchor = active ?? 0;
    this.onSelect();
  }

  #activate(place, focus) {
    this.words[this.active]?.setAttribute("tabindex", "-1");
    this.active = place;
    this.words[place].setAttribute("tabindex", "0");
    if (focus) this.words[place].focus({ preventScroll: true });
    this.reveal();
  }

  /** Scroll to the active word. */
  reveal() {
    this.words[this.active]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Light up words that a field is made of. */
  link(places) {
    const linked = new Set(places);
    this.words.forEach((element, place) => element.classList.toggle("linked", linked.has(place)));
  }

  /** Move by an arrow key; `extend` keeps the words between. The first arrow goes to the least sure word. */
  move(key, extend) {
    const { words } = this.receipt;
    if (!words.length) return;
    if (!this.selected.size) {
      const focused = document.activeElement === this.words[this.active];
      return void this.select([focused ? this.active : (this.receipt.unsure()[0] ?? this.active)]);
    }
    const along = { ArrowLeft: this.active - 1, ArrowRight: this.active + 1, Home: 0, End: words.length - 1 };
    const to = along[key] ?? this.#across(key);
    if (to === undefined || !words[to]) return;
    const [first, last] = [Math.min(this.anchor, to), Math.max(this.anchor, to)];
    const between = Array.from({ length: last - first + 1 }, (_, step) => first + step);
    if (extend) this.select(between, { active: to });
    else this.select([to]);
  }

  #across(key) {
    const { words } = this.receipt;
    const centre = ({ box }) => (box[0] + box[2]) / 2;
    const here = words[this.active];
    const side = key === "ArrowDown" ? 1 : -1;
    const beyond = [...words.keys()].filter((place) => (words[place].line - here.line) * side > 0);
    const line = words[side > 0 ? beyond[0] : beyond.at(-1)]?.line;
    const off = (place) => Math.abs(centre(words[place]) - centre(here));
    return beyond.filter((place) => words[place].line === line).sort((one, other) => off(one) - off(other))[0];
  }

  #focused(place) {
    if (place !== null && place !== this.active) this.#activate(place, false);
  }

  #press(event) {
    const sheet = event.target.closest(".sheet");
    if (event.button !== 0 || !sheet || !this.receipt) return;
    const touch = event.pointerType === "touch";
    this.press = { sheet, touch, place: placeOf(event.target), from: event, dragged: false, ready: !touch, mark: null };
    if (touch) this.press.timer = setTimeout(() => this.#begin(), HOLD_MS);
    else sheet.setPointerCapture(event.pointerId);
  }

  #begin() {
    const press = this.press;
    press.dragged = press.ready = true;
    press.mark = make("div", { className: "marquee" });
    press.sheet.append(press.mark);
    this.#mark(press.from);
  }

  #move(event) {
    const press = this.press;
    if (!press) return;
    const far = Math.hypot(event.clientX - press.from.clientX, event.clientY - press.from.clientY) > DRAG;
    if (far && !press.ready) return this.#end(); // a finger that scrolls
    if (far && !press.dragged) this.#begin();
    if (press.dragged) this.#mark(event);
  }

  #mark(event) {
    const { sheet, mark, from } = this.press;
    const frame = sheet.getBoundingClientRect();
    const at = ({ clientX, clientY }) => [(clientX - frame.left) / frame.width, (clientY - frame.top) / frame.height];
    const [[ax, ay], [bx, by]] = [at(from), at(event)];
    const [x0, y0, x1, y1] = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    Object.assign(mark.style, { left: `${100 * x0}%`, top: `${100 * y0}%` });
    Object.assign(mark.style, { width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
    const { page, width, height } = this.receipt.answer.pages.find((one) => String(one.page) === sheet.dataset.page);
    this.press.hit = [...this.words.keys()].filter((place) => {
      const word = this.receipt.words[place];
      const [left, top, right, bottom] = word.box;
      return word.page === page && left < x1 * width && right > x0 * width && top < y1 * height && bottom > y0 * height;
    });
    this.link(this.press.hit);
  }

  #release(event) {
    const press = this.press;
    if (!press) return;
    this.#end();
    if (press.dragged) return void this.select(press.hit);
    if (press.place === null) return void this.select([]);
    const more = event.shiftKey || event.ctrlKey || event.metaKey;
    const others = more ? [...this.selected].filter((place) => place !== press.place) : [];
    const places = more && this.selected.has(press.place) ? others : [...others, press.place];
    this.select(places.sort((one, other) => one - other), { active: press.place });
  }

  #end() {
    clearTimeout(this.press?.timer);
    this.press?.mark?.remove();
    this.press = null;
    this.link([]);
  }

  /** A click without a pointer: by a screen reader. */
  #assistedClick(event) {
    const place = placeOf(event.target);
    if (place !== null && event.detail === 0) this.select([place]);
  }
}

function placeOf(target) {
  const place = target?.closest?.(".word")?.dataset.place;
  return place === undefined ? null : Number(place);
}
