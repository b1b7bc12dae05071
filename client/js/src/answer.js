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
 * @returns {{fields: import("./head.js").Fields, body: "none" | "length" | "chunked" | "close", length?: number, closes: boolean}}
 */
export function planAnswer({ method, minor, closes }, response, setCookies) {
  checkResponse(response);
  const fields = fieldsOf(response, setCookies);
  const plan = { fields, ...framing(method, minor, response) };
  if (plan.length !== undefined) fields.push(["content-length", String(plan.length)]);
  if (plan.body === "chunked") fields.push(["transfer-encoding", "chunked"]);
  plan.closes = closes || plan.body === "close";
  if (plan.closes) fields.push(["connection", "close"]);
  return plan;
}

function framing(method, minor, response) {
  const { status } = response;
  const said = isDecoded(response) ? undefined : lengthOf(response);
  if (method === "HEAD" || status === 304) return { body: "none", length: said };
  if (status === 204) return { body: "none" };
  if (bodilessStatuses.has(status)) return { body: "none", length: 0 };
  if (response.body === null) {
    if (said) throw new TypeError(`a Response without a body has the Content-Length ${said}`);
    return { body: "none", length: 0 };
  }
  if (said !== undefined) return { body: "length", length: said };
  return { body: minor === 0 ? "close" : "chunked" };
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
