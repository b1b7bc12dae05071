// Uses the whole API, and what must not compile. It is checked and never run.
import {
  connectRelay, openTunnel, WsproxyError,
  type CloseInfo, type Relay, type RelayOptions, type SessionState, type Token, type Tunnel, type TunnelAddress,
  type TunnelConnection, type TunnelOptions, type TunnelRequestInfo, type TunnelSocket,
} from "wsproxy-client";

export async function relays(signal: AbortSignal): Promise<CloseInfo> {
  const token: Token = async () => "token";
  const options: RelayOptions = { url: new URL("wss://p"), host: "h", port: 22, token, signal, maxUnread: 1 << 20, allowHalfOpen: true };
  const relay: Relay = await connectRelay(options);
  await connectRelay({ url: "wss://p", cfDomain: "d", cfId: "i", cfSecret: "s", token: null });
  await connectRelay({
    url: "wss://p", host: "h", port: 22, resume: true,
    onDetached: (error: WsproxyError) => console.log(error.code),
    onResumed: ({ away }) => console.log(away.toFixed()),
  });
  const state: SessionState = relay.state;
  void state;
  const writer = relay.writable.getWriter();
  await writer.write(new ArrayBuffer(1));
  await writer.write(new DataView(new ArrayBuffer(1)));
  await writer.write(new TextEncoder().encode("text"));
  const { value } = await relay.readable.getReader().read();
  const length: number | undefined = value?.byteLength;
  void length;
  await relay.readable.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream<string>());
  await relay.readable.pipeThrough(new DecompressionStream("gzip")).pipeTo(relay.writable);
  await new Response(relay.readable).text();

  // @ts-expect-error text is no bytes
  await writer.write("text");
  // @ts-expect-error a target is missing
  await connectRelay({ url: "wss://p" });
  // @ts-expect-error one target only
  await connectRelay({ url: "wss://p", host: "h", port: 22, cfDomain: "d", cfId: "i", cfSecret: "s" });
  return relay.closed;
}

export async function tunnels(): Promise<void> {
  const options: TunnelOptions = {
    url: "wss://p",
    token: "token",
    onRequest: async (request: Request, info: TunnelRequestInfo) => {
      info.setCookies.push(`last=${info.path}`);
      const about: string[] = [info.method, info.path, info.remoteAddr, info.headers.get("Cookie") ?? "", request.url];
      info.answerTrailers?.set("X-Sum", info.trailers?.get("X-Sum") ?? "");
      return info.signal.aborted || info.body?.length ? new Response(null, { status: 400 }) : Response.json(about);
    },
    onWebSocket: (socket: TunnelSocket, request: Request, info: TunnelRequestInfo) => {
      socket.accept(socket.protocols.includes("chat") ? "chat" : "");
      socket.accept(Promise.resolve("chat"));
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => socket.send(data);
      socket.addEventListener("close", ({ code, reason, wasClean }) => console.log(code, reason, wasClean, request.url, info.path));
      socket.send(new Uint8Array(1));
      socket.send(new Blob([]));
      if (socket.readyState === socket.OPEN && socket.bufferedAmount > 0) socket.close(1000, "done");
      // @ts-expect-error a number is no message
      socket.send(1);
    },
    maxMessage: 1 << 20,
    httpConnections: true,
    host: "localhost:5173",
    name: "my-site",
    raw: false,
    onConnection: ({ readable, writable, remoteAddr, id, protocol }: TunnelConnection) => {
      const isHTTP: boolean = protocol === "http/1.1";
      console.log(remoteAddr.toUpperCase(), id.toUpperCase(), isHTTP);
      return readable.pipeTo(writable);
    },
    onReady: ({ url, rawPort, rawHost, credentials }: TunnelAddress) => {
      const told: [string, number, string | undefined, boolean | undefined] = [url, rawPort, rawHost, credentials];
      console.log(told);
    },
    onLost: (error: WsproxyError) => console.log(error.reason),
    onError: (error: unknown) => console.log(error),
    resume: false,
    onDetached: () => {},
    onResumed: () => {},
    reconnect: { firstDelay: 100, maxDelay: 1000 },
    maxBody: 1 << 20,
    requestTimeout: 10_000,
  };
  const tunnel: Tunnel = await openTunnel(options);
  await openTunnel({ url: "wss://p", reconnect: true, onRequest: () => new Response("at once") });
  console.log(tunnel.url.toUpperCase(), tunnel.rawPort.toFixed());
  console.log(tunnel.state === "detached", tunnel.rawHost?.toUpperCase(), tunnel.credentials === false);
  // @ts-expect-error the server may not say
  tunnel.rawHost.toUpperCase();
  // @ts-expect-error the tunnel's own
  tunnel.url = "x";
  // @ts-expect-error an answer is a Response
  await openTunnel({ url: "wss://p", onRequest: () => "text" });
  try {
    await tunnel.closed;
  } catch (error) {
    if (error instanceof WsproxyError) {
      const details: [number | undefined, string, number | undefined] = [error.code, error.reason, error.status];
      console.log(details);
    }
  }
  await tunnel.close();
}
