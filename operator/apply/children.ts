import { createHash } from 'node:crypto';
import { NameConflict, Superseded } from '../api/errors.ts';
import { annotations, type MacpAuthIssuer } from '../api/names.ts';
import { generationOf, isOurs, revisionOf, withGenerationOf } from '../build/metadata.ts';
import { type ApiClient, isStatus } from '../cluster/client.ts';
import { type KubeObject, type Resource, resources } from '../cluster/resources.ts';
import { covers } from './covers.ts';

/** What applying one object needs to know. */
export interface ApplyRequest {
  client: ApiClient;
  issuer: MacpAuthIssuer;
  resource: Resource;
  desired: KubeObject;
  /** The object in the cache, which may lag or lack it. */
  observed: KubeObject | undefined;
  answers: Answers;
  /**
   * Tells the keyring's revision now. For an object in a namespace of others, who could name any revision: only the
   * keyring proves that there is a newer one.
   */
  keyringRevision?: () => Promise<number>;
}

/**
 * What the API server made of our applies, by object. An admission policy may have the last word on a field: what it
 * made of our apply is as good as it gets, and applying again would never end.
 */
export type Answers = Map<string, string>;

/**
 * Brings a child to its desired state by server-side apply; writes nothing when it is there already.
 *
 * @throws NameConflict when the name is taken by an object that is not this issuer's
 */
export async function applyChild(request: ApplyRequest): Promise<void> {
  const { client, issuer, resource, observed } = request;
  const desired = withHash(request.desired);
  if (observed && isSettled(request, observed, desired)) return;
  // The cache holds labelled objects only: a stranger's object would be invisible in it.
  const { namespace, name } = desired.metadata;
  const current = observed ?? (await client.find(resource, namespace, name));
  if (current) {
    refuseForeign(current, desired, issuer);
    if (isSettled(request, current, desired)) return;
  }
  const answer = await client.apply(resource, desired).catch((error) => {
    if (!current || !isStatus(error, 422)) throw error;
    return undefined;
  });
  if (answer && (!current || covers(answer, desired))) {
    remember(request, desired, answer);
    return;
  }
  // Apply takes back neither an edit of a list's key, such as a Service's port, nor what others added to a list. A
  // merge patch replaces lists as a whole.
  await client.mergePatch(resource, namespace, name, { spec: desired.spec });
  remember(request, desired, await client.apply(resource, desired));
}

/** What {@link applyDerived} wrote. */
export interface Written {
  resourceVersion: string;
  /** Pods that wait for it start with it. */
  created: boolean;
  /** Otherwise nothing but its metadata changed, which running pods need not take up. */
  filesChanged: boolean;
}

/**
 * As {@link applyChild}, for an object that derives from the keyring: it is created by POST and updated with its
 * resourceVersion, and never goes back to a lower revision or to an older spec, so that a paused operator cannot undo a
 * newer state. Resolves with undefined when there was nothing to write.
 *
 * @throws NameConflict when the name is taken by an object that is not this issuer's
 * @throws Superseded when it derives from a newer keyring or spec, or changed meanwhile
 */
export async function applyDerived(request: ApplyRequest): Promise<Written | undefined> {
  const { client, issuer, resource, observed } = request;
  const desired = withHash(request.desired);
  if (observed && isSettledSince(request, observed, desired)) return undefined;
  const { namespace, name } = desired.metadata;
  if (!observed) {
    try {
      const created = await client.create(resource, namespace, desired);
      remember(request, desired, created);
      return {
        resourceVersion: created.metadata.resourceVersion as string,
        created: true,
        filesChanged: true,
      };
    } catch (error) {
      // It exists already: the cache lags, or lacks it since it is a stranger's.
      if (!isStatus(error, 409)) throw error;
    }
  }
  const current = await client.find(resource, namespace, name);
  if (!current) throw new Superseded(`${resource.kind} ${name} went away meanwhile`);
  refuseForeign(current, desired, issuer);
  if (isSettledSince(request, current, desired)) return undefined;
  const revision = revisionOf(desired);
  if (revisionOf(current) > revision && ((await request.keyringRevision?.()) ?? Infinity) > revision) {
    throw new Superseded(`${resource.kind} ${name} derives from a newer keyring`);
  }
  if (claimsNewerSpec(current, issuer) && (await isOlderSpec(client, issuer))) {
    throw new Superseded(`${resource.kind} ${name} derives from a newer spec`);
  }
  try {
    const { uid, resourceVersion } = await disown(client, resource, current, desired);
    const metadata = { ...desired.metadata, uid, resourceVersion };
    const applied = await client.apply(resource, { ...desired, metadata } as KubeObject);
    remember(request, desired, applied);
    const filesChanged = !covers({ data: current.data }, { data: desired.data });
    return { resourceVersion: applied.metadata.resourceVersion as string, created: false, filesChanged };
  } catch (error) {
    if (isStatus(error, 409)) throw new Superseded(`${resource.kind} ${name} changed meanwhile`);
    throw error;
  }
}

/**
 * Whether an object is settled, or would be if it did not name an earlier generation of the spec. That may stay where
 * everything was current for the generation before this one, and so, step by step, since the one that it names: no
 * spec with other files lies between, which an operator that lags could take for newer.
 */
function isSettledSince(request: ApplyRequest, current: KubeObject, desired: KubeObject): boolean {
  if (isSettled(request, current, desired)) return true;
  const { metadata, status } = request.issuer;
  const distributed = status?.conditions?.find(({ type }) => type === 'Distributed');
  const wasCurrent =
    distributed?.status === 'True' && (distributed.observedGeneration ?? 0) >= metadata.generation - 1;
  const named = generationOf(current, metadata.uid);
  if (!wasCurrent || named === 0 || named > metadata.generation) return false;
  return isSettled(request, current, withHash(withGenerationOf(request.desired, current)));
}

const claimsNewerSpec = (object: KubeObject, { metadata }: MacpAuthIssuer): boolean =>
  generationOf(object, metadata.uid) > metadata.generation;

// Who can write the object can annotate it with any generation: only the issuer proves that there is a newer one.
async function isOlderSpec(client: ApiClient, { metadata }: MacpAuthIssuer): Promise<boolean> {
  const { namespace, name, uid, generation } = metadata;
  const live = await client.find<MacpAuthIssuer>(resources.issuers, namespace, name);
  return live === undefined || live.metadata.uid !== uid || live.metadata.generation > generation;
}

// What apply cannot take back: an owner from the object's creation (an earlier issuer of this name, whose child the
// garbage collector has not taken yet), and what others added to the data.
async function disown(
  client: ApiClient,
  resource: Resource,
  current: KubeObject,
  desired: KubeObject,
): Promise<KubeObject['metadata']> {
  const { namespace, name, resourceVersion } = current.metadata;
  const { ownerReferences = [] } = desired.metadata;
  const isOwner = (uid: string) => ownerReferences.some((owner) => owner.uid === uid);
  const strayOwner = current.metadata.ownerReferences?.some(({ uid }) => !isOwner(uid)) ?? false;
  const strayData = Object.keys(current.data ?? {}).filter((member) => !(member in (desired.data as object)));
  if (!strayOwner && strayData.length === 0) return current.metadata;
  const patch = {
    metadata: { resourceVersion, ...(strayOwner && { ownerReferences }) },
    ...(strayData.length > 0 && { data: Object.fromEntries(strayData.map((member) => [member, null])) }),
  };
  return (await client.mergePatch(resource, namespace, name, patch)).metadata;
}

const answerKey = ({ resource }: ApplyRequest, { metadata }: KubeObject): string =>
  `${resource.plural}/${metadata.namespace}/${metadata.name}`;

// Status changes leave the generation alone; kinds without a generation have no status that would change often.
const versionOf = ({ metadata }: KubeObject): string =>
  `${metadata.uid}/${metadata.generation ?? metadata.resourceVersion}/${metadata.annotations?.[annotations.appliedHash]}`;

function isSettled(request: ApplyRequest, current: KubeObject, desired: KubeObject): boolean {
  if (covers(current, desired)) return true;
  const sameHash =
    current.metadata.annotations?.[annotations.appliedHash] ===
    desired.metadata.annotations?.[annotations.appliedHash];
  return sameHash && request.answers.get(answerKey(request, current)) === versionOf(current);
}

function remember(request: ApplyRequest, desired: KubeObject, answer: KubeObject): void {
  const key = answerKey(request, answer);
  if (covers(answer, desired)) request.answers.delete(key);
  else request.answers.set(key, versionOf(answer));
}

function refuseForeign(current: KubeObject, desired: KubeObject, issuer: MacpAuthIssuer): void {
  if (isOurs(current, desired, issuer)) return;
  const { namespace, name } = current.metadata;
  throw new NameConflict(
    `${current.kind} ${namespace}/${name} exists and is not this issuer's: delete or rename it, or give the issuer another name`,
  );
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
