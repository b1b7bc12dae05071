// The tabs: one for each session, and the start page behind the plus.
import { h } from "./dom.ts";
import { icon, mark } from "./icon.ts";

export interface TabView {
  id: string;
  element: HTMLElement;
  title: string;
  stateName: string;
}

export interface TabActions {
  selected(tab: TabView | undefined): void;
  closing(tab: TabView): void;
}

export class Tabs {
  readonly bar: HTMLElement;
  readonly all: TabView[] = [];
  current: TabView | undefined;
  private list = h("div", { class: "tab-list", role: "tablist", "aria-label": "Sessions" });
  private heads = new Map<TabView, HTMLElement>();
  private add: HTMLButtonElement;

  constructor(private actions: TabActions) {
    this.add = h("button", { type: "button", class: "button icon-only new-tab", "aria-label": "New session", title: "New session", onclick: () => this.select(undefined) }, icon("plus"));
    this.bar = h("div", { class: "tabs" }, h("div", { class: "tab-mark" }, mark()), this.list, this.add);
    this.list.hidden = true;
  }

  open(tab: TabView): void {
    const head = h("div", {
      class: "tab", role: "tab", id: `${tab.id}-tab`, "aria-controls": tab.id, "aria-selected": "false", tabindex: -1,
      onclick: () => this.select(tab),
      onauxclick: (event: MouseEvent) => event.button === 1 && this.actions.closing(tab),
      onkeydown: (event: KeyboardEvent) => this.key(event, tab),
    },
      h("span", { class: "tab-dot" }), h("span", { class: "tab-title" }),
      // Keyboards and screen readers have Delete, and a button beside the tabs.
      h("span", { class: "tab-close", "aria-hidden": "true", title: "Close", onclick: (event: MouseEvent) => {
        event.stopPropagation();
        this.actions.closing(tab);
      } }, icon("close")));
    tab.element.setAttribute("aria-labelledby", head.id);
    this.heads.set(tab, head);
    this.all.push(tab);
    this.list.append(head);
    this.list.hidden = false;
    this.update(tab);
    this.select(tab);
  }

  close(tab: TabView): void {
    const index = this.all.indexOf(tab);
    if (index < 0) return;
    this.all.splice(index, 1);
    this.heads.get(tab)!.remove();
    this.heads.delete(tab);
    this.list.hidden = this.all.length === 0;
    if (this.current === tab) this.select(this.all[Math.min(index, this.all.length - 1)]);
  }

  select(tab: TabView | undefined): void {
    this.current = tab;
    for (const [other, head] of this.heads) {
      const isSelected = other === tab;
      head.setAttribute("aria-selected", String(isSelected));
      head.tabIndex = isSelected || !tab && other === this.all[0] ? 0 : -1;
      if (isSelected) head.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.add.setAttribute("aria-pressed", String(!tab));
    this.actions.selected(tab);
  }

  /** The next or the one before, around the end. */
  step(by: number): void {
    if (!this.all.length) return;
    const index = this.current ? this.all.indexOf(this.current) : -1;
    this.select(this.all[(index + by + this.all.length) % this.all.length]);
  }

  update(tab: TabView): void {
    const head = this.heads.get(tab);
    if (!head) return;
    const words: Record<string, string> = { connecting: "connecting", detached: "reconnecting", closed: "ended" };
    head.dataset.state = tab.stateName;
    head.querySelector(".tab-title")!.textContent = tab.title;
    head.title = words[tab.stateName] ? `${tab.title} (${words[tab.stateName]})` : tab.title;
    head.setAttribute("aria-label", head.title);
  }

  /** Where the focus goes when it leaves a terminal. */
  focus(): void {
    (this.current ? this.heads.get(this.current) : this.add)?.focus();
  }

  private key(event: KeyboardEvent, tab: TabView): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Delete") this.actions.closing(tab);
    else if (event.key === "Enter" || event.key === " ") this.select(tab);
    else if (step) {
      this.step(step);
      this.focus();
    } else return;
    event.preventDefault();
  }
}
