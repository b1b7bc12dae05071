// Line icons on a grid of 20, drawn with the text's colour.
import { svg } from "./dom.ts";

const paths = {
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4",
  files: "M3 15.5v-11h5l2 2.5h7v8.5z",
  file: "M5 2.5h6l4 4v11H5zM11 2.5v4h4",
  link: "M8 6H6a4 4 0 0 0 0 8h2M12 6h2a4 4 0 0 1 0 8h-2M7 10h6",
  share: "M10 12.5V3M6.5 6L10 2.5 13.5 6M4 10v7h12v-7",
  settings: "M3 6h6.5M13.5 6H17M3 14h3.5M10.5 14H17M13.5 6a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM10.5 14a2 2 0 1 1-4 0 2 2 0 0 1 4 0z",
  power: "M10 3v7M6.2 5.7a6 6 0 1 0 7.6 0",
  up: "M10 16V4M5 9l5-5 5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  left: "M16 10H4M9 5l-5 5 5 5",
  right: "M4 10h12M11 5l5 5-5 5",
  refresh: "M16 10a6 6 0 1 1-2-4.5M16 3v3.5h-3.5",
  upload: "M10 13V3M6 7l4-4 4 4M3 13v4h14v-4",
  download: "M10 3v10M6 9l4 4 4-4M3 13v4h14v-4",
  folder: "M3 15.5v-11h5l2 2.5h7v8.5zM10 9.5v4M8 11.5h4",
  rename: "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
  trash: "M4 5.5h12M8 5.5V3h4v2.5M5.5 5.5l1 11.5h7l1-11.5",
  copy: "M7 7h9v10H7zM4 13V3h9v1",
  check: "M4 10.5l4 4 8-9",
  key: "M7 13a4 4 0 1 1 3.5-6H17v3h-2v2h-3v-2h-1.5A4 4 0 0 1 7 13zM6.5 9h.5",
  shield: "M10 2.5l6 2v5c0 4-2.5 6.5-6 8-3.5-1.5-6-4-6-8v-5z",
  warning: "M10 3l7.5 13.5h-15zM10 8v4M10 14v.5",
  stop: "M5 5h10v10H5z",
  keyboard: "M2.5 5h15v10h-15zM5.5 8h.5M8.5 8h.5M11.5 8h.5M14.5 8h.5M6 12h8",
} as const;

export type IconName = keyof typeof paths;

/** An icon that says nothing to a screen reader: what it stands on has a label. */
export function icon(name: IconName): SVGElement {
  return svg("svg", { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" }, svg("path", { d: paths[name] }));
}

/** The mark of the page: a prompt in a ring of two halves, the two sides that it joins. */
export function mark(): SVGElement {
  return svg("svg", { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    svg("rect", { x: 1, y: 1, width: 30, height: 30, rx: 8, class: "mark-ground" }),
    svg("path", { d: "M9 11l5 5-5 5M16.5 21.5h6.5", class: "mark-line" }));
}
