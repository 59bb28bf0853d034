import * as z from 'zod';
import { createAudit } from './audit.ts';
import { signerAt } from './contract/signer.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { aloneMaterial } from './keys/alone.ts';
import { FileError } from './keys/file-error.ts';
import type { Material } from './keys/material.ts';
import { createSignerMonitor } from './keys/monitor.ts';
import { followFiles } from './keys/watch.ts';
import { createLog, type Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { boundsFor, type Workload } from './mint/grant.ts';
import { refusalText } from './mint/refusals.ts';
import { createApp } from './server/app.ts';
import { createHealthApp } from './server/health.ts';
import { type Listener, listen } from './server/listen.ts';
import { StartError } from './start-error.ts';
import type { TLSEvents } from './tls/listen.ts';

// Files are read a few times in a life: parsers that are compiled first would take longer than they save.
z.config({ jitless: true });

const drainMilliseconds = 10_000;
const signerCheckMilliseconds = 2000;

async function run(): Promise<void> {
  const environment = readEnvironment(process.env);
  const log = createLog(environment.logLevel, endWithoutLog);
  const metrics = createMetrics();
  const listeners: Listener[] = [];
  const isDraining = drainOnSignal(listeners, log);

  const workload = { namespace: environment.podNamespace, serviceAccount: environment.serviceAccount };
  const material = await provideMaterial(environment, workload, log, metrics);
  const signerChosen = createSignerMonitor(log, metrics);
  const checkSigner = () => {
    const { mint } = material();
    if (mint !== undefined) signerChosen(signerAt(mint.keys, Date.now()));
  };
  checkSigner();
  // Also without requests: an end that comes near must show before the first agent meets it.
  setInterval(checkSigner, signerCheckMilliseconds).unref();

  const audit = createAudit(log, workload);
  const app = createApp({ material, now: Date.now, signerChosen, workload, audit, metrics });
  const main = await listen(app, environment.main, { port: 'PORT', address: 'MACP_AUTH_BIND_ADDRESS' });
  listeners.push(main);
  log.info({ event: 'listening', ...main.address }, 'listening');

  // Before health, which says that all is there.
  if (environment.tls !== undefined) {
    // Loaded only here: TLS takes 3 MiB, which a pod without it does not pay.
    const { listenTLS } = await import('./tls/listen.ts');
    const tls = await listenTLS(app, environment.tls, tlsEvents(environment.tls.directory, log, metrics));
    listeners.push(tls);
    log.info({ event: 'listening_tls', ...tls.address }, 'listening for HTTPS');
  }

  if (environment.health === undefined) return;
  const health = await listen(createHealthApp(metrics, isDraining), environment.health, {
    port: 'MACP_AUTH_HEALTH_PORT',
    address: 'MACP_AUTH_HEALTH_BIND_ADDRESS',
  });
  listeners.push(health);
  log.info({ event: 'listening', ...health.address }, 'listening for health and metrics');
}

function tlsEvents(directory: string, log: Log, metrics: Metrics): TLSEvents {
  const tlsMetrics = metrics.ofTLS();
  return {
    loaded({ certificate: { validToDate: notAfter, fingerprint256 } }) {
      tlsMetrics.loaded(fingerprint256, notAfter.getTime());
      const fields = { event: 'tls_loaded', directory, sha256: fingerprint256, notAfter };
      log.info(fields, 'mounted certificate in use');
    },
    broken(problem) {
      tlsMetrics.broken();
      const message =
        'the mounted certificate can not be used; the last good one, if there was one, stays in use';
      log.error({ event: 'tls_broken', directory, problem: problem.message }, message);
    },
  };
}

async function provideMaterial(
  { source }: Environment,
  workload: Workload,
  log: Log,
  metrics: Metrics,
): Promise<() => Material> {
  if (source.mode === 'alone') {
    const material = await aloneMaterial(source);
    metrics.loaded(material, Date.now());
    if (source.signingKeyJSON === undefined) {
      log.warn(
        { event: 'ephemeral_key' },
        'MACP_AUTH_SIGNING_KEY_JSON is not set: the key is ephemeral, and its tokens are worthless after a restart',
      );
    }
    return () => material;
  }
  const { directory } = source;
  try {
    return await followFiles(directory, {
      loaded(material) {
        metrics.loaded(material, Date.now());
        const { revision, jwks } = material;
        log.info({ event: 'files_loaded', directory, revision, kids: jwks.kids }, 'mounted files in use');
        warnWithoutGrant(material, workload, log);
      },
      broken(problem) {
        metrics.filesBroken();
        const message = 'the mounted files can not be used; the last good ones stay in use';
        log.error({ event: 'files_broken', directory, problem: problem.message }, message);
      },
    });
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new StartError(`files of MACP_AUTH_FILES_DIR (${directory}): ${error.message}`);
  }
}

// At once, rather than with the first mint that fails.
function warnWithoutGrant({ mint }: Material, workload: Workload, log: Log): void {
  const bounds = boundsFor(mint?.grants, workload);
  if (bounds === undefined || !('refused' in bounds)) return;
  log.warn({ event: 'no_grant', problem: refusalText(bounds) }, 'every mint is refused');
}

/** Lets SIGTERM and SIGINT end the program in good order; returns whether that has begun. */
function drainOnSignal(listeners: readonly Listener[], log: Log): () => boolean {
  let draining = false;
  const drain = async (signal: NodeJS.Signals) => {
    if (draining) return;
    draining = true;
    log.info({ event: 'draining', signal }, 'shutting down');
    setTimeout(() => process.exit(1), drainMilliseconds).unref();
    // In order: health answers until the last token is out.
    for (const listener of listeners) await listener.drain();
    process.exit(0);
  };
  process.on('SIGTERM', drain);
  process.on('SIGINT', drain);
  return () => draining;
}

// At once, in the midst of the request whose line it was: no token is handed out that is not in the audit log.
function endWithoutLog(code: string): never {
  return fail(
    `the log can't be written to standard output (${code}): give it a reader, or room where it is a file`,
  );
}

function fail(problem: string): never {
  process.stderr.write(`macp-auth: ${problem.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

// Not awaited at the top level, which the bundle's format does not have.
run().catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));
