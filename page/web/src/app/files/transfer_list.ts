// The transfers on the page.
import { h } from "../dom.ts";
import { icon } from "../icon.ts";
import { formatDuration, formatSize } from "./format.ts";
import type { Transfer, Transfers } from "./transfers.ts";

interface Row {
  element: HTMLElement;
  update(): void;
}

export class TransferList {
  readonly element: HTMLElement;
  private rows = new Map<Transfer, Row>();
  private list = h("ul", { class: "transfer-list" });
  private frame = 0;
  private stale = new Set<Transfer>();

  constructor(private transfers: Transfers) {
    this.element = h("section", { class: "transfers", "aria-label": "Transfers", hidden: true },
      h("header", {}, h("h3", {}, "Transfers"), h("button", { type: "button", class: "button small", onclick: () => transfers.clear() }, "Clear done")), this.list);
  }

  /** Draws one, or all; at most once a frame. */
  update(transfer: Transfer | undefined): void {
    if (transfer) this.stale.add(transfer);
    else for (const other of this.transfers.all) this.stale.add(other);
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { all } = this.transfers;
    for (const [transfer, row] of this.rows) {
      if (all.includes(transfer)) continue;
      row.element.remove();
      this.rows.delete(transfer);
    }
    for (const transfer of all) {
      if (this.rows.has(transfer)) continue;
      const row = rowOf(transfer, this.transfers);
      this.rows.set(transfer, row);
      this.list.prepend(row.element);
    }
    for (const transfer of this.stale) this.rows.get(transfer)?.update();
    this.stale.clear();
    this.element.hidden = all.length === 0;
  }
}

function rowOf(transfer: Transfer, transfers: Transfers): Row {
  const { kind, name } = transfer;
  const bar = h("progress", { max: 1, "aria-label": `${kind === "upload" ? "Upload" : "Download"} of ${name}` });
  const status = h("p", { class: "transfer-status" });
  const button = (label: string, what: "close" | "refresh" | "stop", pressed: () => void): HTMLButtonElement =>
    h("button", { type: "button", class: "button icon-only", "aria-label": `${label} ${name}`, title: label, onclick: pressed }, icon(what));
  const cancel = button("Cancel", "stop", () => transfers.cancel(transfer));
  const resume = button("Go on with", "refresh", () => transfers.resume(transfer));
  const dismiss = button("Dismiss", "close", () => transfers.dismiss(transfer));
  const element = h("li", { class: "transfer" }, icon(kind),
    h("div", { class: "transfer-main" }, h("p", { class: "transfer-name" }, name), bar, status), resume, cancel, dismiss);
  let announced = "";
  return {
    element,
    update() {
      const { state, done, total, rate, left, error } = transfer;
      element.className = `transfer ${state}`;
      if (Number.isFinite(total)) bar.value = total ? done / total : state === "done" ? 1 : 0;
      else bar.removeAttribute("value");
      const amount = Number.isFinite(total) ? `${formatSize(done)} of ${formatSize(total)}` : formatSize(done);
      status.textContent = {
        waiting: "Waits for the others",
        running: [amount, rate ? `${formatSize(Math.round(rate))}/s` : "", Number.isFinite(left) ? `${formatDuration(left)} left` : ""].filter(Boolean).join(" · "),
        done: `Done · ${formatSize(Number.isFinite(total) ? total : done)}`,
        failed: error,
        cancelled: `Cancelled at ${amount}`,
      }[state];
      bar.hidden = state === "done";
      cancel.hidden = transfer.isOver;
      resume.hidden = state !== "failed" && state !== "cancelled";
      dismiss.hidden = !transfer.isOver;
      if (state === "failed" && announced !== error) status.setAttribute("role", "alert");
      announced = error;
    },
  };
}
