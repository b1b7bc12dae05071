// Where a download goes: to a file that the person chose; else to the browser's
// private files, from which it is handed over when it is whole; else, if it is
// small, to memory. Nowhere does a large file lie in memory.

/** A file being written. */
export interface Sink {
  /** Bytes that are kept from an earlier try. */
  length: number;
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Keeps what was written, to go on later. */
  pause(): Promise<void>;
  /** It is whole: gives it to the person. */
  finish(): Promise<void>;
  /** Forgets what was written, to begin anew. */
  restart(): Promise<void>;
  discard(): Promise<void>;
}

/** What memory alone may hold. */
const MEMORY_LIMIT = 256 << 20;

interface PickerWindow {
  showSaveFilePicker?(options: { suggestedName: string }): Promise<FileSystemFileHandle>;
  showDirectoryPicker?(options: { mode: "readwrite" }): Promise<FileSystemDirectoryHandle>;
}

const pickers = window as unknown as PickerWindow;

/** Asks where to put a file. To be called in a click; undefined if the person gave up. */
export async function chooseSink(name: string, size: number): Promise<Sink | undefined> {
  if (pickers.showSaveFilePicker) {
    try {
      return fileSink(await pickers.showSaveFilePicker({ suggestedName: name }));
    } catch (error) {
      if ((error as DOMException).name === "AbortError") return undefined;
      // A frame may not ask: the other ways remain.
    }
  }
  try {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("downloads", { create: true });
    const handle = await folder.getFileHandle(crypto.randomUUID(), { create: true });
    if (!("createWritable" in handle)) throw new Error();
    return fileSink(handle, { name, discard: () => folder.removeEntry(handle.name) });
  } catch {
    if (size > MEMORY_LIMIT) throw new Error(`This browser can't write so large a file from a page. Another browser can.`);
    return memorySink(name);
  }
}

/** Whether whole folders can be written. */
export function canChooseFolder(): boolean {
  return pickers.showDirectoryPicker !== undefined;
}

export async function chooseFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    return await pickers.showDirectoryPicker!({ mode: "readwrite" });
  } catch {
    return undefined;
  }
}

/** A file in a folder that was chosen. */
export async function sinkIn(folder: FileSystemDirectoryHandle, name: string): Promise<Sink> {
  return fileSink(await folder.getFileHandle(name, { create: true }));
}

function fileSink(handle: FileSystemFileHandle, private_?: { name: string; discard(): Promise<void> }): Sink {
  let stream: FileSystemWritableFileStream | undefined;
  const sink: Sink = {
    length: 0,
    async write(bytes) {
      if (!stream) {
        stream = await handle.createWritable({ keepExistingData: sink.length > 0 });
        await stream.seek(sink.length);
      }
      await stream.write(bytes);
      sink.length += bytes.length;
    },
    async pause() {
      await stream?.close();
      stream = undefined;
    },
    async finish() {
      if (!stream && sink.length === 0) stream = await handle.createWritable();
      await sink.pause();
      if (!private_) return;
      handOver(await handle.getFile(), private_.name);
      setTimeout(() => void private_.discard().catch(() => undefined), KEPT);
    },
    async restart() {
      await stream?.abort().catch(() => undefined);
      stream = undefined;
      sink.length = 0;
    },
    async discard() {
      await sink.restart();
      await private_?.discard();
    },
  };
  return sink;
}

/** How long a browser may take to copy what it was handed. */
const KEPT = 10 * 60_000;

function memorySink(name: string): Sink {
  let parts: Uint8Array<ArrayBuffer>[] = [];
  return {
    length: 0,
    async write(bytes) {
      parts.push(bytes);
      this.length += bytes.length;
      if (this.length > MEMORY_LIMIT) throw new Error("The file is larger than this browser can take.");
    },
    pause: async () => undefined,
    async finish() {
      handOver(new Blob(parts), name);
      parts = [];
    },
    async restart() {
      parts = [];
      this.length = 0;
    },
    async discard() {
      parts = [];
    },
  };
}

function handOver(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT);
}
