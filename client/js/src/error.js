/**
 * Everything that a server, a target or a peer can do to a relay, a tunnel or a
 * connection arrives as this one class. Mistakes in the arguments are a
 * TypeError, and an aborted signal is the signal's own reason.
 */
export class WsproxyError extends Error {
  /**
   * @param {string} message for people: what happened, and what can be done
   * @param {{code?: number, reason?: string, status?: number, cause?: unknown}} [details]
   */
  constructor(message, { code, reason = "", status, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "WsproxyError";
    /** WebSocket close code, or undefined if only one connection of a tunnel ended. */
    this.code = code;
    /** The server's own words: its sentence, or the reason of a tcp_close. */
    this.reason = reason;
    /** HTTP status with which the server refused, if it could be learned. */
    this.status = status;
  }
}

/** What close codes mean; the list is in docs/protocol.md, 2. For others the server's reason says it. */
const closeCodes = {
  1000: "the server has ended it in order",
  1001: "the server, or a proxy in front of it, goes away or begins anew; connect again",
  1006: "the connection to the server was lost",
  1009: "the server takes no message of that size",
  4001: "another client has taken it over",
  4404: "the session is over: the server does not know it any more",
  4409: "the session can't be continued: what is missing is no longer there",
};

/** What the reasons of a tcp_close mean; the list is in docs/protocol.md, 5. */
const closeReasons = {
  reset: "the connection broke",
  limit: "more was sent than the server had given credit for",
  slow: "the peer took nothing for too long",
  unknown: "the server does not know this connection any more",
  restart: "the server's tunnel failed and began anew",
  shutdown: "the server or the tunnel ends",
};

/** What reasons mean that need more than their own words. */
const sentences = {
  "target blocked": "the server does not allow this target",
  "cannot reach target": "the server cannot reach the target: is the host right, and does something listen on the port?",
  resume_timeout: "the server could not be reached again in time, and has ended the session",
};

/**
 * The error of a WebSocket that was closed.
 *
 * @param {{code: number, reason: string}} event
 */
export function closeError({ code, reason }) {
  const words = sentences[reason] ?? closeCodes[code] ?? reason ?? "";
  const detail = reason && reason !== words ? `close code ${code}, ${reason}` : `close code ${code}`;
  return new WsproxyError(`${words || "the server has closed the connection"} (${detail})`, { code, reason });
}

/**
 * The error of a tunnel's connection that the server has ended by force.
 *
 * @param {string} [reason] a later version of the server may have others
 */
export function connectionError(reason = "") {
  if (!reason) return new WsproxyError("the connection was closed");
  return new WsproxyError(`${closeReasons[reason] ?? "the connection was closed"} (${reason})`, { reason });
}

/**
 * The error of a WebSocket that did not open, after the server was asked why.
 *
 * @param {{status?: number, sentence?: string, cause?: unknown}} answer of the same address to a plain request
 */
export function refusalError({ status, sentence = "", cause }) {
  const code = 1006; // what a browser says of every handshake that failed
  if (status === undefined) {
    // A page can't be told which of both; Node says what failed, in the cause of `fetch failed`.
    const words = globalThis.location === undefined
      ? `the server cannot be reached (${cause?.cause?.message || cause?.message})`
      : "the server cannot be reached, or it does not allow pages of this origin (ALLOWED_ORIGINS)";
    return new WsproxyError(words, { code, cause });
  }
  if (status === 426) {
    return new WsproxyError(
      "the WebSocket did not open, though the server would accept it now; "
        + "if it stays so, something between here and the server does not pass WebSockets on",
      { code, status },
    );
  }
  if (status < 400) {
    return new WsproxyError(`this is not the address of a wsproxy server: it answers ${status}`, { code, status });
  }
  const words = sentence || "the server gave no reason";
  return new WsproxyError(`refused: ${words} (HTTP status ${status})`, { code, status, reason: sentence });
}
