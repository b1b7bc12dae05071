// What a person can choose, kept in the browser. Values that a browser gives
// back are checked: an older page or a curious person may have written them.
import { type Store, readJSON } from "./storage.ts";

export interface Settings {
  theme: "system" | "light" | "dark";
  fontSize: number;
  fontFamily: string;
  scrollback: number;
  cursorBlink: boolean;
  /** Shows typing before its echo where the network is slow. */
  prediction: boolean;
  /** Programs may write the clipboard (OSC 52). */
  clipboard: boolean;
  screenReader: boolean;
  /** Draws with the graphics card where there is one. */
  webgl: boolean;
}

export const FONT_SIZE = { min: 8, max: 32 };
export const SCROLLBACK = { min: 0, max: 100_000 };

const defaults: Settings = {
  theme: "system", fontSize: 14, fontFamily: "", scrollback: 10_000, cursorBlink: false,
  prediction: true, clipboard: false, screenReader: false, webgl: true,
};

const KEY = "settings";

export class SettingsStore {
  private values: Settings;
  private heard = new Set<(settings: Settings) => void>();

  constructor(private store: Store) {
    this.values = checked(readJSON(store, KEY));
  }

  get current(): Readonly<Settings> {
    return this.values;
  }

  change(some: Partial<Settings>): void {
    this.values = checked({ ...this.values, ...some });
    this.store.set(KEY, JSON.stringify(this.values));
    for (const hear of this.heard) hear(this.values);
  }

  /** Returns the way to stop listening. */
  onChange(hear: (settings: Settings) => void): () => void {
    this.heard.add(hear);
    return () => void this.heard.delete(hear);
  }
}

function checked(value: unknown): Settings {
  const found = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const settings = { ...defaults };
  for (const name of ["cursorBlink", "prediction", "clipboard", "screenReader", "webgl"] as const) {
    if (typeof found[name] === "boolean") settings[name] = found[name];
  }
  if (found.theme === "light" || found.theme === "dark") settings.theme = found.theme;
  if (typeof found.fontFamily === "string") settings.fontFamily = found.fontFamily.slice(0, 200);
  settings.fontSize = bounded(found.fontSize, FONT_SIZE, defaults.fontSize);
  settings.scrollback = bounded(found.scrollback, SCROLLBACK, defaults.scrollback);
  return settings;
}

function bounded(value: unknown, { min, max }: { min: number; max: number }, otherwise: number): number {
  return typeof value === "number" && Number.isFinite(value) ? Math.round(Math.min(max, Math.max(min, value))) : otherwise;
}
