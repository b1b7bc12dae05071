// Runs the program in Node, over TCP, without a page. What it is asked for comes as JSON in the
// second argument; what has happened goes to standard output as one JSON object.
import fs from 'node:fs'
import net from 'node:net'
import { createRequire } from 'node:module'

export const setup = JSON.parse(process.argv[2])

createRequire(import.meta.url)(setup.wasmExec)

// start runs the program and returns its api.
export async function start() {
  const go = new Go()
  const ready = new Promise(resolve => { globalThis.goReady = resolve })
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(setup.wasm), go.importObject)
  let api
  go.run(instance).then(() => {
    for (const reject of api?.pending ?? []) reject(new Error('the program has ended'))
  })
  api = await ready
  return api
}

// duplex connects to a port of this host. Bytes go as they come, and as fast as they are taken.
export async function duplex(port) {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const readable = new ReadableStream({
    start(controller) {
      socket.on('data', chunk => {
        controller.enqueue(new Uint8Array(chunk))
        if (controller.desiredSize <= 0) socket.pause()
      })
      socket.on('end', () => { try { controller.close() } catch {} })
      socket.on('error', error => { try { controller.error(error) } catch {} })
      socket.on('close', () => { try { controller.error(new Error('the connection is gone')) } catch {} })
    },
    pull() { socket.resume() },
    cancel() { socket.destroy() },
  }, { highWaterMark: 16 })
  const writable = new WritableStream({
    write(chunk) { return new Promise((resolve, reject) => socket.write(chunk, error => error ? reject(error) : resolve())) },
    close() { socket.end() },
    abort() { socket.destroy() },
  })
  return { readable, writable, socket }
}

// hooks answer as the setup says, and note what they were asked.
export function hooks(overrides = {}) {
  const seen = { asked: [], hostKeys: [], remembered: [], banners: [], steps: [] }
  return {
    seen,
    async ask(q) { seen.asked.push(q); return setup.answers?.shift() ?? null },
    async hostKey(q) { seen.hostKeys.push(q); return setup.decision ?? 'refuse' },
    remember(line) { seen.remembered.push(line) },
    banner(text) { seen.banners.push(text) },
    step(name) { seen.steps.push(name) },
    async signWebAuthn() { throw new Error('there is no security key') },
    ...overrides,
  }
}

export const options = () => ({
  host: '127.0.0.1', port: setup.port, user: setup.user, keys: [], securityKeys: [], knownHosts: '',
  agentForward: false, keepAliveSeconds: 0, ...setup.options,
})

// terminal is what a shell has shown so far.
export class Terminal {
  text = ''
  #at = 0
  #wake = () => {}
  decoder = new TextDecoder()
  onData = bytes => {
    this.text += this.decoder.decode(bytes, { stream: true })
    this.#wake()
  }
  async expect(part) {
    for (;;) {
      const at = this.text.indexOf(part, this.#at)
      if (at >= 0) { this.#at = at + part.length; return }
      await new Promise(resolve => { this.#wake = resolve })
    }
  }
}

export function done(result) {
  process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0))
}
