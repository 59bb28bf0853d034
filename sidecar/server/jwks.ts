import type { RequestHandler } from 'express';
import type { Context } from './context.ts';

/** Serves the JWK Set (RFC 7517 section 5), with a validator and `max-age` for caches (RFC 9111). */
export function jwksHandler({ material, metrics }: Context): RequestHandler {
  return (_request, response) => {
    const { body, etag, maxAgeSeconds } = material().jwks;
    response.set({
      'Cache-Control': `public, max-age=${maxAgeSeconds}`,
      'Content-Type': 'application/json; charset=utf-8',
      ETag: etag,
    });
    // Turns into a 304 here when If-None-Match has the validator.
    response.send(body);
    metrics.jwksServed(response.statusCode);
  };
}
