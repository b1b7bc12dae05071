// A shell in a terminal: typed into, resized, flooded, ended.
import { start, duplex, hooks, options, Terminal, done } from './harness.mjs'

const api = await start()
const h = hooks()
const client = await api.connect(await duplex(options().port), options(), h)
const terminal = new Terminal()
const shell = await client.openShell({ term: 'xterm-256color', cols: 80, rows: 24, command: "PS1='ready> ' ENV= exec sh -i" }, terminal.onData)
const type = line => shell.write(new TextEncoder().encode(line))
await terminal.expect('ready> ')
await type('stty size\r')
await terminal.expect('24 80')
await terminal.expect('ready> ')
shell.resize('wide')
shell.signal()
shell.resize(132, 50)
await type('stty size\r')
await terminal.expect('50 132')
await terminal.expect('ready> ')
await type('exit 7\r')
const shellEnd = await shell.closed
const noBytes = await client.openShell({ command: 'cat' }, () => {}).then(cat => {
  const failed = cat.write('text').catch(error => error.message)
  cat.closeInput()
  return cat.closed.then(() => failed)
})
const late = await shell.write(new Uint8Array([1])).catch(error => error.message)

// 20 MB that are read slowly at first, and none is lost.
let bytes = 0, calls = 0
const flood = await client.openShell({ term: '', command: 'head -c 20000000 /dev/zero' }, async data => {
  bytes += data.length
  if (++calls < 5) await new Promise(resolve => setTimeout(resolve, 10))
})
const floodEnd = await flood.closed
const ping = await client.ping()
client.close()
const ended = await client.closed
const pendingLeft = api.pending.size
done({ seen: h.seen, shellEnd, late, noBytes, bytes, floodEnd, pingIsNumber: typeof ping === 'number' && ping >= 0, ended, version: client.serverVersion, pendingLeft })
