// Files both ways, called off and taken up again.
import { createHash } from 'node:crypto'
import { start, duplex, hooks, options, setup, done } from './harness.mjs'

const api = await start()
const client = await api.connect(await duplex(options().port), options(), hooks())
const sftp = await client.openSFTP()
const code = promise => promise.then(() => 'nothing', error => error.code)
const hash = bytes => createHash('sha256').update(bytes).digest('hex')

const size = 5_000_001
const data = new Uint8Array(size)
for (let i = 0; i < size; i++) data[i] = (i * 2654435761) >>> 13
const path = `${setup.dir}/file`

const stop = new AbortController()
const cut = await code(sftp.write(path, { size, resume: false }, async position => {
  if (position >= 2_000_000) { stop.abort(); return new Promise(() => {}) }
  return data.slice(position, position + 1_000_000)
}, stop.signal))
const part = (await sftp.stat(path + '.part')).size
const positions = []
await sftp.write(path, { size, resume: true }, async position => {
  positions.push(position)
  return position < size ? data.slice(position, position + 1_000_000) : null
})
const chunks = []
let at = 1000
const result = await sftp.read(path, { from: 1000 }, async (bytes, position) => {
  if (position !== at) throw new Error(`a piece of ${position} came at ${at}`)
  at += bytes.length
  chunks.push(bytes)
})
const abort = new AbortController()
const readCut = await code(sftp.read(path, { from: 0 }, async () => { abort.abort() }, abort.signal))
await sftp.mkdir(`${setup.dir}/a`)
const codes = [
  await code(sftp.mkdir(`${setup.dir}/a`)), await code(sftp.stat(`${setup.dir}/none`)),
  await code(sftp.rename(path, `${setup.dir}/a`)), await code(sftp.read(path, { from: 0 }, () => { throw new Error('full') })),
]
await sftp.rename(path, `${setup.dir}/a/b`)
const listed = await sftp.list(`${setup.dir}/a`)
await sftp.remove(`${setup.dir}/a`, { recursive: true })
const real = await sftp.realPath(`${setup.dir}/.`)
sftp.close()
await sftp.closed
const late = await code(sftp.list('/'))
client.close()
await client.closed
done({
  cut, part, firstPosition: positions[0], sameBytes: hash(Buffer.concat(chunks)) === hash(data.slice(1000)), result, readCut, codes,
  listed, real, late, pendingLeft: api.pending.size,
})
