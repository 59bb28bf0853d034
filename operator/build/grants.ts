import type { Grant } from '../../sidecar/contract/grants.ts';
import { durationMs } from '../api/duration.ts';
import type { MacpAuthIssuerSpec } from '../api/v1alpha1.ts';

type SpecGrant = NonNullable<NonNullable<MacpAuthIssuerSpec['agents']>['grants']>[number];

/**
 * The grants of an issuer for the agent Secret of one namespace, in the order of the spec. Those of other namespaces
 * are left out: who reads this Secret need not learn who lives there. So there may be grants and none for this
 * namespace: an empty list, with which nothing is minted there.
 *
 * @returns undefined where the issuer has no grants, so that nothing is bounded.
 */
export function grantsFor({ agents }: MacpAuthIssuerSpec, namespace: string): Grant[] | undefined {
  return agents?.grants
    ?.filter(({ namespaces }) => namespaces?.includes(namespace) ?? true)
    .map((grant) => fileGrant(grant, namespace));
}

function fileGrant({ maxTTL, namespaces, ...rest }: SpecGrant, namespace: string): Grant {
  return {
    ...rest,
    ...(namespaces && { namespaces: [namespace] }),
    ...(maxTTL !== undefined && { maxTTLSeconds: durationMs(maxTTL) / 1000 }),
  };
}
