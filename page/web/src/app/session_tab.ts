// One tab: a session with its terminal, its panels, and what is said of its state.
import { type PortShare, type Prompter, type SSHOptions, SSHError, SSHSession, type SessionInfo, type Shell } from "../lib/index.ts";
import type { Target } from "./connect_form.ts";
import { type Place, formatPlace } from "./deep_link.ts";
import { freshId, h } from "./dom.ts";
import { shellWords, stepWords } from "./endings.ts";
import { FilesPanel } from "./files/panel.ts";
import type { KnownHosts } from "./known_hosts.ts";
import { say } from "./notice.ts";
import { confirmClose, prompterOf } from "./prompts.ts";
import type { SettingsStore } from "./settings.ts";
import { SharePanel } from "./share/panel.ts";
import { StateView } from "./state_view.ts";
import { endsWithPage, keepingHint } from "./survival.ts";
import { keyBar } from "./terminal/key_bar.ts";
import { searchBar } from "./terminal/search_bar.ts";
import { resolved } from "./terminal/theme.ts";
import { TerminalView } from "./terminal/view.ts";
import type { TokenSource } from "./token.ts";
import type { Store } from "./storage.ts";

/** What a tab needs of the page around it. */
export interface Surroundings {
  settings: SettingsStore;
  knownHosts: KnownHosts;
  tokens: TokenSource;
  store: Store;
  tunnelNames: boolean;
  /** A key of the page's; true if it was taken. */
  shortcut(event: KeyboardEvent): boolean;
  /** Title or state has changed. */
  changed(tab: SessionTab): void;
  /** The tab wants to go. */
  closing(tab: SessionTab): void;
  /** Back to the form, with this in it. */
  edit(target: Target): void;
}

/** What a paste is cut into: the far side gets other keys between. */
const PIECE = 32 << 10;

/** Keys that are kept until the shell is there; more are no typing. */
const EARLY = 1000;

export class SessionTab {
  readonly id = freshId("session");
  readonly element: HTMLElement;
  readonly view: TerminalView;
  title: string;

  private session: SSHSession | undefined;
  private shell: Shell | undefined;
  private sending: Promise<void> = Promise.resolve();
  private attempt: AbortController | undefined;
  private state: StateView;
  private search: ReturnType<typeof searchBar>;
  private panels: { files?: FilesPanel; share?: SharePanel } = {};
  private drawer = h("div", { class: "drawer", hidden: true });
  private pane: HTMLElement;
  private hint: HTMLElement | undefined;
  private isOpened = false;
  private early: Uint8Array<ArrayBuffer>[] = []; // typed before the shell is there
  private isGone = false;

  /** `target` is undefined for a session that was taken up: how one logged in there isn't known any more. */
  constructor(private around: Surroundings, readonly place: Place, private target: Target | undefined) {
    this.title = formatPlace(place);
    this.view = new TerminalView(around.settings, {
      input: (bytes) => this.send(bytes),
      resized: (cols, rows) => this.shell?.resize(cols, rows),
      titled: (title) => {
        this.title = title.trim().slice(0, 200) || formatPlace(place);
        around.changed(this);
      },
      shortcut: (event) => around.shortcut(event),
    });
    this.search = searchBar(this.view.search, () => resolved(around.settings.current.theme), () => this.view.focus());
    this.state = new StateView({
      again: () => void this.connect(), close: () => around.closing(this), stop: () => this.stop(),
      edit: target && (() => {
        around.closing(this);
        around.edit(target);
      }),
    });
    this.pane = h("div", {
      class: "pane",
      // Files that are dragged over the terminal are meant for the host.
      ondragenter: (event: DragEvent) => {
        if (event.dataTransfer?.types.includes("Files") && this.stateName === "connected" && this.panel !== "files") this.toggle("files");
      },
    }, this.view.element, this.search.element, this.state.element);
    this.element = h("div", { class: "session", id: this.id, role: "tabpanel" },
      h("div", { class: "session-main" }, this.pane, this.drawer), keyBar(this.view));
  }

  /** Whether something would be lost if the page went. */
  get isAlive(): boolean {
    return this.session !== undefined && this.session.state !== "closed" || this.attempt !== undefined;
  }

  get stateName(): string {
    return this.session?.state ?? (this.attempt ? "connecting" : "closed");
  }

  /** To be called when it is on the page and seen. */
  shown(): void {
    if (!this.isOpened) {
      this.isOpened = true;
      this.view.open();
    }
    if (this.state.isBlocking) this.state.focus();
    else this.view.focus();
  }

  /** Connects, also anew, with what the person has said. */
  async connect(refusedToken = false): Promise<void> {
    const { target } = this;
    if (this.attempt || this.isAlive) return;
    if (!target) {
      this.around.closing(this);
      return this.around.edit({ ...this.place, auth: "password", agentForward: false });
    }
    const attempt = this.attempt = new AbortController();
    this.forgetShares();
    this.view.renew();
    this.state.connecting(this.place.host);
    this.around.changed(this);
    try {
      if ((this.around.tokens.isMissing || refusedToken) && !await this.around.tokens.obtain(refusedToken)) throw new SSHError("No token was given.", "token");
      const session = await SSHSession.connect({ ...optionsOf(target), token: this.around.tokens.get, knownHosts: this.around.knownHosts.text, prompts: this.prompter(attempt.signal), signal: attempt.signal, label: formatPlace(target) });
      if (attempt.signal.aborted) return session.close();
      this.follow(session);
      this.attach(await session.shell({ term: "xterm-256color", env: { COLORTERM: "truecolor" }, ...this.view.size }));
      this.attempt = undefined;
      this.connected();
    } catch (error) {
      this.attempt = undefined;
      if (this.isGone) return;
      const { code, message } = error as SSHError;
      if (code === "token" && !refusedToken && !attempt.signal.aborted) return this.connect(true);
      this.early = [];
      // A password that was refused is asked for the next time.
      if (code === "auth") target.password = undefined;
      this.session?.close();
      this.session = undefined;
      this.state.ended(attempt.signal.aborted ? "cancelled" : code ?? "failed", attempt.signal.aborted ? "You have stopped it." : message);
      this.around.changed(this);
    }
  }

  /** Takes a session up that was running before this page. */
  async adopt(info: SessionInfo): Promise<void> {
    const attempt = this.attempt = new AbortController();
    this.state.connecting(info.host);
    try {
      const session = await SSHSession.adopt(info.id, { prompts: this.prompter(attempt.signal), token: this.around.tokens.get });
      this.follow(session);
      const [shell] = session.shells;
      this.attach(shell ?? await session.shell({ term: "xterm-256color", env: { COLORTERM: "truecolor" }, ...this.view.size }));
      const { cols, rows } = this.view.size;
      this.shell!.resize(cols, rows);
      this.attempt = undefined;
      if (session.shares.size) this.panels.share = this.makeShare([...session.shares]);
      if (session.state === "detached") this.state.detached(() => session.away);
      else this.connected();
    } catch (error) {
      this.attempt = undefined;
      this.state.ended((error as SSHError).code ?? "failed", (error as Error).message);
      this.around.changed(this);
    }
  }

  /** Asks if there is something to lose; false if the person changed their mind. */
  async mayClose(): Promise<boolean> {
    return this.stateName !== "connected" && this.stateName !== "detached" || await confirmClose(formatPlace(this.place), this.session?.shares.size ?? 0);
  }

  dispose(): void {
    this.isGone = true;
    this.attempt?.abort();
    this.session?.close();
    this.panels.files?.dispose();
    this.panels.share?.dispose();
    this.state.dispose();
    this.view.dispose();
    this.element.remove();
  }

  showSearch(): void {
    this.search.show();
  }

  /** Shows or hides a panel beside the terminal. */
  toggle(name: "files" | "share"): void {
    const { drawer } = this;
    if (!drawer.hidden && drawer.dataset.panel === name) return this.hideDrawer();
    if (!this.session && !this.panels[name]) return say("Connect first.");
    const panel = name === "files" ? this.panels.files ??= this.makeFiles() : this.panels.share ??= this.makeShare([]);
    drawer.dataset.panel = name;
    drawer.replaceChildren(panel.element);
    drawer.hidden = false;
    panel.focus();
    this.around.changed(this);
  }

  get panel(): string | undefined {
    return this.drawer.hidden ? undefined : this.drawer.dataset.panel;
  }

  private hideDrawer(): void {
    this.drawer.hidden = true;
    this.view.focus();
    this.around.changed(this);
  }

  private makeFiles(): FilesPanel {
    return new FilesPanel(async () => this.running.sftp(), () => this.hideDrawer());
  }

  private makeShare(shares: PortShare[]): SharePanel {
    return new SharePanel(async (options) => this.running.sharePort(options), shares, this.around.tunnelNames, () => this.hideDrawer());
  }

  private get running(): SSHSession {
    if (!this.session || this.session.state === "closed") throw new SSHError("The session has ended. Connect again first.", "network");
    return this.session;
  }

  // Shared ports ended with their session. Files stay: a transfer that was cut with it goes on in the next one.
  private forgetShares(): void {
    this.panels.share?.dispose();
    delete this.panels.share;
    if (this.panel === "share") this.drawer.hidden = true;
  }

  private prompter(signal: AbortSignal): Prompter {
    return prompterOf({
      knownHosts: this.around.knownHosts, signal,
      step: (step, host) => {
        if (this.attempt) this.state.step(stepWords[step] ?? "", host);
      },
      banner: (text) => void this.view.write(new TextEncoder().encode(text.replace(/\r?\n/g, "\r\n"))),
    });
  }

  private follow(session: SSHSession): void {
    this.session = session;
    session.on("state", (state) => {
      if (state === "detached") this.state.detached(() => session.away);
      if (state === "connected") this.state.connected();
      this.around.changed(this);
    });
    session.on("resumed", ({ away }) => {
      this.view.forgetPredictions();
      say(`Back after ${Math.max(1, Math.round(away / 1000))} s. The session goes on.`);
    });
    void session.ended.then((ended) => {
      if (this.isGone || this.attempt || this.session !== session) return;
      this.session = this.shell = undefined;
      this.state.ended(ended.reason, ended.message);
      this.around.changed(this);
    });
  }

  private attach(shell: Shell): void {
    this.shell = shell;
    for (const bytes of this.early.splice(0)) this.send(bytes);
    shell.onData = (bytes, _, isReplay) => isReplay ? this.view.replay(bytes) : this.view.write(bytes);
    void shell.closed.then((ended) => {
      const { session } = this;
      if (this.isGone || this.shell !== shell || !session || session.state === "closed") return;
      // The shell was what the tab is for. Its end is the session's, with the shell's own words.
      this.session = this.shell = undefined;
      session.close();
      this.state.ended("closed", shellWords(ended));
      this.around.changed(this);
    });
  }

  private connected(): void {
    this.state.connected();
    this.around.changed(this);
    this.view.focus();
    this.hint?.remove();
    this.hint = endsWithPage() ? keepingHint(this.around.store, (line) => {
      this.view.press(line);
      this.view.focus();
    }) : undefined;
    if (this.hint) this.pane.append(this.hint);
  }

  private stop(): void {
    if (this.attempt) this.attempt.abort();
    else this.session?.close();
  }

  // In order, and piece by piece: the shell takes what the host has room for.
  private send(bytes: Uint8Array<ArrayBuffer>): void {
    const { shell } = this;
    if (!shell) {
      // Whoever types while it connects means the shell that comes, as at any terminal.
      if (this.attempt && this.early.length < EARLY) this.early.push(bytes);
      return;
    }
    for (let from = 0; from < bytes.length; from += PIECE) {
      const piece = bytes.slice(from, from + PIECE);
      this.sending = this.sending.then(() => this.shell === shell ? shell.write(piece) : undefined).catch(() => undefined); // its end says why
    }
  }
}

function optionsOf(target: Target): Pick<SSHOptions, "host" | "port" | "user" | "password" | "keys" | "securityKeys" | "agentForward" | "jump"> {
  const { host, port, user, password, key, securityKeys, agentForward, jump } = target;
  const keys = key ? [key] : [];
  return { host, port, user, password, keys, securityKeys, agentForward, jump: jump && { ...jump, keys, securityKeys } };
}
