/** Makes sentences for a person of what client/js and Go say. */
import { WsproxyError } from "../../../../client/js/wsproxy.js";
import { SSHError, type ErrorCode } from "../lib/types.ts";

/** @param target such as `db.example.com:22`, for the sentence */
export function explain(error: unknown, target: string): SSHError {
  if (error instanceof SSHError) return error;
  if (error instanceof WsproxyError) {
    const [code, sentence] = ofServer(error, target);
    return new SSHError(sentence, code, { cause: error });
  }
  if ((error as Error | null)?.name === "AbortError") return new SSHError("It was cancelled.", "cancelled", { cause: error });
  const { message, code } = (error ?? {}) as { message?: string; code?: unknown };
  return new SSHError(message || String(error), isCode(code) ? code : "failed", { cause: error });
}

const codes = new Set<unknown>([
  "auth", "hostkey", "network", "protocol", "cancelled", "not_found", "permission", "exists", "failed",
  "unreachable", "blocked", "token", "limit", "drained", "worker",
] satisfies ErrorCode[]);

function isCode(code: unknown): code is ErrorCode {
  return codes.has(code);
}

/** What statuses, close codes and reasons mean is in docs/protocol.md, 2. */
function ofServer({ code, reason, status, message }: WsproxyError, target: string): [ErrorCode, string] {
  switch (status) {
    case 401:
      if (reason.startsWith("no token")) return ["token", "The server wants a token, and none was given."];
      return ["token", `The server does not take the token: ${reason}.`];
    case 403:
      if (reason.includes("origin")) return ["blocked", `The server does not let this page use it: its origin, ${globalThis.location?.origin}, is not in ALLOWED_ORIGINS.`];
      return ["blocked", `The server may not connect to ${target}, or does not know that name. Whoever runs it can allow it by ALLOWED_TARGETS.`];
    case 429:
      return ["limit", reason];
    case 503:
      return ["drained", reason || "The server is shutting down; connect again."];
  }
  if (status !== undefined) return ["failed", `The server answers: ${reason || message}`];
  switch (reason) {
    case "cannot reach target":
      return ["unreachable", `The server can't reach ${target}: is the host right, and does something listen on that port?`];
    case "target reset the connection":
      return ["network", `${target} has broken the connection off.`];
    case "resume_timeout":
      return ["network", "The server could not be reached again in time, and has ended the session."];
  }
  switch (code) {
    case 1001:
      return ["drained", "The server shuts down; connect again to reach its successor."];
    case 1006:
      return ["network", "The server can't be reached. Is the network there?"];
    case 1008:
      if (reason !== "" && reason !== "target blocked") return ["failed", `The server has ended the session: ${reason}.`];
      return ["blocked", `The server may not connect to ${target}.`];
    case 4001:
      return ["failed", `It was taken over by another one: ${reason}.`];
    case 4404:
      return ["drained", "The server does not know the session any more: it was started anew, or the session was away for too long."];
    case 4409:
      return ["network", "The session can't be continued: what is missing of it is no longer there."];
  }
  return ["failed", `${message}.`];
}
