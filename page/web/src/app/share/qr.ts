// A QR code of an address, for the phone beside the screen.
import { encode } from "uqr";
import { svg } from "../dom.ts";

/** Draws it: dark on white in every theme, because cameras expect that. */
export function qrCode(text: string): SVGElement {
  const { data, size } = encode(text, { border: 2 });
  let path = "";
  data.forEach((row, y) => row.forEach((isDark, x) => {
    if (isDark) path += `M${x} ${y}h1v1h-1z`;
  }));
  return svg("svg", { class: "qr", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `QR code of ${text}`, "shape-rendering": "crispEdges" },
    svg("rect", { width: size, height: size, fill: "#fff" }), svg("path", { d: path, fill: "#000" }));
}
