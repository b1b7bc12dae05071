// Questions, connections from the server's side, keys, and ends that are not in order.
import { start, duplex, hooks, options, setup, done } from './harness.mjs'

const api = await start()
const failure = promise => promise.then(() => null, error => ({ code: error.code, message: error.message, isError: error instanceof Error }))

// Asked for twice.
const asked = hooks()
const client = await api.connect(await duplex(setup.port), options(), asked)

// Each side of a stream is closed by itself.
const stream = await client.dial('127.0.0.1', setup.echo)
const writer = stream.writable.getWriter()
const sent = new Uint8Array(300_000).map((_, i) => i)
const writing = writer.write(sent).then(() => writer.close())
let echoed = 0, equal = true
for await (const chunk of stream.readable) {
  for (const byte of chunk) equal &&= byte === sent[echoed++]
}
await writing
await stream.closed
const refused = await failure(client.dial('127.0.0.1', 1))

// A stream whose connection is lost errors, and so do the other things.
const cut = await client.dial('127.0.0.1', setup.echo)
const reading = cut.readable.getReader().read()
const shell = await failure(client.openShell({ term: '' }, () => {}))
client.close()
const cutOff = await failure(reading)
const ended = await client.closed
const late = await failure(client.ping())

// Given up, thrown, and refused.
const givenUp = await failure(api.connect(await duplex(setup.port), options(), hooks({ ask: async () => null })))
const thrown = await failure(api.connect(await duplex(setup.port), options(), hooks({ ask() { throw new Error('no') } })))
const refusedKey = await failure(api.connect(await duplex(setup.port), options(), hooks({ hostKey: async () => 'refuse' })))

// The connection is lost while a person is asked.
const lost = await duplex(setup.port)
const lostWhile = await failure(api.connect(lost, options(), hooks({ ask: () => { lost.socket.destroy(); return new Promise(() => {}) } })))
const broken = await failure(api.connect({
  readable: new ReadableStream({ start(c) { c.error(new Error('the relay says no')) } }), writable: new WritableStream(),
}, options(), hooks()))
const nonsense = await failure(api.connect(null, null, null))

const key = await api.generateKey({ comment: 'mine' })
const described = await api.describeKey(key.privateKey)
const noKey = await failure(api.describeKey('nonsense'))
await new Promise(resolve => setTimeout(resolve, 50))
done({
  kinds: asked.seen.asked.map(q => q.kind + q.attempt), banners: asked.seen.banners, echoed, equal, refused, shell, cutOff, ended, late,
  givenUp, thrown, refusedKey, lostWhile, broken, nonsense, same: described.fingerprint === key.fingerprint && api.fingerprint(key.publicKey) === key.fingerprint,
  described, noKey, noPrint: api.fingerprint('nonsense'), pendingLeft: api.pending.size,
})
