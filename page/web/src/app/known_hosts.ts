// The host keys that were accepted, as lines of known_hosts: the same format as
// OpenSSH's, so that a person can paste their own file, with host CAs.

import type { Store } from "./storage.ts";

const KEY = "known_hosts";

export class KnownHosts {
  constructor(private store: Store) {}

  /** All lines, for the SSH client to judge by. */
  get text(): string {
    return this.store.get(KEY) ?? "";
  }

  set text(text: string) {
    this.store.set(KEY, lines(text).map((line) => `${line}\n`).join(""));
  }

  /** Keeps a line, once. */
  remember(line: string): void {
    const known = lines(this.text);
    for (const added of lines(line)) {
      if (!known.includes(added)) known.push(added);
    }
    this.text = known.join("\n");
  }

  /** Removes the plain keys of a host; host CAs and revoked keys stay. Returns how many lines went. */
  forget(host: string, port: number): number {
    const name = hostName(host, port);
    const known = lines(this.text);
    const kept = known.flatMap((line) => {
      if (line.startsWith("@") || line.startsWith("#")) return [line];
      const [hosts = "", ...key] = line.split(/\s+/);
      const rest = hosts.split(",").filter((host) => host.toLowerCase() !== name);
      return rest.length ? [[rest.join(","), ...key].join(" ")] : [];
    });
    this.text = kept.join("\n");
    return known.length - kept.length;
  }
}

/** How known_hosts names a host. */
export function hostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

function lines(text: string): string[] {
  return text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
}
