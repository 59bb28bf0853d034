import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { IssuerKey } from './api/names.ts';
import type { MacpAuthIssuerStatus } from './api/v1alpha1.ts';
import { type Condition, conditionTypes, reasons } from './status/conditions.ts';

/** The operator's metrics, all of them named here. */
export interface Metrics {
  registry: Registry;
  /** Records one reconcile: its result and duration in seconds. */
  observeReconcile(result: 'success' | 'superseded' | 'error', seconds: number): void;
  /** Records what status says of an issuer. */
  observeIssuer(key: IssuerKey, status: MacpAuthIssuerStatus): void;
  /** Records when an issuer's certificate expires, in milliseconds since the Unix epoch; undefined: it has none. */
  observeCertificate(key: IssuerKey, notAfter: number | undefined): void;
  /** Counts what a change of an issuer's conditions says of its rotations. */
  observeTransition(key: IssuerKey, before: readonly Condition[], after: readonly Condition[]): void;
  /** Forgets an issuer that is gone. */
  forgetIssuer(key: IssuerKey): void;
}

/** Makes the metrics in a registry of their own. `queueDepth` and `leads` are asked at each scrape. */
export function createMetrics(queueDepth: () => number, leads: () => boolean = () => true): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const reconciles = new Counter({
    name: 'macp_auth_operator_reconciles_total',
    help: 'Reconciles by result.',
    labelNames: ['result'],
    registers,
  });
  const duration = new Histogram({
    name: 'macp_auth_operator_reconcile_duration_seconds',
    help: 'Duration of reconciles.',
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 20],
    registers,
  });
  new Gauge({
    name: 'macp_auth_operator_queue_depth',
    help: 'Issuers that wait to be reconciled.',
    registers,
    collect() {
      this.set(queueDepth());
    },
  });
  new Gauge({
    name: 'macp_auth_operator_leader',
    help: 'Whether this operator works (1) or stands by (0).',
    registers,
    collect() {
      this.set(leads() ? 1 : 0);
    },
  });
  const condition = new Gauge({
    name: 'macp_auth_issuer_condition',
    help: 'Whether a condition of an issuer is True (1) or not (0).',
    labelNames: ['namespace', 'name', 'type'],
    registers,
  });
  // Unix time of something in an issuer's life.
  const instant = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['namespace', 'name'], registers });
  const signUntil = instant(
    'macp_auth_issuer_sign_until_timestamp_seconds',
    'When sidecars stop signing with the active key unless it is extended or replaced.',
  );
  const activeSince = instant(
    'macp_auth_issuer_active_key_timestamp_seconds',
    'Since when the active key signs.',
  );
  const nextRotation = instant(
    'macp_auth_issuer_next_rotation_timestamp_seconds',
    'When the active key is due to be replaced, or when the next one takes over once that is decided.',
  );
  const certificateEnd = instant(
    'macp_auth_issuer_certificate_not_after_timestamp_seconds',
    'When the certificate in the Secret of server.tls expires.',
  );
  const rotationFailures = new Counter({
    name: 'macp_auth_issuer_rotation_failures_total',
    help: 'Times that a rotation came to be held up, by the reason of the condition RotationOnTime.',
    labelNames: ['namespace', 'name', 'reason'],
    registers,
  });
  const setOrRemove = (gauge: Gauge, { namespace, name }: IssuerKey, time: string | undefined) => {
    if (time === undefined) gauge.remove({ namespace, name });
    else gauge.set({ namespace, name }, Date.parse(time) / 1000);
  };
  return {
    registry,
    observeReconcile(result, seconds) {
      reconciles.inc({ result });
      duration.observe(seconds);
    },
    observeIssuer(key, status) {
      const { namespace, name } = key;
      for (const type of conditionTypes) {
        const found = status.conditions?.find((candidate) => candidate.type === type);
        if (found) condition.set({ namespace, name, type }, found.status === 'True' ? 1 : 0);
        else condition.remove({ namespace, name, type });
      }
      const active = status.keys?.find(({ keyID }) => keyID === status.activeKeyID);
      setOrRemove(signUntil, key, active?.signUntilTime);
      setOrRemove(activeSince, key, active?.activeTime);
      setOrRemove(nextRotation, key, status.nextRotationTime);
    },
    observeCertificate({ namespace, name }, notAfter) {
      if (notAfter === undefined) certificateEnd.remove({ namespace, name });
      else certificateEnd.set({ namespace, name }, notAfter / 1000);
    },
    observeTransition({ namespace, name }, before, after) {
      const [was, is] = [before, after].map((some) => some.find(({ type }) => type === 'RotationOnTime'));
      if (is?.status !== 'False' || is.reason === was?.reason) return;
      rotationFailures.inc({ namespace, name, reason: is.reason });
    },
    forgetIssuer({ namespace, name }) {
      for (const type of conditionTypes) condition.remove({ namespace, name, type });
      for (const gauge of [signUntil, activeSince, nextRotation, certificateEnd])
        gauge.remove({ namespace, name });
      for (const reason of Object.keys(reasons.RotationOnTime))
        rotationFailures.remove({ namespace, name, reason });
    },
  };
}
