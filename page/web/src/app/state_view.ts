// What is said over a terminal: connecting, reconnecting with its seconds, and
// the end with its reason and the way on.
import { h } from "./dom.ts";
import { endWords } from "./endings.ts";
import { icon, type IconName } from "./icon.ts";

export interface StateActions {
  again(): void;
  close(): void;
  /** Gives connecting or waiting up. */
  stop(): void;
  /** Back to the form. */
  edit?: () => void;
}

export class StateView {
  readonly element = h("div", { class: "state", hidden: true });
  private timer: ReturnType<typeof setInterval> | undefined;
  private detail = h("p", { class: "detail" });
  private main: HTMLElement | undefined;

  constructor(private actions: StateActions) {}

  /** Whether it wants the focus: there is nothing to type into. */
  get isBlocking(): boolean {
    return this.main !== undefined && !this.element.hidden;
  }

  focus(): void {
    this.main?.focus();
  }

  connecting(host: string): void {
    this.main = h("button", { type: "button", class: "button", onclick: this.actions.stop }, "Cancel");
    this.detail.textContent = "";
    this.show("card connecting", h("div", { class: "spinner", "aria-hidden": "true" }), h("div", { role: "status" }, h("h2", {}, `Connecting to ${host}`), this.detail), this.main);
  }

  step(step: string, host: string): void {
    this.detail.textContent = step && `${step} · ${host}`;
  }

  connected(): void {
    clearInterval(this.timer);
    this.main = undefined;
    this.element.hidden = true;
  }

  /** The network is gone. The seconds are for eyes; a screen reader hears of it once. */
  detached(away: () => number): void {
    const seconds = h("span", { class: "seconds", "aria-hidden": "true" });
    const count = (): void => {
      seconds.textContent = ` ${Math.floor(away() / 1000)} s`;
    };
    this.main = undefined;
    this.show("strip", h("div", { class: "spinner", "aria-hidden": "true" }),
      h("p", {}, h("span", { role: "status" }, h("strong", {}, "Reconnecting"), ), seconds, h("span", { class: "calm" }, " The session waits, and goes on where it was.")),
      h("button", { type: "button", class: "button small", onclick: this.actions.stop }, "Give up"));
    count();
    this.timer = setInterval(count, 500);
  }

  ended(reason: string, message: string): void {
    const { title, advice, isCalm } = endWords(reason);
    const name: IconName = isCalm ? "check" : "warning";
    this.main = h("button", { type: "button", class: "button primary", onclick: this.actions.again }, icon("refresh"), "Connect again");
    const { edit } = this.actions;
    this.show(`card end${isCalm ? "" : " alarming"}`, h("span", { class: "dialog-icon" }, icon(name)),
      h("div", { role: isCalm ? "status" : "alert" }, h("h2", {}, title), h("p", {}, message), advice ? h("p", { class: "advice" }, advice) : null),
      h("div", { class: "row" }, this.main,
        edit && !isCalm ? h("button", { type: "button", class: "button", onclick: edit }, "Change") : null,
        h("button", { type: "button", class: "button", onclick: this.actions.close }, "Close the tab")));
    if (this.element.contains(document.activeElement) || this.element.parentElement?.contains(document.activeElement) || document.activeElement === document.body) this.main.focus();
  }

  dispose(): void {
    clearInterval(this.timer);
  }

  private show(kind: string, ...children: Node[]): void {
    clearInterval(this.timer);
    this.element.className = `state ${kind}`;
    this.element.replaceChildren(...children);
    this.element.hidden = false;
  }
}
