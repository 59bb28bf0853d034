import { createHash } from 'node:crypto';
import { annotations, issuerLabel, labels, type MacpAuthIssuer } from '../api/names.ts';
import { revisionOf } from '../build/metadata.ts';
import { type ApiClient, isStatus } from '../cluster/client.ts';
import type { KubeObject, Resource } from '../cluster/resources.ts';
import { covers } from './covers.ts';

/** An object of ours should have this name, but a stranger's has it. Nothing was written. */
export class NameConflict extends Error {}

/** The world moved on while we looked: observe again. Nothing was lost. */
export class Superseded extends Error {}

/** What applying one object needs to know. */
export interface ApplyRequest {
  client: ApiClient;
  issuer: MacpAuthIssuer;
  resource: Resource;
  desired: KubeObject;
  /** The object in the cache, which may lag or lack it. */
  observed: KubeObject | undefined;
}

/**
 * Brings a child to its desired state by server-side apply; writes nothing when it is there already.
 *
 * @throws NameConflict when the name is taken by an object that is not this issuer's
 */
export async function applyChild({
  client,
  issuer,
  resource,
  desired,
  observed,
}: ApplyRequest): Promise<void> {
  const stamped = withHash(desired);
  if (observed && covers(observed, stamped)) return;
  // The cache holds labelled objects only: a stranger's object would be invisible in it.
  const { namespace, name } = desired.metadata;
  const current = observed ?? (await client.find(resource, namespace, name));
  if (current) refuseForeign(current, desired, issuer);
  if (current && covers(current, stamped)) return;
  await client.apply(resource, stamped);
}

/**
 * As {@link applyChild}, for an object that derives from the keyring: it is created by POST and updated with its
 * resourceVersion, and never goes back to a lower revision, so that a paused operator cannot undo a newer state.
 *
 * @throws NameConflict when the name is taken by an object that is not this issuer's
 * @throws Superseded when it derives from a newer keyring, or changed meanwhile
 */
export async function applyDerived({
  client,
  issuer,
  resource,
  desired,
  observed,
}: ApplyRequest): Promise<void> {
  const stamped = withHash(desired);
  if (observed && covers(observed, stamped)) return;
  const { namespace, name } = desired.metadata;
  try {
    if (!observed) {
      await client.create(resource, namespace, stamped);
      return;
    }
  } catch (error) {
    if (!isStatus(error, 409)) throw error;
  }
  const current = await client.find(resource, namespace, name);
  if (!current) throw new Superseded(`${resource.kind} ${name} went away meanwhile`);
  refuseForeign(current, desired, issuer);
  if (covers(current, stamped)) return;
  if (revisionOf(current) > revisionOf(desired)) {
    throw new Superseded(`${resource.kind} ${name} derives from a newer keyring`);
  }
  const { uid, resourceVersion } = current.metadata as { uid: string; resourceVersion: string };
  try {
    await client.apply(resource, { ...stamped, metadata: { ...stamped.metadata, uid, resourceVersion } });
  } catch (error) {
    if (isStatus(error, 409)) throw new Superseded(`${resource.kind} ${name} changed meanwhile`);
    throw error;
  }
}

function refuseForeign(current: KubeObject, desired: KubeObject, issuer: MacpAuthIssuer): void {
  if (isOurs(current, desired, issuer)) return;
  const { namespace, name } = current.metadata;
  throw new NameConflict(
    `${current.kind} ${namespace}/${name} exists and is not this issuer's: delete or rename it, or give the issuer another name`,
  );
}

/** Whether an object is this issuer's: by its label, its owner, or the type of Secret that only we make. */
export function isOurs(current: KubeObject, desired: { [member: string]: unknown }, issuer: MacpAuthIssuer): boolean {
  if (current.metadata.labels?.[labels.issuer] === issuerLabel(issuer.metadata)) return true;
  if (current.metadata.ownerReferences?.some(({ uid }) => uid === issuer.metadata.uid)) return true;
  return desired.type !== undefined && current.type === desired.type;
}

// A field that we stop setting would be invisible to a comparison that only looks at what we set.
function withHash(desired: KubeObject): KubeObject {
  const hash = createHash('sha256').update(JSON.stringify(desired)).digest('base64url').slice(0, 16);
  const { metadata } = desired;
  return {
    ...desired,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [annotations.appliedHash]: hash } },
  };
}
