// What the server says of itself to its page.

export interface Config {
  /** Whether the server wants a token. */
  auth: boolean;
  version: string;
  /** Origins whose pages may embed this one, and give it a token. */
  ancestors: string[];
  /** Whether it lends tunnels, which sharing a port needs; undefined if it does not say. */
  tunnels?: boolean;
  tunnelNames: boolean;
}

/** Asks for it. Where the answer is missing the page finds out by trying. */
export async function loadConfig(): Promise<Config> {
  const config: Config = { auth: false, version: "", ancestors: [], tunnelNames: false };
  try {
    const answer = await fetch("/web-terminal.json", { cache: "no-store" });
    if (!answer.ok) return config;
    const found = await answer.json() as Partial<Config>;
    return {
      auth: found.auth === true,
      version: typeof found.version === "string" ? found.version : "",
      ancestors: Array.isArray(found.ancestors) ? found.ancestors.filter((origin) => typeof origin === "string") : [],
      tunnels: typeof found.tunnels === "boolean" ? found.tunnels : undefined,
      tunnelNames: found.tunnelNames === true,
    };
  } catch {
    return config;
  }
}
