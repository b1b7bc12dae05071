// xterm.js writes its sizes and colours into style elements, and colours of
// single cells into style attributes. The page's Content-Security-Policy allows
// neither, because an inline style is what an injected one would be. The same
// rules as constructed style sheets, and set property by property, are allowed.

/** Puts the two ways of xterm.js on ones that a strict policy allows. To be called before a terminal is opened. */
export function allowTerminalStyles(): void {
  if (Object.hasOwn(document, "createElement")) return;
  const create = document.createElement;
  document.createElement = function (this: Document, name: string, options?: ElementCreationOptions): HTMLElement {
    if (name === "style") return constructed(create.call(this, "template"));
    const element = create.call(this, name, options);
    if (name === "span") Object.defineProperty(element, "setAttribute", { value: setAttribute });
    return element;
  } as typeof document.createElement;
}

// An element that shows nothing and stands for a sheet: what is written into it goes there.
// A style element would be reported even if it stays empty.
function constructed(element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (value: string) => sheet.replaceSync(text = value),
  });
  Object.defineProperty(element, "remove", {
    value: () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      Element.prototype.remove.call(element);
    },
  });
  return element;
}

function setAttribute(this: HTMLElement, name: string, value: string): void {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}
