import { ByteBuffer, decodeText, encodeText, fromBase64, fromByteString, toBase64, toByteString } from "./bytes.js";
import { WsproxyError } from "./error.js";
import { untilAborted } from "./request.js";

/** An http_request, to the fetch API's types and back; docs/protocol.md, 7. */

/** Methods that a Request can't have (Fetch standard, "forbidden method"). */
export const forbiddenMethods = new Set(["CONNECT", "TRACE", "TRACK"]);
/** Methods with which a Request can't have a body. */
export const bodilessMethods = new Set(["GET", "HEAD"]);
/** Statuses whose answers have no body. */
export const bodilessStatuses = new Set([204, 205, 304]);

/**
 * Has a request answered by the page.
 *
 * @param {object} message the http_request
 * @param {object} tunnel
 * @param {string} tunnel.url its public address
 * @param {AbortSignal} tunnel.signal aborted when an answer is of no use any more
 * @param {Function} [tunnel.onRequest]
 * @param {(error: unknown) => void} tunnel.onError
 * @param {number} tunnel.maxBody bytes
 * @returns {Promise<string | undefined>} the http_response; undefined if the signal was aborted first. It never rejects.
 */
export async function answer(message, { url, signal, onRequest, onError, maxBody }) {
  const plain = (status, sentence) => encodeSentence(message.id, status, sentence);
  if (!onRequest) return plain(501, "The page behind this tunnel does not answer HTTP requests.");
  if (forbiddenMethods.has(message.method)) return plain(405, "This method can't be handed to a web page.");
  let handled, response, info;
  try {
    info = infoOf(message, signal);
    handled = (async () => onRequest(requestOf(message, url, info), info))();
    response = await untilAborted(handled, signal);
  } catch (error) {
    if (signal.aborted) {
      dropLate(handled, signal, onError);
      return undefined;
    }
    onError(error);
    return plain(500, "The page behind this tunnel failed to answer.");
  }
  try {
    return await encodeResponse(message, response, info, maxBody);
  } catch (error) {
    cancelBody(response, error); // whatever part of it was wrong, nobody reads the rest
    if (signal.aborted) return undefined;
    onError(error);
    return plain(502, "The page behind this tunnel gave no usable answer.");
  }
}

/** The 504 for a request that the page did not answer in time. The server, if it has given up too, drops it. */
export function timeoutAnswer({ id }) {
  return encodeSentence(id, 504, "The page behind this tunnel did not answer in time.");
}

/** Ends what a handler returns after its request was given up. */
export function dropLate(handled, signal, onError) {
  Promise.resolve(handled).then(
    (response) => cancelBody(response, signal.reason),
    (error) => { if (error !== signal.reason) onError(error); },
  );
}

/** A body that is not read to its end must be cancelled: its source would go on, or wait for ever. */
export function cancelBody(response, reason) {
  // It rejects if the body is locked: then whoever reads it decides.
  response?.body?.cancel?.(reason)?.catch?.(() => {});
}

// Request.

function infoOf(message, signal) {
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers ?? {})) headers.set(name, toByteString(value));
  const info = {
    method: message.method,
    path: message.path,
    headers,
    remoteAddr: headers.get("X-Forwarded-For") ?? "",
    signal,
    setCookies: [],
  };
  if (message.body && bodilessMethods.has(message.method)) info.body = bodyOf(message);
  return info;
}

function requestOf(message, url, { headers }) {
  const hasBody = message.body && !bodilessMethods.has(message.method);
  return new Request(requestURL(message.path, url, headers), {
    method: message.method,
    headers,
    // As bytes: with a string the Request would invent a Content-Type.
    body: hasBody ? bodyOf(message) : null,
  });
}

/**
 * The tunnel's public address, or what the outside client used if that was
 * another one. The path is appended as text, since a URL parser would take one
 * that begins with `//` for a host.
 */
export function requestURL(path, url, headers) {
  const { origin, host } = new URL(url);
  const asked = headers.get("X-Forwarded-Host");
  const tail = path.startsWith("/") ? path : "/"; // `OPTIONS *` is about the whole server
  if (asked && asked.toLowerCase() !== host) {
    const other = `${headers.get("X-Forwarded-Proto") ?? "http"}://${asked}${tail}`;
    if (URL.canParse?.(other)) return other;
  }
  return origin + tail;
}

const bodyOf = ({ body, bodyEncoding }) => bodyEncoding === "base64" ? fromBase64(body) : encodeText(body);

// Response.

async function encodeResponse({ id, method }, response, { setCookies, signal }, maxBody) {
  checkResponse(response);
  const { status } = response;
  const head = { type: "http_response", id, status, headers: headersOf(response, method, setCookies) };
  if (method === "HEAD" || bodilessStatuses.has(status)) {
    cancelBody(response);
    return encodeMessage(head, new Uint8Array());
  }
  return encodeMessage(head, await readBody(response, maxBody, signal));
}

/** Whether it is a Response that can be sent. */
export function checkResponse(response) {
  if (!(response?.headers && (response.body === null || typeof response.body?.getReader === "function"))) {
    throw new TypeError("onRequest must return a Response");
  }
  if (response.status < 200) throw new WsproxyError(`a Response of type ${response.type} can't be passed on`);
}

/** A reader of its body, which must not have been read. */
export function readerOf(response) {
  if (response.bodyUsed || response.body.locked) throw new TypeError("the body of the Response was read already");
  return response.body.getReader();
}

/** A chunk of a Response's body, by its tag: it may be of an iframe. */
export function checkChunk(value) {
  if (value?.[Symbol.toStringTag] !== "Uint8Array") throw new TypeError("a Response's stream must consist of Uint8Arrays");
  return value;
}

/** Whether it came by fetch, which has decompressed it, but still says that it is compressed. */
export function isDecoded(response) {
  return response.url !== "" && response.headers.has("Content-Encoding");
}

/**
 * Reads a body of up to maxBody bytes. Unlike arrayBuffer() it stops at the
 * limit, and when the signal is aborted, and then cancels the stream.
 */
async function readBody(response, maxBody, signal) {
  const buffer = new ByteBuffer();
  if (response.body === null) return buffer.bytes;
  const reader = readerOf(response);
  try {
    for (;;) {
      const { done, value } = await untilAborted(reader.read(), signal);
      if (done) return buffer.bytes;
      checkChunk(value);
      if (buffer.length + value.length > maxBody) {
        throw new WsproxyError(`a Response is larger than maxBody, ${maxBody} bytes`);
      }
      buffer.append(value);
    }
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** The headers as the protocol wants them: a string, or an array where a name repeats. */
function headersOf(response, method, setCookies) {
  const decoded = isDecoded(response);
  // The server computes the length, but where there is no body to compute it from.
  const lengthCounts = (method === "HEAD" || response.status === 304) && !decoded;
  const headers = {};
  for (const [name, value] of response.headers) {
    if (name === "set-cookie" || name === "transfer-encoding") continue;
    if (name === "content-encoding" && decoded) continue;
    if (name === "content-length" && !lengthCounts) continue;
    headers[name] = fromByteString(value);
  }
  const cookies = [...cookiesOf(response.headers), ...setCookies];
  if (cookies.length > 0) headers["set-cookie"] = cookies;
  return headers;
}

export function cookiesOf(headers) {
  if (headers.getSetCookie) return headers.getSetCookie();
  const joined = headers.get("Set-Cookie");
  return joined === null ? [] : [joined];
}

function encodeSentence(id, status, sentence) {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  return encodeMessage({ type: "http_response", id, status, headers }, encodeText(`${sentence}\n`));
}

/**
 * The message as text. A body that is UTF-8 goes as text, unless JSON had to
 * escape so much of it that base64 is shorter; so a message is never longer
 * than the server takes (4.2 there: twice the largest body, and 1 MiB).
 */
function encodeMessage(head, body) {
  const start = JSON.stringify(head).slice(0, -1);
  const text = decodeText(body);
  if (text !== undefined) {
    const quoted = JSON.stringify(text);
    const escapes = quoted.length - text.length;
    const encoded = 4 * Math.ceil(body.length / 3) + `,"bodyEncoding":"base64"`.length;
    if (body.length + escapes <= encoded) return `${start},"body":${quoted}}`;
  }
  return `${start},"body":"${toBase64(body)}","bodyEncoding":"base64"}`;
}
