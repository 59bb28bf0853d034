import { setTimeout as sleep } from 'node:timers/promises';
// Part by part: the whole of prom-client pushes metrics too, by HTTPS, and TLS alone is 3 MiB in every pod.
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import type { SignerChoice } from './contract/signer.ts';
import type { SigningKey } from './keys/key.ts';
import type { Material } from './keys/material.ts';
import { type RefusalCode, refusals } from './mint/refusals.ts';

/** All metrics of the program, and the few moments at which they change. */
export type Metrics = ReturnType<typeof createMetrics>;

/** Creates the metrics in a registry of their own. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  let ofProcess: Promise<void> | undefined;

  const minted = new Counter({
    name: 'macp_auth_tokens_minted_total',
    help: 'Tokens signed, by algorithm.',
    labelNames: ['alg'],
    registers,
  });
  const refused = new Counter({
    name: 'macp_auth_requests_refused_total',
    help: 'Requests to the mint that were refused, by reason.',
    labelNames: ['reason'],
    registers,
  });
  for (const reason of Object.keys(refusals)) refused.inc({ reason }, 0);
  const mintSeconds = new Histogram({
    name: 'macp_auth_mint_duration_seconds',
    help: 'Time from a parsed request to its signed token.',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers,
  });
  const jwksServed = new Counter({
    name: 'macp_auth_jwks_requests_total',
    help: 'Answers with the JWK Set, by HTTP status (304 when it was not modified).',
    labelNames: ['status'],
    registers,
  });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const jwksKeys = gauge('macp_auth_jwks_keys', 'Public keys in the served JWK Set.');
  const revision = gauge('macp_auth_files_revision', 'Revision of the mounted files in use.');
  const loadedAt = gauge(
    'macp_auth_files_loaded_timestamp_seconds',
    'When the mounted files in use were read, in seconds since the epoch.',
  );
  const broken = gauge(
    'macp_auth_files_broken',
    'Whether the mounted files as they are now can not be used, so that an earlier version stays in use (1) or not (0).',
  );
  const problems = new Counter({
    name: 'macp_auth_files_problems_total',
    help: 'Distinct problems found in the mounted files since the start.',
    registers,
  });
  // By key, so that there is no series where nothing signs: an unlabelled gauge starts at 0, which would say that
  // the signer has ended.
  const signerGauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['kid', 'alg'], registers });
  const usable = signerGauge(
    'macp_auth_signer_usable',
    'Whether the key in charge may sign (1) or has ended (0).',
  );
  const signUntil = signerGauge(
    'macp_auth_signer_sign_until_timestamp_seconds',
    'When the key in charge stops signing, in seconds since the epoch; +Inf when never.',
  );

  return {
    contentType: registry.contentType,
    /** All metrics as Prometheus reads them, those of the Node.js process among them. */
    async text(): Promise<string> {
      // From the first time on: they take a timer and an observer, which a pod that nobody asks does without.
      ofProcess ??= collectOfProcess(registry);
      await ofProcess;
      return registry.metrics();
    },
    minted(alg: string, seconds: number) {
      minted.inc({ alg });
      mintSeconds.observe(seconds);
    },
    refused: (reason: RefusalCode) => refused.inc({ reason }),
    jwksServed: (status: number) => jwksServed.inc({ status }),
    /** @param now milliseconds since the epoch. */
    loaded(material: Material, now: number) {
      jwksKeys.set(material.jwks.kids.length);
      if (material.revision === undefined) return;
      revision.set(material.revision);
      loadedAt.set(now / 1000);
      broken.set(0);
    },
    filesBroken() {
      problems.inc();
      broken.set(1);
    },
    /** The metrics of the certificate, which only a program has that serves one. */
    ofTLS: () => createTLSMetrics(registers),
    signerChanged({ key: { kid, alg, signUntil: end }, state }: SignerChoice<SigningKey>) {
      usable.reset();
      usable.set({ kid, alg }, state === 'ended' ? 0 : 1);
      signUntil.reset();
      signUntil.set({ kid, alg }, end / 1000);
    },
  };
}

// Made only where a certificate is served.
function createTLSMetrics(registers: Registry[]) {
  const broken = new Gauge({
    name: 'macp_auth_tls_broken',
    help: 'Whether the mounted certificate as it is now can not be used, so that an earlier one or none is served (1) or not (0).',
    registers,
  });
  const problems = new Counter({
    name: 'macp_auth_tls_problems_total',
    help: 'Distinct problems found in the mounted certificate since the start.',
    registers,
  });
  // By certificate, so that there is no series, and so no end in 1970, where none is served.
  const notAfter = new Gauge({
    name: 'macp_auth_tls_certificate_not_after_timestamp_seconds',
    help: 'When the served certificate expires, in seconds since the epoch, by its SHA-256 fingerprint.',
    labelNames: ['sha256'],
    registers,
  });
  return {
    /** @param end milliseconds since the epoch. */
    loaded(sha256: string, end: number) {
      broken.set(0);
      notAfter.reset();
      notAfter.set({ sha256 }, end / 1000);
    },
    broken() {
      problems.inc();
      broken.set(1);
    },
  };
}

async function collectOfProcess(register: Registry): Promise<void> {
  const collect = await import('prom-client/lib/defaultMetrics.js');
  collect.default({ register });
  // It observes the event loop each 10 ms, from one turn to the next. Without an observation there are only NaN and
  // 292 years; after two pauses there is one, however busy the machine is.
  await sleep(20);
  await sleep(20);
}
