// The whole of the page's DOM making: elements with attributes, listeners and
// children. Texts are always text nodes, so nothing that came from outside is HTML.

type Child = Node | string | false | null | undefined;
type Value = string | number | boolean | null | undefined | ((event: never) => void);
type Props = Record<string, Value>;

/** Makes an element. `onclick` and the like are listeners; false and null leave an attribute out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== false && child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes an SVG element. */
export function svg(tag: string, attributes: Record<string, string | number> = {}, ...children: Node[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

let ids = 0;

/** An id that nothing else has. */
export function freshId(prefix: string): string {
  return `${prefix}-${++ids}`;
}

/** A labelled field: the label, the control, and a hint that belongs to it. */
export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id ||= freshId("field");
  const note = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/** A check box with its label beside it. */
export function check(label: string, props: Props = {}, hint?: string): { input: HTMLInputElement; element: HTMLElement } {
  const id = freshId("check");
  const input = h("input", { type: "checkbox", id, ...props });
  const note = hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return { input, element: h("div", { class: "check" }, input, h("div", {}, h("label", { for: id }, label), note)) };
}
