/** The server's interface: each call answers, or throws a Problem whose text says what to do. */

const STORED = "receipt-trainer-token";
const AWAY = "The server does not answer. Nothing is lost: check that it still runs, then try again.";
const TOO_LARGE = 413;
const SMALLER = 2400; // pixels of the longer side

export class Problem extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

let asking = null;
let askPerson = async () => null;

/** Set how a person is asked for the token: `ask(refused)` answers it, or null. */
export function onToken(ask) {
  askPerson = ask;
}

async function call(path, options = {}, patience = 60_000) {
  for (;;) {
    const token = sessionStorage.getItem(STORED);
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(patience) });
    } catch {
      throw new Problem(0, AWAY);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await problemOf(response);
    if (sessionStorage.getItem(STORED) !== token) continue; // another call was given one meanwhile
    asking ??= askPerson(token !== null).finally(() => (asking = null));
    const given = await asking;
    if (!given) throw new Problem(401, "This server asks for a token. Reload the page to be asked again.");
    sessionStorage.setItem(STORED, given);
  }
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const text = body.detail || body.title || `The server refused this (${response.status}).`;
  return new Problem(response.status, text);
}

const json = async (...given) => (await call(...given)).json();

export const model = () => json("/v1/model");
export const review = () => json("/v1/review");

/** An entry of the queue: {answer, photo: Blob or null}. */
export async function entry(key) {
  const { photo, ...answer } = await json(`/v1/review/${encodeURIComponent(key)}`);
  const place = photo && new URL(photo, location.href);
  if (!place || place.origin !== location.origin) return { answer, photo: null };
  return { answer, photo: await call(place.pathname).then((found) => found.blob()).catch(() => null) };
}

/**
 * Read a file. One that is too large for the server is made smaller if it is a photo: {answer, smaller}. `pictures`: the
 * answer has the pages of what a browser does not show.
 */
export async function read(file, { pictures = false } = {}) {
  if (/json/.test(file.type) || /\.json$/i.test(file.name)) {
    const headers = { "Content-Type": "application/json" };
    return { answer: await json("/v1/receipts:read", { method: "POST", headers, body: file }, 180_000), smaller: null };
  }
  try {
    const drawn = pictures && !/^image\/(jpeg|png|webp)$/.test(file.type);
    return { answer: await readPart(file, drawn ? "?pictures=true" : ""), smaller: null };
  } catch (problem) {
    const smaller = problem.status === TOO_LARGE ? await shrunk(file) : null;
    if (!smaller) throw problem;
    return { answer: await readPart(smaller), smaller };
  }
}

function readPart(file, query = "") {
  const body = new FormData();
  body.append("file", file, file.name);
  return json(`/v1/receipts:read${query}`, { method: "POST", body }, 180_000);
}

async function shrunk(file) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  const scale = picture && SMALLER / Math.max(picture.width, picture.height);
  if (!picture || scale >= 1) return null;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  return blob && new File([blob], file.name.replace(/\.\w+$/, "") + ".jpg", { type: "image/jpeg" });
}

function send(id, what, correction) {
  const headers = { "Content-Type": "application/json" };
  const path = `/v1/receipts/${encodeURIComponent(id)}:${what}`;
  return json(path, { method: "POST", headers, body: JSON.stringify(correction) });
}

/** The fields, items and checks that follow from a correction. */
export const fields = (id, correction) => send(id, "fields", correction);

/** Save a correction, with the photo where it is to be kept. */
export function correct(id, correction, photo) {
  if (!photo) return send(id, "correct", correction);
  const body = new FormData();
  body.append("correction", new Blob([JSON.stringify(correction)], { type: "application/json" }));
  body.append("photo", photo, photo.name);
  return json(`/v1/receipts/${encodeURIComponent(id)}:correct`, { method: "POST", body });
}
