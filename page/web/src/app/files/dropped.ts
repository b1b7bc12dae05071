// What was dropped or chosen, folders included.
import type { Dropped } from "./movers.ts";

/** More would be a mistake, such as a whole disk. */
const MOST = 20_000;

/** Reads a drop. The transfer is good only during the event, so this must be called in it. */
export function readDrop(transfer: DataTransfer): Promise<{ files: Dropped[]; folders: string[][] }> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files: Dropped[] = [], folders: string[][] = [];
  const walk = async (entry: FileSystemEntry, above: string[]): Promise<void> => {
    if (files.length + folders.length > MOST) throw new Error(`More than ${MOST} files at once are too many.`);
    if (entry.isFile) {
      files.push({ folders: above, file: await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)) });
    } else {
      const inside = [...above, entry.name];
      folders.push(inside);
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      for (;;) { // it gives a hundred at a time
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        for (const child of some) await walk(child, inside);
      }
    }
  };
  return (async () => {
    for (const entry of entries) await walk(entry, []);
    return { files, folders };
  })();
}

/** Files of an input; those of a folder say their path. */
export function readChosen(list: FileList): Dropped[] {
  return [...list].map((file) => ({ file, folders: file.webkitRelativePath.split("/").slice(0, -1) }));
}
