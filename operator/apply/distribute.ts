import type { Logger } from 'pino';
import { NameConflict, Superseded } from '../api/errors.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { agentSecret, jwksConfigMap, readDistributed, readPublished, secretTypes } from '../build/files.ts';
import { revisionOf } from '../build/metadata.ts';
import {
  type ApiClient,
  ApiError,
  briefly,
  isNamespaceGone,
  isNamespaceTerminating,
} from '../cluster/client.ts';
import type { Limiter } from '../cluster/limiter.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import type { Children } from '../observe/world.ts';
import { isSigning, type Keyring } from '../plan/keyring.ts';
import type { Selection } from '../plan/selection.ts';
import { abbreviated } from '../plan/servers.ts';
import type { Judgement } from '../status/conditions.ts';
import { type Answers, applyDerived, type Written } from './children.ts';
import type { KeyringOutcome } from './keyring.ts';
import { touchPods } from './touch.ts';

/** What distributing an issuer's keys needs to know. */
export interface DistributeRequest {
  client: ApiClient;
  answers: Answers;
  issuer: MacpAuthIssuer;
  children: Children;
  /** The agent Secrets in the cache, by namespace. */
  agentSecrets: ReadonlyMap<string, KubeObject>;
  selection: Selection;
  keyring: KeyringOutcome;
  /** Namespaces, by {@link cleanKey}, that were seen to have no agent Secret since they were deselected. */
  clean: Set<string>;
  /** How many namespaces are written to, and pods touched, at a time, over all issuers. */
  limit: Limiter;
  log: Logger;
}

/** What became of it. */
export interface Distribution {
  judgement: Judgement<'Distributed'>;
  /** In how many namespaces the agent Secret is current; undefined where that was not looked at. */
  namespaces?: number;
  /** What to try again soon. */
  failures: unknown[];
}

type Problem = { namespace: string; error: unknown };

const type = 'Distributed';

// What passes when somebody acts: trying again soon does not help, and they may never act.
const isRefusal = (error: unknown): boolean =>
  error instanceof NameConflict ||
  (error instanceof ApiError &&
    error.code >= 400 &&
    error.code < 500 &&
    ![408, 409, 429].includes(error.code));

/**
 * First what verifiers need to know, then what sidecars sign with, unless verifiers could not know that; the issuer's own
 * namespace before all others. A namespace that cannot be written holds up no other, and a JWKS that cannot be written
 * no revocation.
 *
 * @throws Superseded when the issuer's own objects derive from a newer keyring, or changed meanwhile
 */
export async function distribute(request: DistributeRequest): Promise<Distribution> {
  const { issuer, keyring: outcome } = request;
  const failed = (error: unknown): Distribution => {
    if (error instanceof Superseded) throw error;
    const reason = error instanceof NameConflict ? 'NameConflict' : 'WriteFailed';
    return { judgement: { type, reason, message: briefly(error) }, failures: [error] };
  };
  const own = issuer.metadata.namespace;
  let published: Written | undefined;
  let publishing: Distribution | undefined;
  try {
    published = await publish(request);
  } catch (error) {
    publishing = failed(error);
  }
  const { keyring } = outcome;
  if (!keyring) {
    await takeAwayWhileHeld(request);
    if (publishing) return publishing;
    await touch(request, own, [published]);
    return { judgement: { type, reason: 'KeyringNotReady', message: waiting(request) }, failures: [] };
  }
  if (publishing && !isPublished(keyring, request.children.configMap)) {
    await takeAway(request, keyring);
    return publishing;
  }
  const problems: Problem[] = [];
  let gone = 0;
  let written: Written | undefined;
  try {
    written = await write(request, own, keyring);
  } catch (error) {
    if (error instanceof Superseded) throw error;
    problems.push({ namespace: own, error });
  } finally {
    await touch(request, own, [published, written], keyring);
  }
  const writeTo = async (namespace: string) => {
    try {
      return await writeElsewhere(request, namespace, keyring);
    } catch (error) {
      if (isNamespaceTerminating(error) || isNamespaceGone(error, namespace)) gone += 1;
      else problems.push({ namespace, error });
      return undefined;
    }
  };
  const serve = async (namespace: string) => {
    // Not within the limit: touching has its own turns at it.
    await touch(request, namespace, [await request.limit(() => writeTo(namespace))], keyring);
  };
  await Promise.all(keyring.namespaces.map(serve));
  await takeAway(request, keyring);
  const distribution = judged(issuer, 1 + keyring.namespaces.length - gone, problems);
  if (!publishing) return distribution;
  return { ...distribution, ...publishing, failures: [...publishing.failures, ...distribution.failures] };
}

// Who is given keys is noted in the keyring first: until that can be done nobody is, not even with those of others.
function waiting({ issuer, agentSecrets, selection }: DistributeRequest): string {
  const all = [issuer.metadata.namespace, ...selection.selected];
  const lacking = all.filter((namespace) => !agentSecrets.has(namespace));
  const message = 'waits for the keyring; what was distributed stays';
  if (lacking.length === 0) return message;
  return `${message}. Only then comes Secret ${objectNames(issuer.metadata).agentSecret} to ${abbreviated(lacking)}`;
}

// Whether verifiers can know every key that sidecars are to have.
function isPublished(keyring: Keyring, configMap: KubeObject | undefined): boolean {
  const published = readPublished(configMap).map(({ kid }) => kid);
  return keyring.keys.filter(isSigning).every(({ kid }) => published.includes(kid));
}

function judged({ metadata }: MacpAuthIssuer, total: number, problems: readonly Problem[]): Distribution {
  const namespaces = total - problems.length;
  const count = `Secret ${objectNames(metadata).agentSecret} holds the keys in ${namespaces} of ${total} namespaces`;
  const isOwn = ({ namespace }: Problem) => namespace === metadata.namespace;
  const own = problems.find(isOwn);
  const elsewhere = problems.filter((problem) => problem !== own);
  const sorted = elsewhere.toSorted((a, b) => (a.namespace < b.namespace ? -1 : 1));
  const [first, ...others] = own ? [own, ...sorted] : sorted;
  if (!first)
    return { judgement: { type, reason: 'AllNamespacesCurrent', message: count }, namespaces, failures: [] };
  const failures = problems
    .filter((problem) => isOwn(problem) || !isRefusal(problem.error))
    .map(({ error }) => error);
  const shown = [first, ...others.slice(0, 2)].map(
    ({ namespace, error }) => `${namespace}: ${briefly(error)}`,
  );
  const more = others.length > 2 ? `; and ${others.length - 2} more` : '';
  const conflict = (own ? [own] : problems).some(({ error }) => error instanceof NameConflict);
  const [failed, taken] = own
    ? (['WriteFailed', 'NameConflict'] as const)
    : (['NamespaceWriteFailed', 'NamespaceConflict'] as const);
  const message = `${count}. ${shown.join('; ')}${more}`;
  return { judgement: { type, reason: conflict ? taken : failed, message }, namespaces, failures };
}

async function publish(request: DistributeRequest): Promise<Written | undefined> {
  const { client, issuer, children, answers, keyring } = request;
  if (!keyring.publish) return undefined;
  const { keys, revision } = keyring.publish;
  const desired = jwksConfigMap(issuer, keys, revision);
  const observed = children.configMap;
  return applyDerived({ client, issuer, resource: resources.configMaps, desired, observed, answers });
}

async function write(
  request: DistributeRequest,
  namespace: string,
  keyring: Keyring,
): Promise<Written | undefined> {
  const { client, issuer, answers, agentSecrets, children } = request;
  const isOwn = namespace === issuer.metadata.namespace;
  const observed = isOwn ? children.agentSecret : agentSecrets.get(namespace);
  return applyDerived({
    client,
    issuer,
    resource: resources.secrets,
    desired: agentSecret(issuer, namespace, keyring),
    observed,
    answers,
    ...(!isOwn && { keyringRevision: () => keyringRevision(client, issuer) }),
  });
}

// Pods that wait for what is created start with it. Others may run with older files: where it was taken away before, and
// servers of an issuer that was deleted and made again.
async function touch(
  request: DistributeRequest,
  namespace: string,
  written: readonly (Written | undefined)[],
  keyring?: Keyring,
): Promise<void> {
  const { issuer, children } = request;
  const mayHaveOlder =
    keyring?.deselected.some((one) => one.namespace === namespace) ||
    (namespace === issuer.metadata.namespace && children.serverPods.length > 0);
  const last = written.findLast((one) => one?.filesChanged && (mayHaveOlder || !one.created));
  if (last) await touchPods(request, namespace, last.resourceVersion);
}

const keyringRevision = async (client: ApiClient, { metadata }: MacpAuthIssuer): Promise<number> =>
  revisionOf(await client.find(resources.secrets, metadata.namespace, objectNames(metadata).keyring));

// Somebody else's write at the same moment is no reason to leave the others and look at everything anew.
async function writeElsewhere(
  request: DistributeRequest,
  namespace: string,
  keyring: Keyring,
): Promise<Written | undefined> {
  try {
    return await write(request, namespace, keyring);
  } catch (error) {
    if (!(error instanceof Superseded)) throw error;
    return write({ ...request, agentSecrets: new Map() }, namespace, keyring);
  }
}

/** Name of an issuer's agent Secret in a namespace, for {@link DistributeRequest.clean}. */
const cleanKey = ({ metadata }: MacpAuthIssuer, namespace: string): string => `${metadata.uid}/${namespace}`;

// The keyring remembers by now what was in them. One that the cache lacks may have lost its labels.
async function takeAway(request: DistributeRequest, keyring: Keyring): Promise<void> {
  const { client, issuer, agentSecrets, selection, clean, limit } = request;
  const { agentSecret: name } = objectNames(issuer.metadata);
  const listed = new Set(keyring.namespaces);
  for (const namespace of listed) clean.delete(cleanKey(issuer, namespace));
  const unselected = new Set(selection.unselected);
  const isLeft = (namespace: string) => unselected.has(namespace) && !listed.has(namespace);
  // One that lingers was deleted already: somebody there has put a finalizer on it.
  const seen = [...agentSecrets.values()].filter(
    ({ metadata }) => isLeft(metadata.namespace) && metadata.deletionTimestamp === undefined,
  );
  const unseen = keyring.deselected
    .map(({ namespace }) => namespace)
    .filter(
      (namespace) =>
        isLeft(namespace) && !clean.has(cleanKey(issuer, namespace)) && !agentSecrets.has(namespace),
    );
  const take = async (namespace: string, find: () => Promise<KubeObject | undefined>) => {
    if (await remove(request, namespace, find)) clean.add(cleanKey(issuer, namespace));
  };
  await Promise.all([
    ...seen.map((secret) => limit(() => take(secret.metadata.namespace, async () => secret))),
    ...unseen.map((namespace) =>
      limit(() => take(namespace, () => client.find(resources.secrets, namespace, name))),
    ),
  ]);
}

/**
 * The same while the keyring is held, where that loses nothing: the keyring names the namespace, so that what was in it
 * is noted once the keyring lives on, and the issuer's own namespace has every key of the Secret. Nothing is known for
 * certain without a keyring: what is lost may have to be rebuilt from these very Secrets.
 */
async function takeAwayWhileHeld(request: DistributeRequest): Promise<void> {
  const { client, issuer, agentSecrets, selection, keyring, limit, log } = request;
  const { heldKeyring } = keyring;
  const left = [...agentSecrets.values()].filter(
    ({ metadata }) =>
      selection.unselected.includes(metadata.namespace) &&
      heldKeyring?.namespaces.includes(metadata.namespace) &&
      metadata.deletionTimestamp === undefined,
  );
  if (!heldKeyring || left.length === 0) return;
  const { namespace } = issuer.metadata;
  const { agentSecret: name } = objectNames(issuer.metadata);
  const kept = new Set(heldKeyring.keys.filter(({ privateKey }) => privateKey).map(({ kid }) => kid));
  try {
    const own = await client.find(resources.secrets, namespace, name);
    if (own?.type === secretTypes.agent) for (const { kid } of readDistributed(own)) kept.add(kid);
  } catch (error) {
    log.warn({ namespace, secret: name, reason: briefly(error) }, 'the Secret cannot be read');
  }
  const spare = left.filter((secret) => readDistributed(secret).every(({ kid }) => kept.has(kid)));
  await Promise.all(
    spare.map((secret) => limit(() => remove(request, secret.metadata.namespace, async () => secret))),
  );
}

async function remove(
  { client, issuer, log }: DistributeRequest,
  namespace: string,
  find: () => Promise<KubeObject | undefined>,
): Promise<boolean> {
  try {
    const found = await find();
    if (found?.type === secretTypes.agent) await client.delete(resources.secrets, found);
    return true;
  } catch (error) {
    // Nothing else waits for it: what the Secret holds is replaced and revoked.
    const secret = objectNames(issuer.metadata).agentSecret;
    log.warn({ namespace, secret, reason: briefly(error) }, 'the Secret cannot be taken away');
    return false;
  }
}
