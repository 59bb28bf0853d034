import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Express } from 'express';
import type { Binding } from '../environment.ts';
import { errorCode } from '../error-code.ts';
import { StartError } from '../start-error.ts';
import { messagesOf } from './messages.ts';

/** A listening HTTP server. */
export interface Listener {
  address: AddressInfo;
  /** Stops accepting, lets requests in flight finish, closes idle connections; resolves when all are gone. */
  drain(): Promise<void>;
}

/**
 * Listens for HTTP.
 *
 * @param variables the names of the variables that set port and address, for the error.
 * @throws {StartError} when port and address can't be had.
 */
export async function listen(
  app: Express,
  binding: Binding,
  variables: Record<keyof Binding, string>,
): Promise<Listener> {
  const server = createServer(messagesOf(app));
  const unanswered = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let draining = false;
  // First of the listeners, so that it is there before the handler answers.
  server.on('request', (_request, response) => {
    if (draining) response.setHeader('Connection', 'close');
    unanswered.add(response);
    response.once('close', () => unanswered.delete(response));
  });
  server.on('request', app);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

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
        for (const response of unanswered) {
          if (!response.headersSent) response.setHeader('Connection', 'close');
        }
        server.close(() => resolve());
        // Node.js takes a connection that has sent nothing yet for a busy one, and would wait for its request.
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
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
