import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type IssuerKey, issuerLabel, type MacpAuthIssuer } from '../../../operator/api/names.ts';
import { startInformer } from '../../../operator/cluster/informer.ts';
import { resources } from '../../../operator/cluster/resources.ts';
import type { AuditEvent } from '../../controlplane/audit.ts';
import { isWrite } from '../../controlplane/audit.ts';
import type { BenchCluster } from './cluster.ts';
import { asIssuer, conditionOf } from './issuers.ts';

const quietMs = 5_000;
const patienceMs = 900_000;

/** Sees each issuer as it becomes what it should be; polling would burden the API server that is measured. */
export interface IssuerWatch {
  /** Resolves with the instant (milliseconds since the Unix epoch) at which the last of them came to be so. */
  until(what: string, keys: readonly IssuerKey[], is: (issuer: MacpAuthIssuer) => boolean): Promise<number>;
  stop(): void;
}

/** Begins to follow all issuers of a cluster. */
export function watchIssuers({ client }: BenchCluster): IssuerWatch {
  const stopping = new AbortController();
  let check = () => {};
  const informer = startInformer<MacpAuthIssuer>({
    client,
    resource: resources.issuers,
    namespace: undefined,
    onChange: () => check(),
    log: pino({ level: 'silent' }),
    signal: stopping.signal,
  });
  return {
    until(what, keys, is) {
      const wanted = new Map(keys.map((key) => [issuerLabel(key), key]));
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          const [left] = wanted.values();
          const example = left && JSON.stringify(informer.get(left.namespace, left.name)?.status);
          reject(
            new Error(`${what}: ${wanted.size} issuers are not after ${patienceMs / 1000} s: ${example}`),
          );
        }, patienceMs);
        check = () => {
          for (const [label, { namespace, name }] of wanted) {
            const issuer = informer.get(namespace, name);
            if (issuer && is(asIssuer(issuer as never))) wanted.delete(label);
          }
          if (wanted.size > 0) return;
          clearTimeout(timer);
          check = () => {};
          resolve(Date.now());
        };
        check();
      });
    },
    stop: () => stopping.abort(),
  };
}

/** Whether keys, objects and status are all there. Servers, which nobody starts here, are not waited for. */
export function isSetUp(issuer: MacpAuthIssuer): boolean {
  const { status, metadata } = issuer;
  return (
    status?.observedGeneration === metadata.generation &&
    status.keys?.length === 3 &&
    conditionOf(issuer, 'Distributed')?.status === 'True' &&
    ['ServerStarting', 'ServerAvailable'].includes(conditionOf(issuer, 'ServerAvailable')?.reason ?? '')
  );
}

/** Whether it is Ready and every server gives out all keys. */
export const isReady = (issuer: MacpAuthIssuer): boolean =>
  conditionOf(issuer, 'Ready')?.status === 'True' && conditionOf(issuer, 'Published')?.status === 'True';

/** Waits until the operator has written nothing for some seconds; resolves with all that it asked until then. */
export async function untilQuiet(cluster: BenchCluster, since: number): Promise<AuditEvent[]> {
  const next = cluster.followOperator();
  for (let quietSince = Date.now(); Date.now() - quietSince < quietMs; await sleep(500)) {
    if ((await next()).some(isWrite)) quietSince = Date.now();
  }
  return cluster.operatorRequests(since);
}
