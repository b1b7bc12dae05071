// Copying, in pages that have the clipboard and in those that came over plain HTTP.
import { h } from "./dom.ts";
import { icon } from "./icon.ts";
import { say } from "./notice.ts";

/** Puts a text into the clipboard. Rejects if the browser lets nobody. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) {
    try {
      return await navigator.clipboard.writeText(text);
    } catch {
      // A frame without permission: the old way may be allowed.
    }
  }
  const before = document.activeElement;
  const area = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  if (!done) throw new Error("The browser does not let this page write the clipboard.");
}

/** A button that copies a text and says so. */
export function copyButton(what: string, text: () => string): HTMLButtonElement {
  const button = h("button", {
    type: "button", class: "button icon-only", "aria-label": `Copy ${what}`, title: `Copy ${what}`,
    onclick: async () => {
      try {
        await copyText(text());
        button.replaceChildren(icon("check"));
        say(`Copied ${what}.`);
        setTimeout(() => button.replaceChildren(icon("copy")), 1500);
      } catch (error) {
        say(String((error as Error).message));
      }
    },
  }, icon("copy"));
  return button;
}
