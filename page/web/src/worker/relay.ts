import { connectRelay } from "../../../../client/js/wsproxy.js";
import type { GoAPI, GoClient, GoHooks, GoOptions } from "./bridge.ts";
import { explain } from "./explain.ts";
import type { ConnectOptions } from "./protocol.ts";
import { SSHError, type Ended, type HostOptions } from "../lib/types.ts";

/** What a session is told of its line. */
export interface LineHooks {
  token(): Promise<string | null>;
  onDetached(): void;
  onResumed(told: { away: number }): void;
}

/** Logs in over a relay. The client's `closed` says in the end what the relay says, if that is why. */
export async function login(
  api: GoAPI, options: ConnectOptions, hooks: GoHooks, line: LineHooks, signal: AbortSignal,
): Promise<{ client: GoClient; closed: Promise<Ended> }> {
  const first = outermost(options);
  const target = `${first.host.includes(":") ? `[${first.host}]` : first.host}:${first.port ?? 22}`;
  try {
    const relay = await connectRelay({ url: options.url, host: first.host, port: first.port ?? 22, allowHalfOpen: false, signal, ...line });
    // What the server says of its end is worth more than what Go makes of a broken stream.
    const relayError = relay.closed.then(() => undefined, (error) => explain(error, target));
    let client: GoClient;
    try {
      client = await api.connect({ readable: relay.readable, writable: relay.writable } as never, goOptions(options), hooks);
    } catch (error) {
      // Once Go has given up it ends the relay itself, which then is no error.
      throw isBroken(error) ? await Promise.race([relayError, later()]) ?? error : error;
    }
    const closed = client.closed.then(async (ended): Promise<Ended> => {
      const told = ended.reason === "network" || ended.reason === "protocol" ? await Promise.race([relayError, later()]) : undefined;
      return told ? { reason: told.code, message: told.message } : ended;
    });
    return { client, closed };
  } catch (error) {
    if (signal.aborted) throw new SSHError("Connecting was cancelled.", "cancelled", { cause: error });
    throw explain(error, target);
  }
}

/** Whether the connection may be why. */
function isBroken(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: string };
  return code === undefined || code === "network" || code === "protocol" || code === "failed";
}

/** The relay's end is told at about the same time as Go's, if it is why. */
function later(): Promise<undefined> {
  return new Promise((resolve) => { setTimeout(resolve, 200); });
}

function outermost(options: HostOptions): HostOptions {
  return options.jump ? outermost(options.jump) : options;
}

function goOptions(options: ConnectOptions): GoOptions {
  const { knownHosts, keepAliveSeconds } = options;
  const of = (host: HostOptions): GoOptions => ({
    host: host.host,
    port: host.port ?? 22,
    user: host.user,
    ...(host.password !== undefined && { password: host.password }),
    keys: host.keys ?? [],
    securityKeys: host.securityKeys ?? [],
    agentForward: host.agentForward ?? false,
    knownHosts,
    keepAliveSeconds,
    ...(host.jump && { jump: of(host.jump) }),
  });
  return of(options);
}
