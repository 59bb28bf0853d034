import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/** The loopback addresses 127.a.b.0/24 of one kubelet: .1 is the node's, the rest are for pods. */
export interface AddressBlock {
  readonly hostIP: string;
  take(): string;
  giveBack(address: string): void;
  release(): Promise<void>;
}

// A kubelet's own port. Whoever holds it on an address has the block.
const port = 10250;

/** Claims a block that no other kubelet on this machine has, for as long as this process lives. */
export async function claimBlock(): Promise<AddressBlock> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const prefix = `127.${randomInt(1, 255)}.${randomInt(1, 255)}`;
    const holder = await listen(`${prefix}.1`);
    if (holder) return block(prefix, holder);
  }
  throw new Error(
    `no free block of loopback addresses found: is something listening on port ${port} everywhere?`,
  );
}

function listen(host: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

function block(prefix: string, holder: Server): AddressBlock {
  // Oldest first, so that an address rests before the next pod gets it.
  const free = Array.from({ length: 253 }, (_, index) => `${prefix}.${index + 2}`);
  return {
    hostIP: `${prefix}.1`,
    take() {
      const address = free.shift();
      if (!address) throw new Error(`all addresses of ${prefix}.0/24 are taken`);
      return address;
    },
    giveBack: (address) => void free.push(address),
    release: () => new Promise((resolve) => holder.close(() => resolve())),
  };
}
