/** Elements made in code: texts of a receipt are hostile and become text nodes only. */

export const byId = (id) => document.getElementById(id);

/** An element with properties (`dataset` and `aria` as objects) and children: elements, texts, or null for none. */
export function make(tag, { dataset, aria, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const TONES = {
  MERCHANT_NAME: "#7a5af5",
  PHONE_NUMBER: "#2a86d1",
  ADDRESS_LINE: "#0d8f7e",
  DATE: "#2f8a3b",
  TIME: "#6c8f1a",
  PRODUCT_NAME: "#3b6fe0",
  QUANTITY: "#8f7a10",
  UNIT_PRICE: "#a8662a",
  LINE_TOTAL: "#b97a00",
  SUBTOTAL: "#b8489c",
  TAX: "#8e4fc0",
  GRAND_TOTAL: "#e0561b",
};

/** Give an element the colour of a label. */
export function tone(element, label) {
  element.style.setProperty("--tone", TONES[label] ?? "#6b7885");
  return element;
}
