import { start, duplex, hooks, options, done } from './harness.mjs'
const t0 = performance.now()
const api = await start()
const t1 = performance.now()
const client = await api.connect(await duplex(options().port), options(), hooks())
const t2 = performance.now()
let bytes = 0; const c0 = process.cpuUsage()
const flood = await client.openShell({ term: '', command: 'head -c 100000000 /dev/zero' }, data => { bytes += data.length })
await flood.closed
const t3 = performance.now(); const cpu = process.cpuUsage(c0)
let pings = []
for (let i = 0; i < 50; i++) pings.push(await client.ping())
pings.sort((a, b) => a - b)
const t4 = performance.now()
const k = await api.generateKey({comment: 'x', passphrase: 'secret'})
const t5 = performance.now()
done({ start: t1 - t0, login: t2 - t1, cpuMBps: bytes / cpu.user, mbps: bytes / 1e3 / (t3 - t2), p50: pings[25], gen: t5-t4})
