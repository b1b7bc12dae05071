// What a reload ends, and how to keep it: said before it happens.
import { lifetime } from "../lib/index.ts";
import { copyButton } from "./copy.ts";
import { h } from "./dom.ts";
import { icon } from "./icon.ts";
import type { Store } from "./storage.ts";

/** Starts tmux, or goes back into the one that runs. */
const KEEPING_LINE = "tmux new -A -s web";
const KEY = "keeping-hint";

/** The line that offers tmux, until a person has sent it away for good. */
export function keepingHint(store: Store, type: (line: string) => void): HTMLElement | undefined {
  if (store.get(KEY) === "seen") return undefined;
  const element = h("div", { class: "hint-strip", role: "note" },
    h("p", {}, "Reloading or closing this page ends the shell. To keep what runs in it: ", h("code", {}, KEEPING_LINE)),
    h("button", { type: "button", class: "button small", onclick: () => {
      element.remove();
      type(KEEPING_LINE);
    } }, "Type it"),
    copyButton("the tmux line", () => KEEPING_LINE),
    h("button", { type: "button", class: "button icon-only", "aria-label": "Don’t say this again", title: "Don’t say this again", onclick: () => {
      store.set(KEY, "seen");
      element.remove();
    } }, icon("close")));
  return element;
}

/** Whether sessions end with this page, as far as it can know: others of it may be open, or not. */
export function endsWithPage(): boolean {
  const { survivesReload, needsOtherPage } = lifetime();
  return !survivesReload || needsOtherPage;
}

/** Has the browser ask before the page goes, where sessions would go with it. */
export function warnBeforeUnload(isAlive: () => boolean): void {
  window.addEventListener("beforeunload", (event) => {
    if (!isAlive() || !endsWithPage()) return;
    event.preventDefault();
    event.returnValue = ""; // older browsers ask for it
  });
}
