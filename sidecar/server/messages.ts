import { IncomingMessage, type ServerOptions, ServerResponse } from 'node:http';
import type { Express } from 'express';

const known = new WeakMap<Express, ServerOptions>();

/**
 * Options for `createServer` by which requests and responses are made with the prototypes that Express else puts under
 * each of them when it comes: an object whose prototype changes is slow in V8 ever after. They are the same for all servers
 * of an app.
 */
export function messagesOf(app: Express): ServerOptions {
  const options = known.get(app) ?? newMessages(app);
  known.set(app, options);
  return options;
}

function newMessages(app: Express): ServerOptions {
  class Request extends IncomingMessage {}
  class Response<R extends IncomingMessage> extends ServerResponse<R> {}
  app.request = Object.setPrototypeOf(Request.prototype, app.request);
  app.response = Object.setPrototypeOf(Response.prototype, app.response);
  return { IncomingMessage: Request, ServerResponse: Response };
}
