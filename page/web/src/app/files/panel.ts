// The files of the host, beside the terminal.
import type { FileEntry, SFTP } from "../../lib/index.ts";
import { askText, confirm } from "../dialog.ts";
import { freshId, h } from "../dom.ts";
import { icon, type IconName } from "../icon.ts";
import { say } from "../notice.ts";
import { readChosen, readDrop } from "./dropped.ts";
import { formatDate, formatMode, formatSize, joinPath, parentPath } from "./format.ts";
import { type Dropped, archiveOf, downloadFolder, downloadOf, uploadAll } from "./movers.ts";
import { canChooseFolder } from "./save.ts";
import { TransferList } from "./transfer_list.ts";
import { type Transfer, Transfers } from "./transfers.ts";

/** Rows on the page at once; a folder with more says so. */
const MOST_ROWS = 2000;

export class FilesPanel {
  readonly element: HTMLElement;
  private sftp: Promise<SFTP> | undefined;
  private folder = "";
  private path = h("input", { type: "text", "aria-label": "Folder", spellcheck: "false", autocomplete: "off", autocapitalize: "none" });
  private rows = h("tbody");
  private outcome = h("p", { class: "outcome", role: "status" });
  private transfers: Transfers;
  private hidden = false; // whether names that begin with a dot are shown
  private entries: FileEntry[] = [];

  constructor(private openSFTP: () => Promise<SFTP>, close: () => void) {
    this.transfers = new Transfers((transfer) => this.transferChanged(transfer));
    this.list = new TransferList(this.transfers);
    const title = freshId("title");
    const files = h("input", { type: "file", multiple: true, class: "visually-hidden", tabindex: -1, "aria-hidden": "true", onchange: () => this.chosen(files) });
    const folders = h("input", { type: "file", webkitdirectory: true, class: "visually-hidden", tabindex: -1, "aria-hidden": "true", onchange: () => this.chosen(folders) });
    const dots = h("button", { type: "button", class: "button icon-only", "aria-pressed": "false", "aria-label": "Show hidden files", title: "Show hidden files", onclick: () => {
      this.hidden = !this.hidden;
      dots.setAttribute("aria-pressed", String(this.hidden));
      this.draw();
    } }, ".*");
    this.element = h("section", {
      class: "panel files", "aria-labelledby": title,
      ondragover: (event: DragEvent) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        this.element.classList.add("dropping");
      },
      ondragleave: (event: DragEvent) => {
        if (!this.element.contains(event.relatedTarget as Node | null)) this.element.classList.remove("dropping");
      },
      ondrop: (event: DragEvent) => {
        event.preventDefault();
        this.element.classList.remove("dropping");
        if (event.dataTransfer) void this.attempt(async () => {
          const { files, folders } = await readDrop(event.dataTransfer!);
          await this.upload(files, folders);
        });
      },
    },
      h("header", {}, h("h2", { id: title }, "Files"), this.tool("Close the files", "close", close)),
      h("form", { class: "path-bar", onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        void this.go(this.path.value);
      } }, this.tool("Folder above", "up", () => void this.go(parentPath(this.folder))), this.path, this.tool("Read anew", "refresh", () => void this.go(this.folder))),
      h("div", { class: "tools", role: "toolbar", "aria-label": "Files" },
        h("button", { type: "button", class: "button", onclick: () => files.click() }, icon("upload"), "Upload"),
        h("button", { type: "button", class: "button", onclick: () => folders.click() }, icon("upload"), "Folder"),
        h("button", { type: "button", class: "button", onclick: () => void this.makeFolder() }, icon("folder"), "New folder"), dots, files, folders),
      this.outcome,
      h("div", { class: "listing", tabindex: 0, role: "region", "aria-label": "Listing" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col", class: "size" }, "Size"), h("th", { scope: "col", class: "date" }, "Changed"), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Actions")))), this.rows)),
      this.list.element,
      h("div", { class: "drop-mark", "aria-hidden": "true" }, icon("upload"), "Drop to upload here"));
    void this.go(".");
  }

  private list: TransferList;

  focus(): void {
    if (matchMedia("(pointer: fine)").matches) this.path.focus(); // a phone's keyboard would cover it
  }

  get isBusy(): boolean {
    return this.transfers.isBusy;
  }

  dispose(): void {
    this.transfers.stop();
    void this.sftp?.then((sftp) => sftp.close(), () => undefined);
    this.element.remove();
  }

  private tool(label: string, name: IconName, pressed: () => void): HTMLButtonElement {
    return h("button", { type: "button", class: "button icon-only", "aria-label": label, title: label, onclick: pressed }, icon(name));
  }

  // A transfer that ended, by the host or by an error, is begun anew when it is needed.
  private open = (): Promise<SFTP> => {
    if (!this.sftp) {
      const mine = this.sftp = this.openSFTP();
      const forget = (): void => {
        if (this.sftp === mine) this.sftp = undefined;
      };
      mine.then((sftp) => sftp.closed.then(forget), forget);
    }
    return this.sftp;
  };

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      this.outcome.textContent = "";
      this.outcome.classList.remove("wrong");
      await action();
    } catch (error) {
      this.outcome.textContent = (error as Error).message;
      this.outcome.classList.add("wrong");
    }
  }

  private go(path: string): Promise<void> {
    return this.attempt(async () => {
      const sftp = await this.open();
      const folder = await sftp.realPath(path || ".");
      const entries = await sftp.list(folder);
      this.folder = this.path.value = folder;
      this.entries = entries.sort((a, b) => Number(b.type === "directory") - Number(a.type === "directory") || a.name.localeCompare(b.name, undefined, { numeric: true }));
      this.draw();
    });
  }

  private draw(): void {
    const seen = this.entries.filter(({ name }) => this.hidden || !name.startsWith("."));
    this.rows.replaceChildren(...seen.slice(0, MOST_ROWS).map((entry) => this.row(entry)));
    if (!seen.length) this.rows.append(h("tr", {}, h("td", { colspan: 4, class: "empty" }, "Nothing here. Drop files to upload them.")));
    if (seen.length > MOST_ROWS) this.outcome.textContent = `The first ${MOST_ROWS} of ${seen.length} are shown.`;
  }

  private row(entry: FileEntry): HTMLElement {
    const { name, type, size, modified, mode, owner, group, target } = entry;
    const isFolder = type === "directory";
    const open = (): void => void (isFolder || type === "link" ? this.follow(entry) : this.download(entry));
    const about = [formatMode(mode, type), owner && group ? `${owner}:${group}` : "", target ? `→ ${target}` : ""].filter(Boolean).join("  ");
    return h("tr", {},
      h("td", {}, h("button", { type: "button", class: "entry", title: about, onclick: open }, icon(isFolder ? "files" : type === "link" ? "link" : "file"), h("span", {}, name))),
      h("td", { class: "size" }, isFolder ? "" : formatSize(size)),
      h("td", { class: "date" }, modified ? formatDate(modified) : ""),
      h("td", { class: "actions" },
        this.tool(`Download ${name}`, "download", () => void this.download(entry)),
        this.tool(`Rename ${name}`, "rename", () => void this.rename(entry)),
        this.tool(`Delete ${name}`, "trash", () => void this.remove(entry))));
  }

  private follow(entry: FileEntry): Promise<void> {
    return this.attempt(async () => {
      const target = await (await this.open()).stat(entry.path);
      if (target.type === "directory") await this.go(entry.path);
      else await this.download({ ...entry, size: target.size, type: target.type });
    });
  }

  private download(entry: FileEntry): Promise<void> {
    return this.attempt(async () => {
      if (entry.type === "directory" && canChooseFolder()) return downloadFolder(this.open, entry, (transfer) => this.transfers.add(transfer));
      const transfer = await (entry.type === "directory" ? archiveOf : downloadOf)(this.open, entry);
      if (transfer) this.transfers.add(transfer);
    });
  }

  private chosen(input: HTMLInputElement): void {
    const files = readChosen(input.files!);
    input.value = "";
    void this.attempt(() => this.upload(files, []));
  }

  private async upload(files: Dropped[], folders: string[][]): Promise<void> {
    const there = new Set(this.entries.map(({ name }) => name));
    const double = files.filter(({ folders, file }) => !folders.length && there.has(file.name));
    if (double.length) {
      const what = double.length === 1 ? double[0]!.file.name : `${double.length} files`;
      if (!await confirm(`Replace ${what}?`, "There is one of the same name in this folder.", "Replace", "danger")) return;
    }
    await uploadAll(this.open, this.folder, files, folders, (transfer) => this.transfers.add(transfer));
    if (folders.length) await this.go(this.folder);
  }

  private async makeFolder(): Promise<void> {
    const name = await askText("New folder", "Name", "", "Make it");
    if (name) await this.attempt(async () => {
      await (await this.open()).mkdir(joinPath(this.folder, name));
      await this.go(this.folder);
    });
  }

  private async rename(entry: FileEntry): Promise<void> {
    const name = await askText(`Rename ${entry.name}`, "New name", entry.name, "Rename");
    if (name && name !== entry.name) await this.attempt(async () => {
      await (await this.open()).rename(entry.path, name.startsWith("/") ? name : joinPath(this.folder, name));
      await this.go(this.folder);
    });
  }

  private async remove(entry: FileEntry): Promise<void> {
    const isFolder = entry.type === "directory";
    if (!await confirm(`Delete ${entry.name}?`, isFolder ? "The folder and all that is in it is gone for good." : "It is gone for good.", "Delete", "danger")) return;
    await this.attempt(async () => {
      await (await this.open()).remove(entry.path, { recursive: isFolder });
      await this.go(this.folder);
      say(`${entry.name} is deleted.`);
    });
  }

  private transferChanged(transfer: Transfer | undefined): void {
    this.list.update(transfer);
    if (transfer?.isOver && transfer.kind === "upload" && !this.transfers.isBusy) void this.go(this.folder);
  }
}
