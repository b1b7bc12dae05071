// Ports of the host that are lent a public address.
import type { PortShare, ShareOptions } from "../../lib/index.ts";
import { check, field, freshId, h } from "../dom.ts";
import { icon } from "../icon.ts";
import { shareCard } from "./card.ts";

export class SharePanel {
  readonly element: HTMLElement;
  private cards = h("div", { class: "share-cards" });
  private ends = new Set<() => void>();
  private port = h("input", { type: "number", min: 1, max: 65535, required: true, placeholder: "3000", inputmode: "numeric" });
  private host = h("input", { type: "text", placeholder: "localhost", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  private name = h("input", { type: "text", pattern: "[a-z0-9\\-]{1,64}", placeholder: "any", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  private outcome = h("p", { class: "outcome", role: "status" });
  private raw = check("A raw TCP port too", { checked: true });
  private button = h("button", { type: "submit", class: "button primary" }, icon("share"), "Share");

  constructor(private share: (options: ShareOptions) => Promise<PortShare>, shares: PortShare[], hasNames: boolean, close: () => void) {
    const title = freshId("title");
    this.element = h("section", { class: "panel shares", "aria-labelledby": title },
      h("header", {}, h("h2", { id: title }, "Share a port"), h("button", { type: "button", class: "button icon-only", "aria-label": "Close the shares", title: "Close", onclick: close }, icon("close"))),
      h("form", { class: "share-form", novalidate: true, onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        void this.begin();
      } },
        h("p", { class: "hint" }, "Whatever listens on this port of the host gets a public address, for as long as this session lasts. Everybody who knows the address can reach it."),
        h("div", { class: "row" }, field("Port", this.port), this.button),
        h("details", { class: "more" }, h("summary", {}, "More"),
          field("On another host", this.host, "As the SSH host sees it."),
          hasNames ? field("Name", this.name, "The same name has the same address the next time: a–z, 0–9 and -.") : null,
          this.raw.element)),
      this.outcome, this.cards);
    for (const share of shares) this.add(share);
  }

  focus(): void {
    if (matchMedia("(pointer: fine)").matches) this.port.focus(); // a phone's keyboard would cover it
  }

  dispose(): void {
    for (const end of this.ends) end();
    this.element.remove();
  }

  private async begin(): Promise<void> {
    const port = this.port.valueAsNumber;
    if (!this.port.checkValidity()) return this.complain("Which port? A number from 1 to 65535.", this.port);
    if (!this.name.checkValidity()) return this.complain("A name has small letters, digits and - only, at most 64.", this.name);
    this.outcome.textContent = "";
    this.outcome.classList.remove("wrong");
    this.button.disabled = true;
    try {
      this.add(await this.share({ port, host: this.host.value.trim() || undefined, name: this.name.value || undefined, raw: this.raw.input.checked }));
      this.port.value = "";
    } catch (error) {
      this.complain((error as Error).message, this.port);
    } finally {
      this.button.disabled = false;
    }
  }

  private complain(message: string, input: HTMLElement): void {
    this.outcome.textContent = message;
    this.outcome.classList.add("wrong");
    input.focus();
  }

  private add(share: PortShare): void {
    const card = shareCard(share, () => {
      this.ends.delete(card.dispose);
      card.dispose();
    });
    this.ends.add(card.dispose);
    this.cards.prepend(card.element);
  }
}
