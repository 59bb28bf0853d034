import { randomBytes } from 'node:crypto';
import { copyFile, readFile } from 'node:fs/promises';
import { decodeJwt } from 'jose';
import type { KubeObject } from '../../operator/cluster/resources.ts';
import { resources } from '../../operator/cluster/resources.ts';
import type { LeaseSpec } from '../../operator/lead/decide.ts';
import { type AuditEvent, isWrite } from '../controlplane/audit.ts';
import { type OperatorProcess, sidecarImage } from '../support/operator.ts';
import { type Bench, eventually } from './support.ts';

/** The Lease that the shipped permissions are about. */
export const leaseName = 'macp-auth-operator';

/** One of several operators of the same ServiceAccount. */
export interface Candidate {
  process: OperatorProcess;
  /** Whether a request was its, and none of another's: each has a token of its own. */
  isIts(event: AuditEvent): boolean;
  /** Its writes that the API server had the first word of at this time or later, in milliseconds since the Unix epoch. */
  writesSince(time: number): Promise<AuditEvent[]>;
  /** An answer of its health port. */
  get(path: string): Promise<Response>;
  /** Whether its metric says that it leads; false when it does not answer. */
  leads(): Promise<boolean>;
}

/** Starts an operator for the bench's namespace that campaigns for a Lease in a namespace, with further variables. */
export async function startCandidate(
  bench: Bench,
  leaseNamespace: string,
  env: Record<string, string> = {},
): Promise<Candidate> {
  const shared = await bench.kubeconfigOf('macp-auth-operator');
  const kubeconfig = `${shared}.${randomBytes(3).toString('hex')}`;
  await copyFile(shared, kubeconfig);
  const { users } = JSON.parse(await readFile(kubeconfig, 'utf8'));
  const credential = `JTI=${decodeJwt(users[0].user.token).jti}`;
  const process = bench.operator(
    [
      ...['--sidecar-image', sidecarImage],
      ...['--leader-elect', 'true', '--leader-elect-resource-namespace', leaseNamespace],
    ],
    kubeconfig,
    env,
  );
  const line = await eventually('the start', async () =>
    process
      .output()
      .split('\n')
      .find((one) => one.includes('"started"')),
  );
  const { healthPort } = JSON.parse(line);
  const isIts = ({ user }: AuditEvent) =>
    user.extra?.['authentication.kubernetes.io/credential-id']?.includes(credential) ?? false;
  const get = (path: string) => fetch(`http://127.0.0.1:${healthPort}${path}`);
  return {
    process,
    isIts,
    writesSince: (time) =>
      bench.cluster.readAudit(
        (event) => isIts(event) && isWrite(event) && Date.parse(event.requestReceivedTimestamp) >= time,
      ),
    get,
    async leads() {
      try {
        return /^macp_auth_operator_leader 1$/m.test(await (await get('/metrics')).text());
      } catch {
        return false;
      }
    },
  };
}

/** Waits until a candidate leads. */
export const leading = (candidate: Candidate, seconds = 30): Promise<boolean> =>
  eventually('a leader', candidate.leads, seconds);

/** The Lease's spec. */
export async function readLeaseSpec({ client }: Bench, namespace: string): Promise<LeaseSpec> {
  const { spec } = await client.get<KubeObject & { spec: LeaseSpec }>(resources.leases, namespace, leaseName);
  return spec;
}

/** What was asked of which kind, for a comparison. */
export const inShort = ({ verb, objectRef, responseStatus }: AuditEvent): string =>
  `${verb} ${objectRef?.resource} ${objectRef?.name ?? ''} ${responseStatus?.code}`;
