// Short notices at the edge, read aloud by screen readers, gone by themselves.
import { h } from "./dom.ts";

const STAYS = 4000;
/** Notices at once: the oldest makes room. */
const MOST = 3;

let region: HTMLElement | undefined;

/** Says something that needs no answer. */
export function say(text: string): void {
  if (!region) {
    region = h("div", { class: "notices", role: "status", "aria-live": "polite" });
  }
  // What lies beside an open dialog is dimmed, and no screen reader reads it.
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (region.parentElement !== place) place.append(region);
  for (const old of [...region.children]) if (old.textContent === text) old.remove();
  while (region.children.length >= MOST) region.firstElementChild!.remove();
  const notice = h("p", { class: "notice" }, text);
  region.append(notice);
  setTimeout(() => notice.remove(), STAYS);
}
