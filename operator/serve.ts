import type { Server } from 'node:http';
import express from 'express';
import type { Registry } from 'prom-client';

/** What the operator's own endpoints need. */
export interface ServeOptions {
  address: string | undefined;
  port: number;
  registry: Registry;
  /** Why the operator is not ready, or undefined when it is. */
  notReady: () => string | undefined;
}

/** Serves `/healthz`, `/readyz` and `/metrics`; resolves when it listens, rejects when it cannot. */
export function serve({ address, port, registry, notReady }: ServeOptions): Promise<Server> {
  const app = express().disable('x-powered-by');
  app.get('/healthz', (_request, response) => {
    response.json({ ok: true });
  });
  app.get('/readyz', (_request, response) => {
    const reason = notReady();
    response
      .status(reason === undefined ? 200 : 503)
      .json(reason === undefined ? { ok: true } : { ok: false, reason });
  });
  app.get('/metrics', async (_request, response) => {
    response.type(registry.contentType).send(await registry.metrics());
  });
  return new Promise((resolve, reject) => {
    const server = app.listen(port, address ?? '::', (error?: Error) =>
      error ? reject(error) : resolve(server),
    );
  });
}
