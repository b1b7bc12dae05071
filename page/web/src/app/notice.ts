// Short notices at the edge, read aloud by screen readers, gone by themselves.
import { h } from "./dom.ts";

const STAYS = 4000;

let region: HTMLElement | undefined;

/** Says something that needs no answer. */
export function say(text: string): void {
  if (!region) {
    region = h("div", { class: "notices", role: "status", "aria-live": "polite" });
    document.body.append(region);
  }
  const notice = h("p", { class: "notice" }, text);
  region.append(notice);
  setTimeout(() => notice.remove(), STAYS);
}
