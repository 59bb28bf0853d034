import express, { type Express } from 'express';
import type { Metrics } from '../metrics.ts';

/**
 * The listener for kubelet and Prometheus. Ready means that the files were read, which holds from the moment
 * that it listens, and that the program is not on its way out. A signing key that ended is not wired to it: an
 * agent's own Service must not lose its endpoints by it.
 *
 * @param isDraining whether the program is shutting down.
 */
export function createHealthApp(metrics: Metrics, isDraining: () => boolean): Express {
  const app = express();
  app.disable('x-powered-by');
  app.get('/healthz', (_request, response) => {
    response.json({ ok: true });
  });
  app.get('/readyz', (_request, response) => {
    if (isDraining()) response.status(503).json({ ok: false, reason: 'shutting down' });
    else response.json({ ok: true });
  });
  app.get('/metrics', async (_request, response) => {
    response.set('Content-Type', metrics.contentType).send(await metrics.text());
  });
  return app;
}
