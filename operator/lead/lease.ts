import { type ApiClient, isStatus } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import type { LeaseSpec } from './decide.ts';

/** Where a Lease is. */
export interface LeaseName {
  namespace: string;
  name: string;
}

/** A Lease as it was read, with all that others wrote into it. */
export type Lease = KubeObject & { spec: LeaseSpec };

/** Reads the Lease; undefined: there is none. */
export async function readLease(
  client: ApiClient,
  { namespace, name }: LeaseName,
): Promise<Lease | undefined> {
  const object = await client.find(resources.leases, namespace, name);
  return object && asLease(object);
}

/**
 * Writes the Lease in place of what was read, or creates it where there was none. Resolves with undefined when another wrote
 * it meanwhile.
 */
export async function writeLease(
  client: ApiClient,
  { namespace, name }: LeaseName,
  before: Lease | undefined,
  spec: LeaseSpec,
): Promise<Lease | undefined> {
  const { apiVersion, kind } = resources.leases;
  try {
    return asLease(
      before
        ? await client.replace(resources.leases, { ...before, spec })
        : await client.create(resources.leases, namespace, {
            apiVersion,
            kind,
            metadata: { name, namespace },
            spec,
          }),
    );
  } catch (error) {
    // It exists already, is another version, or is gone.
    if (isStatus(error, 409) || (before && isStatus(error, 404))) return undefined;
    throw error;
  }
}

const asLease = (object: KubeObject): Lease => ({ ...object, spec: (object.spec as LeaseSpec) ?? {} });
