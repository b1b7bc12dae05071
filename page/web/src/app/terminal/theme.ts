// The terminal's colours: sixteen that can be told apart on their ground.
import type { ITheme } from "@xterm/xterm";

export const dark: ITheme = {
  background: "#11171a", foreground: "#d9e0e0", cursor: "#4fd1b8", cursorAccent: "#11171a",
  selectionBackground: "#2b5752", selectionInactiveBackground: "#2b5752",
  scrollbarSliderBackground: "#ffffff2b", scrollbarSliderHoverBackground: "#ffffff47", scrollbarSliderActiveBackground: "#ffffff5c",
  black: "#2a3338", red: "#f2777a", green: "#8fd18a", yellow: "#e9c46a", blue: "#7cb3f5", magenta: "#cfa0e9", cyan: "#5fd3d0", white: "#cfd6d6",
  brightBlack: "#7d8b90", brightRed: "#ff9a9c", brightGreen: "#b1e5a8", brightYellow: "#f6dc95", brightBlue: "#a5ccff", brightMagenta: "#e2c0f6", brightCyan: "#95ebe6", brightWhite: "#ffffff",
};

export const light: ITheme = {
  background: "#ffffff", foreground: "#1f2a2e", cursor: "#0a7163", cursorAccent: "#ffffff",
  selectionBackground: "#b9e3da", selectionInactiveBackground: "#b9e3da",
  scrollbarSliderBackground: "#00000026", scrollbarSliderHoverBackground: "#00000040", scrollbarSliderActiveBackground: "#00000055",
  black: "#1f2a2e", red: "#b3261e", green: "#2c7a2f", yellow: "#8a5a00", blue: "#1f5fbf", magenta: "#8a3aa8", cyan: "#0b7285", white: "#6b777b",
  brightBlack: "#566267", brightRed: "#c9372c", brightGreen: "#3b7f1d", brightYellow: "#9a6700", brightBlue: "#3a6fd8", brightMagenta: "#a04bc0", brightCyan: "#0c7c92", brightWhite: "#47535a",
};

/** Programs choose colours for the dark: on white they would be hard to read. */
export const LEAST_CONTRAST = { light: 4.5, dark: 1 };

const system = matchMedia("(prefers-color-scheme: dark)");

/** Which of the two it is now. */
export function resolved(theme: "system" | "light" | "dark"): "light" | "dark" {
  return theme === "system" ? (system.matches ? "dark" : "light") : theme;
}

export function onSystemTheme(heard: () => void): () => void {
  system.addEventListener("change", heard);
  return () => system.removeEventListener("change", heard);
}
