import { type Grant, senderPlaceholder } from '../contract/grants.ts';
import { workloadVariables } from '../environment.ts';
import type { Refusal } from './refusals.ts';

/** Which workload this program mints for, as the downward API says. */
export interface Workload {
  namespace: string | undefined;
  serviceAccount: string | undefined;
}

/** What a grant bounds, for one workload: `sender` is spelt out. */
export type Bounds = Pick<Grant, 'sender' | 'scopes' | 'maxTTLSeconds' | 'mintsPerMinute'>;

/**
 * The bounds of a workload: those of the first grant whose namespaces and ServiceAccounts both have it.
 *
 * @param grants undefined where nothing is bounded, as in the reference service; so is the result then.
 * @returns a refusal of every mint when there are grants and none matches, or it is not known for whom.
 */
export function boundsFor(
  grants: readonly Grant[] | undefined,
  workload: Workload,
): Bounds | Refusal | undefined {
  if (grants === undefined) return undefined;
  const { namespace, serviceAccount } = workload;
  if (namespace === undefined || serviceAccount === undefined) {
    return { refused: 'no_identity', detail: missingVariables(workload) };
  }
  const first = grants.find(
    (grant) => has(grant.namespaces, namespace) && has(grant.serviceAccounts, serviceAccount),
  );
  if (first === undefined) {
    const detail = `namespace "${namespace}", ServiceAccount "${serviceAccount}"`;
    return { refused: 'no_grant', detail };
  }
  const values = { namespace, serviceAccount };
  const sender = first.sender?.replaceAll(
    senderPlaceholder,
    (_whole, name: keyof typeof values) => values[name],
  );
  const { scopes, maxTTLSeconds, mintsPerMinute } = first;
  return { sender, scopes, maxTTLSeconds, mintsPerMinute };
}

const has = (names: readonly string[] | undefined, name: string): boolean => names?.includes(name) ?? true;

function missingVariables(workload: Workload): string {
  const missing = (['namespace', 'serviceAccount'] as const)
    .filter((member) => workload[member] === undefined)
    .map((member) => workloadVariables[member]);
  return `${missing.join(' and ')} must be set from the downward API`;
}
