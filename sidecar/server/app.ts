import express, { type ErrorRequestHandler, type Express } from 'express';
import { type RefusalCode, refuse } from '../mint/refusals.ts';
import { jsonBody } from './body.ts';
import type { Context } from './context.ts';
import { jwksHandler } from './jwks.ts';
import { tokensHandlers } from './tokens.ts';

/**
 * The service itself: the routes of the reference service, of which a program that only publishes has no
 * `/tokens`. What is no route is Express's own 404.
 */
export function createApp(context: Context): Express {
  const app = express();
  app.disable('x-powered-by');
  // Only the JWKS has a validator, and that one is its own.
  app.disable('etag');
  const mints = context.material().mint !== undefined;
  // Before the routes, as in the reference service: a malformed body is refused whatever the path.
  if (mints) app.use(jsonBody());
  // The routes are tried in their order: first what is asked for most.
  if (mints) app.post('/tokens', ...tokensHandlers(context));
  app.get('/.well-known/jwks.json', jwksHandler(context));
  app.get('/healthz', (_request, response) => {
    response.json({ ok: true });
  });
  app.use(errorHandler(context));
  return app;
}

// Four parameters, or Express does not take it for an error handler.
function errorHandler({ audit, metrics }: Context): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const refused = refusalOf(error);
    metrics.refused(refused);
    if (refused === 'internal_error') audit.failed(error);
    else audit.refused({ refused });
    refuse(response, { refused });
  };
}

function refusalOf(error: unknown): RefusalCode {
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (status === 400) return error instanceof SyntaxError ? 'invalid_json' : 'unreadable_body';
  if (status === 413) return 'body_too_large';
  if (status === 415) return 'unsupported_encoding';
  return 'internal_error';
}
