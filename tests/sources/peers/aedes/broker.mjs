// Aedes on loopback, with its defaults. Says "ready ADDRESS"; ends with its standard input.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
const server = createServer(broker.handle)
server.listen(0, '127.0.0.1', () => console.log(`ready 127.0.0.1:${server.address().port}`))
process.stdin.resume().on('end', () => process.exit(0))
