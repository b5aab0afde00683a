/** The page: reads a receipt or takes the next of the queue, lets a person correct it, saves. */

import { WrittenReceipt, formOf } from "./documents.js";
import { byId, make, tone } from "./elements.js";
import { fieldsOf } from "./panel.js";
import { Picture } from "./picture.js";
import { Queue } from "./queue.js";
import { NONE, Receipt, nameOf, suretyOf } from "./receipt.js";
import * as server from "./server.js";

const LABEL_KEYS = "123456789asdfgh";
const ZOOMS = [1, 1.4, 2, 3];
const KEYS = [
  ["Enter", "All is right: save, and on to the next"],
  ["← → ↑ ↓", "Go from word to word; with Shift, select several. The first goes to the least sure word"],
  ["N", "The next unsure word"],
  ["1 – 9, A S D F G H", "Give the selected words the label that bears this key"],
  ["0 or Delete", "No label"],
  ["E", "Edit the word's text; Enter keeps it, Escape does not"],
  ["Escape", "Select nothing"],
  ["Ctrl Z, Ctrl Y", "Undo, redo"],
  ["Ctrl S", "Save corrections, without saying that all the rest is right"],
];
const FORM_KEYS = [
  ["Tab", "From field to field"],
  ["Ctrl S, or Enter outside of a field", "Save"],
  ["Ctrl Z, Ctrl Y outside of a field", "Undo, redo"],
];

let model = { labels: [], corrections: false, keep_photos: false, review: false };
let beginning = null;
let receipt = null;
let queue = null;
let busy = false;
let zoom = 0;
let retry = null;
const drafts = new Set(); // receipts of the queue that were left with changes

const picture = new Picture(byId("sheets"), { onSelect: drawEditor, onHover: lightRows });

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const say = (text) => (byId("status").textContent = text);

function fail(problem, again) {
  retry = again;
  const message = byId("message");
  message.firstChild.textContent = problem.message;
  message.children[1].hidden = !again;
  message.hidden = false;
}

function clearFailure() {
  byId("message").hidden = true;
}

/** Run `work`; what goes wrong is one line, with a button that tries again. */
async function attempt(work) {
  if (!queue?.unsaved.size) clearFailure();
  try {
    return await work();
  } catch (problem) {
    if (!(problem instanceof server.Problem)) console.error(problem);
    fail(problem, () => attempt(work));
  }
}

function setState(state) {
  document.body.dataset.state = state;
  byId("start").hidden = state === "receipt";
  byId("drop").hidden = state !== "empty";
  byId("reading").hidden = state !== "reading";
  byId("picture").hidden = byId("panel").hidden = state !== "receipt";
  byId("another").hidden = state === "empty" && !queue;
}

// Reading and showing

/** What the server is comes first; asked for again only after a failure. */
function begun() {
  beginning ??= begin().catch((problem) => {
    beginning = null;
    throw problem;
  });
  return beginning;
}

async function begin() {
  model = await server.model();
  byId("model").textContent = `Model ${model.version}`;
  byId("privacy").textContent = model.keep_photos
    ? "A photo is kept on this server when you save corrections of it."
    : "Photos are read on this server and not kept.";
  if (readsPages()) {
    byId("offer").textContent = "A photo or a PDF. See what was read, put right what is wrong: it becomes training data.";
    byId("file").accept = "image/*,.heic,.tif,.tiff,application/pdf";
  }
  drawKeys(readsPages() ? FORM_KEYS : KEYS);
  if (model.review) await openQueue();
}

/** Whether the model is shown pages and writes documents, which have no words on the page. */
const readsPages = () => model.family === "paddleocr-vl";

function drawKeys(keys) {
  const shown = keys.flatMap(([key, does]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, does)]);
  byId("keys").querySelector("dl").replaceChildren(...shown);
}

async function openQueue() {
  queue = new Queue(await server.review(), { list: byId("entries"), onOpen: (key) => attempt(() => openEntry(key)) });
  byId("queue").hidden = false;
  byId("queue").firstElementChild.open = matchMedia("(min-width: 1180px)").matches;
  drawProgress();
  await openNext();
}

function drawProgress() {
  const { numDone, entries } = queue;
  byId("progress-text").textContent = `${numDone} of ${entries.length} reviewed`;
  Object.assign(byId("progress"), { value: numDone, max: Math.max(1, entries.length) });
}

async function openNext(after = null) {
  queue.refresh().catch(() => {}); // the order that is known will do
  for (const key of queue.open(after)) {
    try {
      return await openEntry(key);
    } catch (problem) {
      if (problem.status !== 404 && problem.status !== 422) throw problem;
      fail(new Error(`A receipt was passed over: ${problem.message}`), null);
    }
  }
  receipt = null;
  setState("empty");
  const { length } = queue.entries;
  if (length) say((byId("start-title").textContent = `All ${length} receipts are reviewed`));
}

async function openEntry(key) {
  show(await queue.receipt(key));
}

async function readFile(file) {
  if (!file || busy) return;
  if (receipt?.changed && !receipt.key && !confirm("Leave this receipt without saving your corrections?")) return;
  busy = true;
  const before = receipt ? "receipt" : "empty";
  setState("reading");
  byId("reading").lastElementChild.textContent = `Reading ${file.name} …`;
  say(`Reading ${file.name}`);
  await attempt(async () => {
    await begun();
    const { answer, smaller } = await server.read(file, { pictures: readsPages() });
    const photo = /json/.test(file.type) || /\.json$/i.test(file.name) ? null : (smaller ?? file);
    show(new (answer.documents ? WrittenReceipt : Receipt)(answer, { photo, name: file.name }));
    if (smaller) say("The photo was too large for the server and was made smaller.");
  }).finally(() => (busy = false));
  if (document.body.dataset.state === "reading") setState(before);
}

function show(next) {
  if (receipt?.changed && receipt.key) drafts.add(receipt);
  receipt = next;
  document.body.dataset.key = receipt.key ?? receipt.answer.id;
  setState("receipt");
  byId("file-name").textContent = receipt.name || receipt.answer.id;
  byId("saved").hidden = true;
  picture.show(receipt);
  drawEditor();
  drawFields();
  byId("fields").scrollTop = 0;
  byId("fields").focus({ preventScroll: true });
  say(`${receipt.name}: ${receipt.size}, ${counted(receipt.reasons().length, "thing")} to check.`);
}

function drawFields() {
  const onChange = (redraw) => (redraw ? drawFields() : drawActions());
  const form = receipt.pages && formOf(receipt, { editable: model.corrections, onChange });
  byId("fields").replaceChildren(...(form ?? fieldsOf(receipt)));
  drawActions();
}

function drawActions() {
  const changed = receipt.changed;
  byId("save").hidden = byId("confirm").hidden = byId("undo").hidden = !model.corrections;
  byId("save").hidden ||= Boolean(receipt.pages); // a document is saved as a whole
  byId("skip").hidden = !receipt.key;
  byId("save").disabled = !changed;
  byId("undo").disabled = !receipt.done.length;
  byId("confirm").disabled = receipt.empty || (receipt.confirmed && !changed);
  const text = changed ? (receipt.pages ? "Save corrections" : "All else is right") : receipt.confirmed ? "Confirmed" : "All is right";
  byId("confirm").firstChild.textContent = text;
  if (!model.corrections) noteSaved("Corrections are switched off on this server: start it with --corrections.", false);
  else if (changed) byId("saved").hidden = true;
}

function lightRows(place) {
  for (const row of byId("fields").querySelectorAll("[data-words]")) {
    row.classList.toggle("linked", place !== null && row.dataset.words.split(" ").includes(String(place)));
  }
}

// Correcting

function drawEditor() {
  const places = [...picture.selected];
  byId("editor").hidden = !places.length || !model.corrections;
  if (!places.length) return;
  const words = places.map((place) => receipt.words[place]);
  const [word] = words;
  byId("text-label").textContent = words.length > 1 ? `${words.length} words` : `Text · ${suretyOf(word)}`;
  byId("text").value = words.map(({ text }) => text).join(" ");
  byId("text").readOnly = words.length > 1;
  byId("labels").replaceChildren(...labelButtons(new Set(words.map(({ label }) => label))));
  picture.reveal();
}

function labels() {
  const used = receipt.words.flatMap(({ label, proposed }) => [label, proposed]);
  return [...new Set([...model.labels, ...used])].filter((label) => label !== NONE);
}

function labelButtons(current) {
  return [...labels(), NONE].map((label, number) => {
    const key = label === NONE ? "0" : (LABEL_KEYS[number] ?? "").toUpperCase();
    const dot = tone(make("i", { className: "dot" }), label);
    const name = make("span", { textContent: nameOf(label) });
    const hint = make("kbd", { textContent: key, aria: { hidden: true } });
    const pressed = current.size === 1 && current.has(label);
    return make("button", { type: "button", dataset: { label }, aria: { pressed } }, dot, name, hint);
  });
}

function giveLabel(label) {
  const places = [...picture.selected];
  if (!places.length || !model.corrections) return;
  changed(receipt.edit(places, { label }));
  const [word] = places.map((place) => receipt.words[place]);
  say(`${places.length > 1 ? counted(places.length, "word") : word.text}: ${nameOf(label)}`);
  picture.select(places, { active: picture.active });
}

function giveText() {
  const [place, ...others] = picture.selected;
  const text = byId("text").value.trim().replace(/\s+/g, " ");
  if (others.length || place === undefined || text === receipt.words[place].text) return;
  if (!text) {
    drawEditor();
    return void fail(new Error("A word cannot be empty: give it “No label” instead."), null);
  }
  changed(receipt.edit([place], { text }));
}

function changed(places) {
  picture.update(places);
  drawEditor();
  if (receipt.pages) return drawFields();
  drawActions();
  renew(receipt, receipt.done.at(-1));
}

/** Ask what the words say now; without an answer, what they said before stays, with a note. */
async function renew(one, step) {
  const said = await server.fields(one.answer.id, one.correction(false)).catch(() => null);
  if (step !== one.done.at(-1)) return; // it was changed again meanwhile
  if (said) one.renew(said);
  if (one !== receipt) return;
  const { words } = document.activeElement.dataset;
  drawFields();
  if (words && document.activeElement === document.body) byId("fields").querySelector(`[data-words="${words}"]`)?.focus();
}

// Saving

function save(whole) {
  if (!receipt || receipt.empty || busy || !model.corrections) return;
  const confirmed = whole || Boolean(receipt.pages);
  giveText();
  const fault = receipt.pages ? receipt.fault() : null;
  if (fault) {
    byId("fields").querySelector("[aria-invalid]")?.focus();
    return void fail(new Error(fault), null);
  }
  if (!receipt.changed && (!confirmed || receipt.confirmed)) return;
  const one = receipt;
  if (one.key) return void saveOfQueue(one, confirmed);
  busy = true;
  attempt(async () => {
    say("Saving");
    const step = one.done.at(-1);
    const saved = await server.correct(one.answer.id, one.correction(confirmed), model.keep_photos ? one.photo : null);
    one.markSaved(step, confirmed);
    if (one === receipt) drawFields();
    noteSaved(savedText(saved));
  }).finally(() => (busy = false));
}

function savedText({ saved_to, num_words, num_labels, num_pages, confirmed }) {
  if (num_pages) return `Saved to the corrections file: ${counted(num_pages, "page")} with what it says.`;
  const where = saved_to === "table" ? "the receipts table" : "the corrections file";
  return confirmed
    ? `Saved to ${where}: all ${num_words} words confirmed, ${num_labels} with a label.`
    : `Saved to ${where}: ${counted(receipt.numTouched, "word")} that you corrected.`;
}

function noteSaved(text, good = true) {
  Object.assign(byId("saved"), { textContent: text, hidden: false, className: good ? "good" : "soft" });
  say(text);
}

/** The next receipt is shown at once; what could not be saved is kept, to be tried again. */
function saveOfQueue(one, confirmed) {
  const correction = one.correction(confirmed);
  queue.save(one, () => server.correct(one.answer.id, correction, null)).catch((problem) => {
    const number = queue.unsaved.size;
    const which = number > 1 ? `${number} receipts are` : `${one.name} is`;
    fail(new Error(`${which} not saved yet. ${problem.message}`), sendUnsaved);
  });
  one.markSaved(one.done.at(-1), confirmed);
  queue.markDone(one.key);
  drawProgress();
  attempt(() => openNext(one.key));
}

function sendUnsaved() {
  return attempt(async () => {
    for (const send of [...queue.unsaved.values()]) await send();
    clearFailure();
    say("All is saved now.");
  });
}

// Events

byId("choose").onclick = byId("another").onclick = () => byId("file").click();
byId("take").onclick = () => byId("camera").click();
for (const input of [byId("file"), byId("camera")]) {
  input.onchange = () => {
    readFile(input.files[0]);
    input.value = "";
  };
}
byId("message").children[1].onclick = () => retry?.();
byId("close-message").onclick = clearFailure;
byId("undo").onclick = () => changed(receipt.undo());
byId("skip").onclick = () => attempt(() => openNext(receipt.key));
byId("save").onclick = () => save(false);
byId("confirm").onclick = () => save(true);
byId("deselect").onclick = () => picture.select([]);
byId("smaller").onclick = () => setZoom(zoom - 1);
byId("larger").onclick = () => setZoom(zoom + 1);
byId("show-keys").onclick = () => byId("keys").showModal();
byId("labels").onclick = (event) => {
  const label = event.target.closest("button")?.dataset.label;
  if (label) giveLabel(label);
};
byId("text").onchange = giveText;
byId("text").oninput = () => (byId("save").disabled = false);
const wordsOf = (event) => event.target.closest("[data-words]")?.dataset.words.split(" ").map(Number) ?? [];
byId("fields").onclick = (event) => {
  const places = wordsOf(event);
  if (places.length) picture.select(places);
};
byId("fields").onpointerover = (event) => picture.link(wordsOf(event));
byId("fields").addEventListener("focusin", (event) => picture.link(wordsOf(event)));
byId("fields").onpointerleave = () => picture.link([]);

function setZoom(next) {
  zoom = Math.min(ZOOMS.length - 1, Math.max(0, next));
  byId("sheets").style.setProperty("--zoom", ZOOMS[zoom]);
  byId("smaller").disabled = zoom === 0;
  byId("larger").disabled = zoom === ZOOMS.length - 1;
  picture.reveal();
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? byId("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  readFile(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => event.clipboardData.files.length && readFile(event.clipboardData.files[0]));
addEventListener("beforeunload", (event) => {
  if ([receipt, ...drafts].some((one) => one?.changed) || queue?.unsaved.size) event.preventDefault();
});
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || !receipt || byId("panel").hidden || event.altKey || !event.key) return;
  const command = event.ctrlKey || event.metaKey;
  const typing = event.target.matches("input, select");
  if (event.target === byId("text") && !command) return void editKey(event);
  if (typing && !(command && event.key.toLowerCase() === "s")) return;
  if (onKey(event.key.length === 1 ? event.key.toLowerCase() : event.key, command, event)) event.preventDefault();
});

function editKey(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  if (event.key === "Escape") drawEditor();
  else giveText();
  picture.words[picture.active].focus({ preventScroll: true });
}

/** Whether the key was ours. */
function onKey(key, command, { shiftKey, target }) {
  if (command) {
    if (key === "s") save(false);
    else if (key === "z" && model.corrections) changed(shiftKey ? receipt.redo() : receipt.undo());
    else if (key === "y" && model.corrections) changed(receipt.redo());
    else return false;
    return true;
  }
  if (receipt.pages && key !== "Enter") return false;
  if (/^(Arrow|Home|End)/.test(key)) picture.move(key, shiftKey);
  else if (key === "Escape") picture.select([]);
  else if (key === "Enter" && !target.closest("button, summary, a")) save(true);
  else if (key === " " && target.matches(".word")) picture.select([picture.active]);
  else if (key === "n") nextUnsure();
  else if (key === "e" && picture.selected.size === 1 && model.corrections) byId("text").select();
  else if (key === "0" || key === "Delete" || key === "Backspace") giveLabel(NONE);
  else if (key.length === 1 && labels()[LABEL_KEYS.indexOf(key)]) giveLabel(labels()[LABEL_KEYS.indexOf(key)]);
  else return false;
  return true;
}

function nextUnsure() {
  const places = receipt.unsure();
  const place = picture.selected.size ? (places[places.indexOf(picture.active) + 1] ?? places[0]) : places[0];
  if (place !== undefined) picture.select([place]);
}

server.onToken(
  (refused) =>
    new Promise((done) => {
      const dialog = byId("token");
      byId("refused").hidden = !refused;
      byId("token-text").value = "";
      dialog.onclose = () => done(dialog.returnValue === "given" ? byId("token-text").value.trim() : null);
      dialog.returnValue = "";
      dialog.showModal();
    }),
);
setZoom(0);
attempt(begun);
