import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { pino } from 'pino';
import { Superseded } from './api/errors.ts';
import { leaveNamespace } from './apply/finalize.ts';
import { ApiClient, briefly } from './cluster/client.ts';
import { createLimiter, requestsAtATime } from './cluster/limiter.ts';
import { WorkQueue } from './cluster/queue.ts';
import { ConfigError, readConfig } from './config.ts';
import { type Campaign, startCampaign } from './lead/campaign.ts';
import { defaultTiming } from './lead/decide.ts';
import { createMetrics } from './metrics.ts';
import { isTrusted, mayHaveAgents } from './observe/agents.ts';
import { tellOldCRD } from './observe/crd.ts';
import { askExternal, createExternalURLs } from './observe/external.ts';
import { readNamespace } from './observe/namespaces.ts';
import { askDirectly, askThroughProxy } from './observe/probe.ts';
import { askCertificateDirectly, askCertificateThroughProxy } from './observe/tls.ts';
import { followWorld } from './observe/world.ts';
import { tellOrphans } from './orphans.ts';
import { type Context, reconcile } from './reconcile.ts';
import { serve } from './serve.ts';

const concurrency = 8;
/** How long the operator takes to let issuers go at its own end. */
const leavingMs = 5_000;
/** How long the caches may take before work begins without those that cannot be filled. */
const syncPatienceMs = 10_000;

function loadKubeConfig(path: string | undefined): KubeConfig {
  const kubeConfig = new KubeConfig();
  try {
    if (path === undefined) kubeConfig.loadFromDefault();
    else kubeConfig.loadFromFile(path);
  } catch (error) {
    throw new ConfigError(`the kubeconfig cannot be used: ${(error as Error).message}`);
  }
  return kubeConfig;
}

async function start(): Promise<void> {
  const config = readConfig(process.argv.slice(2), process.env);
  const log = pino({
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const kubeConfig = loadKubeConfig(config.kubeconfig);
  const { leaderElection } = config;
  let campaign: Campaign | undefined;
  const leads = () => !leaderElection || campaign?.leads() === true;
  const client = new ApiClient(kubeConfig, {
    beforeWrite: () => {
      if (!leads()) throw new Superseded('this operator does not lead, so it writes nothing');
    },
  });
  const stopping = new AbortController();
  const { signal } = stopping;

  const keyOf = (text: string) => {
    const [namespace = '', name = ''] = text.split('/');
    return { namespace, name };
  };
  const queue: WorkQueue = new WorkQueue({
    concurrency,
    work: (text) => work(text),
    onError: (text, error) => {
      const fields = { issuer: text, reason: (error as Error).message };
      if (error instanceof Superseded) log.debug(fields, 'observing again');
      else log.error(fields, 'reconcile failed; trying again');
    },
  });
  const metrics = createMetrics(() => queue.depth, leads);
  let started = false;
  const waiting = new Set<string>();
  const world = followWorld({
    client,
    namespaces: config.namespaces,
    log,
    signal,
    onChange: ({ namespace, name }) => {
      const text = `${namespace}/${name}`;
      if (started) queue.add(text);
      else waiting.add(text);
    },
  });
  const isProxied = config.probe === 'proxy';
  const context: Context = {
    client,
    world,
    askPod: isProxied ? askThroughProxy(client) : askDirectly(),
    askCertificate: isProxied ? askCertificateThroughProxy(client) : askCertificateDirectly(),
    externalURLs: config.externalProbe
      ? createExternalURLs({
          ask: askExternal,
          now: Date.now,
          changed: ({ namespace, name }) => queue.add(`${namespace}/${name}`),
        })
      : undefined,
    sidecarImage: config.sidecarImage,
    watchedNamespaces: config.namespaces,
    trustedNamespaces: config.trustedNamespaces,
    clean: new Set(),
    limit: createLimiter(requestsAtATime),
    answers: new Map(),
    untold: new Set(),
    now: Date.now,
    metrics,
    log,
  };

  async function work(text: string): Promise<number | undefined> {
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1000;
    try {
      const again = await reconcile(context, keyOf(text));
      metrics.observeReconcile('success', seconds());
      if (!world.issuer(keyOf(text))) metrics.forgetIssuer(keyOf(text));
      return again;
    } catch (error) {
      metrics.observeReconcile(error instanceof Superseded ? 'superseded' : 'error', seconds());
      throw error;
    }
  }

  const server = await serve({
    address: config.healthAddress,
    port: config.healthPort,
    registry: metrics.registry,
    notReady: () => {
      if (signal.aborted) return 'stopping';
      if (!world.synced()) return world.problem() ?? 'the caches are being filled';
      // One that stands by is ready: it is there to take over, and a rollout waits for it.
      return leaderElection && !campaign?.hasLooked() ? 'the Lease could not be read yet' : undefined;
    },
  });

  // Once it has ended, nobody lets issuers go that lie in the same namespace, and that could never end.
  async function leave(): Promise<void> {
    const { ownNamespace, namespaces: watchedNamespaces } = config;
    if (ownNamespace === undefined || !leads()) return;
    if (watchedNamespaces?.includes(ownNamespace) === false) return;
    try {
      if (!(await readNamespace(client, ownNamespace))?.terminating) return;
      const issuers = world.issuers().filter(({ metadata }) => metadata.namespace === ownNamespace);
      await Promise.all(
        issuers.map((issuer) =>
          leaveNamespace({ client, issuer, watchedNamespaces }).catch((error) =>
            log.warn({ issuer: issuer.metadata.name, reason: briefly(error) }, 'the issuer was not let go'),
          ),
        ),
      );
    } catch (error) {
      log.warn({ reason: briefly(error) }, 'whether its namespace goes could not be read');
    }
  }

  // Whatever came while another led is looked at anew.
  function begin(): void {
    if (signal.aborted) return;
    tellOrphans({
      client,
      namespaces: config.namespaces,
      knowsIssuers: world.knowsIssuers,
      issuer: world.issuer,
      selects: (issuer, namespace) => mayHaveAgents(world, issuer, config.trustedNamespaces, namespace),
      isTrusted: (issuer) => isTrusted(issuer, config.trustedNamespaces),
      now: Date.now,
      log,
      signal,
    });
    started = true;
    for (const text of waiting) queue.add(text);
    waiting.clear();
  }

  const stop = async (name: NodeJS.Signals) => {
    if (signal.aborted) return;
    log.info({ signal: name }, 'stopping');
    stopping.abort();
    await queue.stop();
    await Promise.race([leave(), sleep(leavingMs, undefined, { ref: false })]);
    // Last, since another begins at once.
    await campaign?.end();
    server.closeAllConnections();
    server.close();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  log.info(
    {
      namespaces: config.namespaces ?? 'all',
      trustedNamespaces: config.trustedNamespaces,
      healthPort: (server.address() as AddressInfo).port,
      probe: config.probe,
      externalProbe: config.externalProbe,
      leaderElection,
    },
    'started',
  );
  void tellOldCRD({ client, log, signal });
  // Without its cache an object is looked up live, so a kind that cannot be followed must not stop the others.
  for (
    const deadline = Date.now() + syncPatienceMs;
    !world.synced() && Date.now() < deadline && !signal.aborted;
  ) {
    await sleep(20, undefined, { signal }).catch(() => {});
  }
  if (signal.aborted) return;
  if (!leaderElection) {
    begin();
    return;
  }
  campaign = startCampaign({
    client: new ApiClient(kubeConfig, { timeoutMs: defaultTiming.renewDeadlineMs / 2 }),
    lease: leaderElection,
    identity: `${hostname()}_${randomUUID()}`,
    timing: defaultTiming,
    onLeading: begin,
    // It has to start anew, with nothing in flight and nothing that it believes of itself.
    onLost: (reason) => {
      log.fatal({ reason }, 'no longer leading');
      process.exit(1);
    },
    log,
  });
}

// Not awaited at the top level, which the bundle's format does not have.
start().catch((error: Error) => {
  process.stderr.write(`macp-auth-operator: ${error.message}\n`);
  process.exit(1);
});
