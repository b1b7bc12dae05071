// Ends and failures in plain words: what happened, and what a person can do.
import type { Ended } from "../lib/index.ts";

export interface EndWords {
  title: string;
  /** What to do about it; the message itself says what happened. */
  advice: string;
  /** Nobody need be alarmed. */
  isCalm: boolean;
}

const words: Record<string, [title: string, advice: string]> = {
  closed: ["The session has ended", ""],
  keepalive: ["The host no longer answers", "It may be down, asleep or cut off from its network. Connect again when it is back."],
  auth: ["The login was refused", "Check the user's name, the password or the key, and whether the host lets this user in."],
  hostkey: ["The host's key was not accepted", "Nothing was sent to it. Compare the fingerprint with whoever runs the host before you connect again."],
  unreachable: ["The host can't be reached", ""],
  blocked: ["This target is not allowed", "Whoever runs this server decides which hosts and ports it connects to."],
  token: ["The server wants a token", "Connect again with a valid one."],
  limit: ["The server is full", "It has as many connections as it may. Close some that you don't need, or try again in a while."],
  drained: ["The server is going down", "It is probably being restarted. Connect again in a moment."],
  network: ["The connection is lost", "Check your network, then connect again."],
  protocol: ["The other side does not speak SSH as expected", "Check the port: SSH is usually on 22."],
  cancelled: ["Not connected", ""],
  worker: ["The browser has stopped the session", "It may be short of memory. Connect again; with tmux on the host your programs are still there."],
  failed: ["Something went wrong", "Connect again. If it happens once more, tell whoever runs this server."],
};

export function endWords(reason: Ended["reason"] | string): EndWords {
  const [title, advice] = words[reason] ?? words.failed!;
  return { title, advice, isCalm: reason === "closed" || reason === "cancelled" };
}

/** What a session's steps are called while it connects. */
export const stepWords: Record<string, string> = {
  relay: "Reaching the host",
  version: "Saying hello",
  keyexchange: "Agreeing on keys",
  authentication: "Logging in",
  ready: "Opening a shell",
};

/** How a shell has ended, as a sentence. */
export function shellWords(ended: { status?: number; signal?: string; message?: string }): string {
  if (ended.message) return ended.message;
  if (ended.signal) return `The shell was ended by the signal ${ended.signal}.`;
  if (ended.status) return `The shell has ended with status ${ended.status}.`;
  return "The shell has ended.";
}
