import { createServer } from 'node:https';
import type { Express } from 'express';
import type { Binding } from '../environment.ts';
import { FileError } from '../keys/file-error.ts';
import { readVersion } from '../keys/files.ts';
import { follow } from '../keys/follow.ts';
import { type Listener, listen } from '../server/listen.ts';
import { messagesOf } from '../server/messages.ts';
import { type Pair, pairFileNames, readPair } from './pair.ts';

/** Where the certificate lies, and where it is served. */
export interface TLSSettings {
  /** A mounted directory with the files of {@link pairFileNames}. */
  directory: string;
  binding: Binding;
}

/** What is reported. Each distinct problem is reported once, until the files are good again. */
export interface TLSEvents {
  loaded(pair: Pair): void;
  broken(problem: FileError): void;
}

// A client that connects and says nothing must not outlast a shutdown, which has 10 s.
const handshakeMilliseconds = 5000;

/**
 * Listens for HTTPS with the certificate of a mounted directory, and follows that: each new connection gets the last
 * good one. As long as there never was a good one, every handshake fails.
 *
 * @throws {StartError} when port and address can't be had.
 */
export async function listenTLS(
  app: Express,
  { directory, binding }: TLSSettings,
  events: TLSEvents,
): Promise<Listener> {
  const server = createServer({ ...messagesOf(app), handshakeTimeout: handshakeMilliseconds });
  const { certificate, key } = pairFileNames;
  await follow({
    directory,
    read: () => readVersion(directory, [certificate, key], 'MACP_AUTH_TLS_DIR'),
    use([chainText, keyText]) {
      const pair = readPair(chainText ?? missing(certificate), keyText ?? missing(key));
      server.setSecureContext({ cert: pair.chain, key: pair.key });
      events.loaded(pair);
    },
    broken: events.broken,
  });
  const variables = { port: 'MACP_AUTH_TLS_PORT', address: 'MACP_AUTH_BIND_ADDRESS' };
  return listen(app, binding, variables, server);
}

function missing(file: string): never {
  throw new FileError(file, 'is missing', 'create the Secret that is to be mounted there');
}
