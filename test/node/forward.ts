// Passes connections on: `forward.ts FROM TO`, each the path of a socket or a port of 127.0.0.1. Prints the port, or the
// path, where it listens. A socket in a folder that both see leads from one network namespace into another.
import { connect, createServer, type Socket } from 'node:net';

const [from = '', to = ''] = process.argv.slice(2);
const loopback = (place: string) =>
  place.startsWith('/') ? { path: place } : { port: Number(place), host: '127.0.0.1' };

const server = createServer({ allowHalfOpen: true }, (client) => {
  const target = connect({ ...loopback(to), allowHalfOpen: true });
  join(client, target);
  join(target, client);
});
server.listen(loopback(from), () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' ? address?.port : address}\n`);
});

function join(one: Socket, other: Socket): void {
  one.setNoDelay();
  one.pipe(other);
  // Whatever breaks one side breaks the other, as if there were nothing in between.
  one.on('error', () => other.destroy());
  one.on('close', () => other.destroySoon());
}
