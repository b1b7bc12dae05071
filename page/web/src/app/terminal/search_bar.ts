// Search in the terminal's text.
import type { ISearchOptions, SearchAddon } from "@xterm/addon-search";
import { h } from "../dom.ts";
import { icon } from "../icon.ts";

type Colours = NonNullable<ISearchOptions["decorations"]>;

const rulers = { matchOverviewRuler: "#d9a514", activeMatchColorOverviewRuler: "#ff8c1a" };
const colours: Record<"light" | "dark", Colours> = {
  light: { ...rulers, matchBackground: "#ffe9a8", activeMatchBackground: "#ffc46b", activeMatchBorder: "#b3590b" },
  dark: { ...rulers, matchBackground: "#55481a", activeMatchBackground: "#8a5210", activeMatchBorder: "#ffb454" },
};

/** Makes the bar; `theme` tells what is searched in, `done` is called when it closes. */
export function searchBar(search: SearchAddon, theme: () => "light" | "dark", done: () => void): { element: HTMLElement; show(): void } {
  const found = h("output", { class: "found", "aria-live": "polite" });
  let matchCase = false;
  const options = (incremental: boolean): ISearchOptions => ({ caseSensitive: matchCase, incremental, decorations: colours[theme()] });
  const input = h("input", {
    type: "search", "aria-label": "Search in the terminal", placeholder: "Search", spellcheck: "false", autocomplete: "off",
    oninput: () => input.value ? search.findPrevious(input.value, options(true)) : clear(),
    onkeydown: (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter") {
        event.preventDefault();
        if (event.shiftKey) search.findNext(input.value, options(false));
        else search.findPrevious(input.value, options(false));
      }
    },
  });
  const cased = h("button", {
    type: "button", class: "button icon-only", "aria-pressed": "false", "aria-label": "Match case", title: "Match case",
    onclick: () => {
      matchCase = !matchCase;
      cased.setAttribute("aria-pressed", String(matchCase));
      if (input.value) search.findPrevious(input.value, options(true));
    },
  }, "Aa");
  const button = (label: string, name: "up" | "down" | "close", pressed: () => void): HTMLElement =>
    h("button", { type: "button", class: "button icon-only", "aria-label": label, title: label, onclick: pressed }, icon(name));
  const element = h("div", { class: "search-bar", role: "search", hidden: true },
    input, found, cased,
    button("Previous match", "up", () => search.findPrevious(input.value, options(false))),
    button("Next match", "down", () => search.findNext(input.value, options(false))),
    button("Close the search", "close", () => close()));
  search.onDidChangeResults(({ resultIndex, resultCount }) => {
    found.textContent = !input.value ? "" : resultCount === 0 ? "none" : resultIndex < 0 ? `${resultCount}` : `${resultIndex + 1} of ${resultCount}`;
  });
  const clear = (): void => {
    found.textContent = "";
    search.clearDecorations();
  };
  const close = (): void => {
    element.hidden = true;
    clear();
    done();
  };
  return {
    element,
    show() {
      element.hidden = false;
      input.select();
      input.focus();
    },
  };
}
