// Sizes, rates and times as people read them.

export function formatSize(bytes: number): string {
  if (!Number.isFinite(bytes)) return "?";
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}

/** A short date: the time for today, the year only for other years. */
export function formatDate(time: number, now = new Date()): string {
  const date = new Date(time);
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  const isThisYear = date.getFullYear() === now.getFullYear();
  return date.toLocaleDateString(undefined, isThisYear ? { day: "numeric", month: "short" } : { day: "numeric", month: "short", year: "numeric" });
}

/** Permission bits as ls shows them. */
export function formatMode(mode: number, type: string): string {
  const kinds: Record<string, string> = { directory: "d", link: "l", file: "-" };
  return (kinds[type] ?? "?") + [6, 3, 0].map((shift) => "rwx".split("").map((letter, bit) => mode >> shift & 4 >> bit ? letter : "-").join("")).join("");
}

export function joinPath(folder: string, name: string): string {
  return folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

export function parentPath(path: string): string {
  return path.replace(/\/+$/, "").replace(/\/[^/]*$/, "") || "/";
}
