// One shared port: its addresses, what goes through it, and its latest requests.
import type { PortShare, ShareView } from "../../lib/index.ts";
import { copyButton } from "../copy.ts";
import { confirm } from "../dialog.ts";
import { h } from "../dom.ts";
import { formatSize } from "../files/format.ts";
import { icon } from "../icon.ts";
import { qrCode } from "./qr.ts";

/** Rows of requests on the page. */
const ROWS = 30;
/** Counts are drawn so often at most, in milliseconds: a busy port has thousands of requests a second. */
const REDRAW = 250;

const stateWords: Record<ShareView["state"], string> = { open: "Live", detached: "Reconnecting", lost: "Lost", closed: "Stopped" };

export function shareCard(share: PortShare, gone: () => void): { element: HTMLElement; dispose(): void } {
  const state = h("span", { class: "share-state" });
  const message = h("p", { class: "share-message", role: "status" });
  const link = h("a", { target: "_blank", rel: "noopener noreferrer" });
  const code = h("div", { class: "qr-frame" });
  const raw = h("code");
  const rawLine = h("div", { class: "copy-line" }, h("span", { class: "kind" }, "TCP"), raw, copyButton("the raw address", () => raw.textContent ?? ""));
  const counts = { requests: h("dd"), open: h("dd"), in: h("dd"), out: h("dd") };
  const rows = h("tbody");
  const requests = h("details", { class: "requests", open: true }, h("summary", {}, "Latest requests"),
    h("div", { class: "requests-frame", tabindex: 0, role: "region", "aria-label": "Latest requests" }, h("table", {},
      h("thead", {}, h("tr", {}, ...["Time", "Method", "Path", "Status", "ms"].map((text) => h("th", { scope: "col" }, text)))), rows)));
  const stop = h("button", { type: "button", class: "button danger-text small", onclick: async () => {
    if (share.state === "closed") return gone();
    if (await confirm("Stop sharing?", `${share.url || "The address"} leads nowhere then.`, "Stop", "danger")) await share.close().catch(() => undefined);
  } }, icon("stop"), h("span", {}, "Stop"));
  let shownURL = "", drawn = 0, timer: ReturnType<typeof setTimeout> | undefined;

  const draw = (): void => {
    timer = undefined;
    drawn = performance.now();
    const view = share.view;
    const isUnanswered = view.state === "open" && view.isUnanswered;
    state.textContent = isUnanswered ? "Nothing answers" : stateWords[view.state];
    state.className = `share-state ${isUnanswered ? "lost" : view.state}`;
    message.textContent = view.message;
    message.hidden = !view.message;
    if (view.url !== shownURL) {
      shownURL = view.url;
      link.href = /^https?:/.test(view.url) ? view.url : "#";
      link.textContent = link.title = view.url.replace(/\/$/, "");
      code.replaceChildren(...view.url ? [qrCode(view.url)] : []);
    }
    raw.textContent = raw.title = `${view.rawHost}:${view.rawPort}`;
    rawLine.hidden = !view.rawPort;
    counts.requests.textContent = String(view.counts.requests);
    counts.open.textContent = `${view.counts.open} of ${view.counts.connections}`;
    counts.in.textContent = formatSize(view.counts.bytesIn);
    counts.out.textContent = formatSize(view.counts.bytesOut);
    rows.replaceChildren(...view.requests.slice(0, ROWS).map(({ time, method, path, status, ms }) => h("tr", {},
      h("td", {}, new Date(time).toLocaleTimeString()), h("td", {}, method), h("td", { class: "request-path", title: path }, path),
      h("td", { class: `status-${Math.floor(status / 100)}` }, status ? String(status) : "…"), h("td", {}, String(Math.round(ms))))));
    if (!view.requests.length) rows.append(h("tr", {}, h("td", { colspan: 5, class: "empty" }, "None yet.")));
    const isOver = view.state === "closed";
    stop.querySelector("span")!.textContent = isOver ? "Dismiss" : "Stop";
    element.classList.toggle("over", isOver);
  };
  const element = h("article", { class: "card share", "aria-label": `Port ${share.port}` },
    h("header", {}, h("h3", {}, `${share.host === "localhost" ? "Port" : share.host} ${share.port}`), state, stop),
    message,
    h("div", { class: "share-addresses" }, code, h("div", {},
      h("div", { class: "copy-line" }, link, copyButton("the address", () => share.url)), rawLine)),
    h("dl", { class: "counts" },
      h("div", {}, h("dt", {}, "Requests"), counts.requests), h("div", {}, h("dt", {}, "Connections"), counts.open),
      h("div", {}, h("dt", {}, "In"), counts.in), h("div", {}, h("dt", {}, "Out"), counts.out)),
    requests);
  const unhear = share.on("change", () => {
    timer ??= setTimeout(draw, Math.max(0, REDRAW - (performance.now() - drawn)));
  });
  draw();
  return {
    element,
    dispose() {
      unhear();
      clearTimeout(timer);
      element.remove();
    },
  };
}
