// The page: puts its parts together.
import "@xterm/xterm/css/xterm.css";
import "./styles/base.css";
import "./styles/start.css";
import "./styles/session.css";
import "./styles/panels.css";
import { type SessionInfo, SSHSession, lifetime, prepare } from "../lib/index.ts";
import { loadConfig } from "./config.ts";
import type { Target } from "./connect_form.ts";
import { type Place, formatPlace, parsePlace } from "./deep_link.ts";
import { h } from "./dom.ts";
import { type IconName, icon } from "./icon.ts";
import { KnownHosts } from "./known_hosts.ts";
import { Profiles } from "./profiles.ts";
import { SessionTab, type Surroundings } from "./session_tab.ts";
import { SettingsStore } from "./settings.ts";
import { showSettings } from "./settings_dialog.ts";
import { takeShortcut } from "./shortcuts.ts";
import { StartPage } from "./start_page.ts";
import { browserStore } from "./storage.ts";
import { warnBeforeUnload } from "./survival.ts";
import { type TabView, Tabs } from "./tabs.ts";
import { onSystemTheme, resolved } from "./terminal/theme.ts";
import { TokenSource } from "./token.ts";

async function main(): Promise<void> {
  const store = browserStore();
  const settings = new SettingsStore(store);
  const knownHosts = new KnownHosts(store);
  const paint = (): void => void (document.documentElement.dataset.theme = resolved(settings.current.theme));
  paint();
  settings.onChange(paint);
  onSystemTheme(paint);
  followKeyboard();
  prepare();
  const config = await loadConfig();

  const current = (): SessionTab | undefined => tabs.current as SessionTab | undefined;
  const close = async (tab: SessionTab): Promise<void> => {
    if (!await tab.mayClose()) return;
    tabs.close(tab);
    tab.dispose();
  };
  const open = (place: Place, target?: Target): SessionTab => {
    const tab = new SessionTab(around, place, target);
    pages.append(tab.element);
    tabs.open(tab);
    return tab;
  };
  const around: Surroundings = {
    settings, knownHosts, store, tokens: new TokenSource(config.ancestors, config.auth), tunnelNames: config.tunnelNames,
    shortcut: (event) => takeShortcut(event, {
      copy: () => current()?.view.copy() ?? false,
      search: () => current()?.showSearch(),
      larger: (by) => settings.change({ fontSize: settings.current.fontSize + by }),
      step: (by) => tabs.step(by),
      leave: () => tabs.focus(),
    }),
    changed: (tab) => {
      tabs.update(tab);
      show();
    },
    closing: (tab) => void close(tab),
    edit: (target) => {
      start.form.refill(target);
      tabs.select(undefined);
    },
  };
  const tabs = new Tabs({
    selected: () => {
      show();
      const tab = current();
      if (tab) tab.shown();
      else start.form.focus();
    },
    closing: (tab: TabView) => void close(tab as SessionTab),
  });
  const start = new StartPage(store, new Profiles(store), (info) => {
    start.showRunning([]);
    void open(info).adopt(info);
  }, (target) => void open(target, target).connect());

  const tool = (label: string, name: IconName, pressed: () => void): HTMLButtonElement =>
    h("button", { type: "button", class: "button icon-only", "aria-label": label, title: label, onclick: pressed }, icon(name));
  const search = tool("Search in the terminal", "search", () => current()?.showSearch());
  const files = tool("Files", "files", () => current()?.toggle("files"));
  const share = tool("Share a port", "share", () => current()?.toggle("share"));
  const closing = tool("Close this session", "power", () => {
    const tab = current();
    if (tab) void close(tab);
  });
  const tools = h("div", { class: "session-tools", role: "toolbar", "aria-label": "Session" }, search, files, ...config.tunnels === false ? [] : [share], closing);
  const pages = h("main", { class: "pages" }, start.element);
  document.querySelector("#app")!.append(
    h("header", { class: "top" }, tabs.bar, tools, tool("Settings", "settings", () => void showSettings(settings, knownHosts, config.version))), pages);

  const show = (): void => {
    const tab = current();
    start.element.hidden = tab !== undefined;
    for (const other of tabs.all) other.element.hidden = other !== tab;
    tools.hidden = tab === undefined;
    files.setAttribute("aria-pressed", String(tab?.panel === "files"));
    share.setAttribute("aria-pressed", String(tab?.panel === "share"));
    document.title = tab ? `${tab.title} – wsproxy` : "wsproxy terminal";
  };

  const follow = (): void => {
    const place = parsePlace(location.hash);
    if (!location.hash.startsWith("#") || !place) return;
    start.form.fillLink(place);
    if (place.password) history.replaceState(null, "", `#ssh://${formatPlace(place)}`); // it stays in no history
    tabs.select(undefined);
  };
  window.addEventListener("hashchange", follow);
  // A file that is dropped beside its place would have the browser leave the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  tabs.select(undefined);
  follow();
  warnBeforeUnload(() => tabs.all.some((tab) => (tab as SessionTab).isAlive));
  if (lifetime().survivesReload) await takeUp(start);
}

// Sessions that no page has any more, from before a reload.
async function takeUp(start: StartPage): Promise<void> {
  let sessions: SessionInfo[] = [];
  try {
    sessions = await SSHSession.list();
  } catch {
    return; // connecting says why
  }
  start.showRunning(sessions.filter(({ isTaken, state }) => !isTaken && state !== "closed").sort((a, b) => formatPlace(a).localeCompare(formatPlace(b))));
}

// A phone's keyboard covers the page without making it smaller: then the page does it itself.
function followKeyboard(): void {
  const { visualViewport } = window;
  if (!visualViewport) return;
  const fit = (): void => {
    // A page that a person has enlarged with two fingers keeps its size.
    if (Math.abs(visualViewport.scale - 1) < 0.01) document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
  };
  visualViewport.addEventListener("resize", fit);
  fit();
}

void main();
