// `#ssh://user@host:port` in the page's address fills the form. It never
// connects: a link is somebody else's wish until the person has looked at it.

export interface Place {
  host: string;
  port: number;
  user: string;
  /** Only of a link that has one, as that of a server for trying things out. */
  password?: string;
}

export const SSH_PORT = 22;

/** Reads a fragment, or what a person pasted into the host's field; undefined if it names no place. */
export function parsePlace(text: string): Place | undefined {
  let rest = text.replace(/^#/, "").trim();
  try {
    rest = decodeURIComponent(rest);
  } catch {
    return undefined;
  }
  if (/^(ssh|sftp):\/\//i.test(rest)) rest = rest.replace(/^\w+:\/\//, "").replace(/[/?#].*$/s, "");
  else if (text.startsWith("#")) return undefined;
  const at = rest.lastIndexOf("@");
  // ssh's links may hold parameters after the name, which are left out, and even a password.
  const [, user = "", password] = /^([^:;]*)[^:]*(?::(.*))?$/s.exec(rest.slice(0, Math.max(at, 0))) ?? [];
  const found = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]]+)|([0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*))(?::(\d{1,5}))?$/i.exec(rest.slice(at + 1));
  if (!found) return undefined;
  const host = found[1] ?? found[2] ?? found[3] ?? "";
  const port = found[4] === undefined ? SSH_PORT : Number(found[4]);
  if (!host || /[\s\x00-\x1f\x7f<>"'`\\]/.test(host + user) || port < 1 || port > 65535) return undefined;
  return { host, port, user, ...(password && { password }) };
}

/** How a place is written for people, and in links. */
export function formatPlace({ user, host, port }: Place): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return (user ? `${user}@` : "") + name + (port === SSH_PORT ? "" : `:${port}`);
}
