import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Server as TLSServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Express } from 'express';
import type { Binding } from '../environment.ts';
import { errorCode } from '../error-code.ts';
import { StartError } from '../start-error.ts';
import { messagesOf } from './messages.ts';

/** A listening server. */
export interface Listener {
  address: AddressInfo;
  /** Stops accepting, lets requests in flight finish, closes idle connections; resolves when all are gone. */
  drain(): Promise<void>;
}

/**
 * Listens for HTTP.
 *
 * @param variables the names of the variables that set port and address, for the error.
 * @param server what listens, where it is to be for HTTPS.
 * @throws {StartError} when port and address can't be had.
 */
export async function listen(
  app: Express,
  binding: Binding,
  variables: Record<keyof Binding, string>,
  server: Server | TLSServer = createServer(messagesOf(app)),
): Promise<Listener> {
  // Each connection with its latest response. Not a set of all that are unanswered: V8 makes such a set anew every few
  // requests, and keeps them all, until the next big collection, by the old ones.
  const latest = new Map<Socket, ServerResponse | undefined>();
  let draining = false;
  // First of the listeners, so that it is there before the handler answers.
  server.on('request', ({ socket }, response) => {
    if (draining) response.setHeader('Connection', 'close');
    latest.set(socket, response);
  });
  server.on('request', app);
  const opened = (socket: Socket) => {
    latest.set(socket, undefined);
    socket.once('close', () => latest.delete(socket));
  };
  server.on('connection', opened);
  // Of HTTPS: what is inside the connection, once it is secure.
  server.on('secureConnection', opened);

  const { port, address: host } = binding;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, binding, variables)));
    server.listen({ port, ...(host !== undefined && { host }) }, resolve);
  });
  return {
    address: server.address() as AddressInfo,
    drain: () =>
      new Promise((resolve) => {
        draining = true;
        for (const response of latest.values()) {
          if (response?.headersSent === false) response.setHeader('Connection', 'close');
          // It may wait for an answer before it, of a request that was sent on the same connection without a pause.
          else if (response?.writableFinished === false)
            response.once('close', () => server.closeIdleConnections());
        }
        server.close(() => resolve());
        // Node.js takes a connection that has sent nothing yet for a busy one, and would wait for its request.
        for (const socket of latest.keys()) if (socket.bytesRead === 0) socket.destroy();
      }),
  };
}

function cannotListen(error: Error, { port, address }: Binding, variables: Record<keyof Binding, string>) {
  const code = errorCode(error);
  const reasons: Record<string, string> = {
    EADDRINUSE: `is already in use; stop its other user or set ${variables.port} to another port`,
    EACCES: `may not be used by this user; set ${variables.port} to 1024 or above`,
    EADDRNOTAVAIL: `is not on an address of this host; correct ${variables.address}`,
  };
  const where = `${variables.port} ${port} on ${address ?? 'every address'}`;
  return new StartError(`${where} ${reasons[code] ?? `can't be listened on (${code})`}`);
}
