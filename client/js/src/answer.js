import { toByteString } from "./bytes.js";
import { bodilessStatuses, checkResponse, cookiesOf, isDecoded } from "./http.js";

/** What concerns one connection only, and not the answer (RFC 9110, 7.6.1). */
const hopByHop = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]);

/**
 * How a Response goes out as HTTP/1.1: which fields it has, and how its body
 * is framed. Nothing here waits. It throws if the Response can't be sent.
 *
 * @param {{method: string, minor: number, closes: boolean}} request `closes` if its connection serves no other
 * @param {Response} response
 * @param {string[]} setCookies values of Set-Cookie beside the Response's own
 * @returns {{fields: import("./head.js").Fields, hasBody: boolean, length?: number, isChunked?: boolean, closes: boolean}}
 */
export function planAnswer({ method, minor, closes }, response, setCookies) {
  checkResponse(response);
  const fields = fieldsOf(response, setCookies);
  const plan = { fields, ...framing(method, minor, response) };
  if (plan.length !== undefined) fields.push(["content-length", String(plan.length)]);
  if (plan.isChunked) fields.push(["transfer-encoding", "chunked"]);
  // What has neither a length nor chunks lasts until the connection ends.
  plan.closes = closes || plan.hasBody && plan.length === undefined && !plan.isChunked;
  if (plan.closes) fields.push(["connection", "close"]);
  return plan;
}

function framing(method, minor, response) {
  const { status, body } = response;
  const said = isDecoded(response) ? undefined : lengthOf(response);
  if (status === 204) return { hasBody: false };
  if (status === 304) return { hasBody: false, length: said };
  if (bodilessStatuses.has(status)) return { hasBody: false, length: 0 };
  const isChunked = said === undefined && minor > 0;
  // Some clients take an answer to HEAD that says nothing for one that lasts until the connection ends.
  if (method === "HEAD") return { hasBody: false, length: said, isChunked };
  if (body === null) {
    if (said) throw new TypeError(`a Response without a body has the Content-Length ${said}`);
    return { hasBody: false, length: 0 };
  }
  return { hasBody: true, length: said, isChunked };
}

function lengthOf(response) {
  const said = response.headers.get("Content-Length");
  if (said === null) return undefined;
  if (!/^\d+$/.test(said) || !Number.isSafeInteger(Number(said))) throw new TypeError("a Response's Content-Length is no number");
  return Number(said);
}

function fieldsOf(response, setCookies) {
  const fields = [];
  for (const [name, value] of response.headers) {
    if (name === "set-cookie" || name === "content-length" || hopByHop.has(name)) continue;
    if (name === "content-encoding" && isDecoded(response)) continue;
    fields.push([name, value]);
  }
  for (const cookie of [...cookiesOf(response.headers), ...setCookies.map(toByteString)]) fields.push(["set-cookie", cookie]);
  return fields;
}
