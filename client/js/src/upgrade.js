import { encodeText, toBase64, toByteString } from "./bytes.js";
import { encodeHead, tokensOf, valuesOf } from "./head.js";
import { sentence } from "./incoming.js";
import { ServerSocket } from "./websocket.js";

/** What RFC 6455, 1.3 has the server put behind the client's key. */
const suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Whether a request asks for a WebSocket. Whether rightly so is told in the answer. */
export function isUpgrade({ method, minor, length, fields }) {
  return method === "GET" && minor > 0 && length === 0
    && tokensOf(fields, "connection").includes("upgrade") && tokensOf(fields, "upgrade").join() === "websocket";
}

/**
 * Gives the page the server's end of a WebSocket, and carries it until it ends.
 *
 * @param {{fields: import("./head.js").Fields}} request
 * @param {Request} asked the same for the page
 * @param {object} info see `TunnelRequestInfo` in wsproxy.d.ts
 * @param {object} carrier
 * @param {object} carrier.site see serveHTTP
 * @param {import("./input.js").Input} carrier.input
 * @param {WritableStreamDefaultWriter} carrier.writer
 * @param {(response: Response) => Promise<boolean>} carrier.refuse
 * @returns {Promise<boolean>} whether the connection serves another request
 */
export async function serveWebSocket({ fields }, asked, info, { site, input, writer, refuse }) {
  const [version] = valuesOf(fields, "sec-websocket-version");
  const keys = valuesOf(fields, "sec-websocket-key");
  if (version !== "13") {
    const answer = sentence(426, "Only version 13 of the WebSocket protocol is known here.");
    answer.headers.set("Sec-WebSocket-Version", "13");
    return refuse(answer);
  }
  if (keys.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(keys[0])) return refuse(sentence(400, "Sec-WebSocket-Key is no key."));
  const protocols = valuesOf(fields, "sec-websocket-protocol").join(",").split(",").map((name) => name.trim()).filter(Boolean);
  const socket = new ServerSocket(asked.url.replace(/^http/, "ws"), protocols, site);
  info.signal.addEventListener("abort", () => ServerSocket.refuse(socket));
  const { protocol, refusal } = await consult(socket, asked, info, site);
  if (refusal) return refuse(refusal);
  const accept = await acceptOf(keys[0]);
  await writer.write(encodeHead(101, "Switching Protocols", [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", accept],
    ...(protocol === "" ? [] : [["Sec-WebSocket-Protocol", protocol]]),
    ...info.setCookies.map((cookie) => ["Set-Cookie", toByteString(cookie)]),
  ]));
  await ServerSocket.run(socket, protocol, input, writer);
  return false;
}

/**
 * Has the page decide.
 *
 * @returns {Promise<{protocol: string, refusal?: undefined} | {refusal: Response}>}
 */
async function consult(socket, asked, info, { onWebSocket, onError }) {
  let hasFailed = false;
  const failed = (error) => {
    hasFailed = true;
    onError(error);
    socket.close(1011);
  };
  try {
    Promise.resolve(onWebSocket(socket, asked, info)).catch(failed);
    const protocol = await ServerSocket.decision(socket);
    if (protocol !== undefined) return { protocol };
  } catch (error) {
    failed(error);
  }
  return {
    refusal: hasFailed
      ? sentence(500, "The page behind this tunnel failed to answer.")
      : sentence(403, "The page behind this tunnel does not accept this WebSocket."),
  };
}

/** @param {string} key the client's */
export async function acceptOf(key) {
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-1", encodeText(key + suffix))));
}
