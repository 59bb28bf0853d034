import type { Logger } from 'pino';
import { NameConflict, Superseded } from '../api/errors.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { agentSecret, jwksConfigMap, readPublished, secretTypes } from '../build/files.ts';
import { revisionOf } from '../build/metadata.ts';
import {
  type ApiClient,
  briefly,
  isNamespaceGone,
  isNamespaceTerminating,
  isStatus,
} from '../cluster/client.ts';
import type { Limiter } from '../cluster/limiter.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import type { Children } from '../observe/world.ts';
import { isSigning, type Keyring } from '../plan/keyring.ts';
import type { Selection } from '../plan/selection.ts';
import type { Judgement } from '../status/conditions.ts';
import { type Answers, applyDerived } from './children.ts';
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
  /** How many namespaces are written to at a time, over all issuers. */
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
  let published: string | undefined;
  let publishing: Distribution | undefined;
  try {
    published = await publish(request);
  } catch (error) {
    publishing = failed(error);
  }
  const { keyring } = outcome;
  if (!keyring) {
    if (publishing) return publishing;
    await touch(request, own, published);
    const message = 'waits for the keyring; what was distributed stays';
    return { judgement: { type, reason: 'KeyringNotReady', message }, failures: [] };
  }
  if (publishing && !isPublished(keyring, request.children.configMap)) return publishing;
  const problems: Problem[] = [];
  let gone = 0;
  try {
    await write(request, own, keyring, published);
  } catch (error) {
    if (error instanceof Superseded) throw error;
    problems.push({ namespace: own, error });
  }
  const writeTo = async (namespace: string) => {
    try {
      await writeElsewhere(request, namespace, keyring);
    } catch (error) {
      if (isNamespaceTerminating(error) || isNamespaceGone(error, namespace)) gone += 1;
      else problems.push({ namespace, error });
    }
  };
  await Promise.all(keyring.namespaces.map((namespace) => request.limit(() => writeTo(namespace))));
  await takeAway(request, keyring);
  const distribution = judged(issuer, 1 + keyring.namespaces.length - gone, problems);
  if (!publishing) return distribution;
  return { ...distribution, ...publishing, failures: [...publishing.failures, ...distribution.failures] };
}

// Whether verifiers can know every key that sidecars are to have.
function isPublished(keyring: Keyring, configMap: KubeObject | undefined): boolean {
  const published = readPublished(configMap).map(({ kid }) => kid);
  return keyring.keys.filter(isSigning).every(({ kid }) => published.includes(kid));
}

function judged({ metadata }: MacpAuthIssuer, total: number, problems: readonly Problem[]): Distribution {
  const namespaces = total - problems.length;
  const count = `Secret ${objectNames(metadata).agentSecret} holds the keys in ${namespaces} of ${total} namespaces`;
  const [first, ...others] = problems.toSorted((a, b) => (a.namespace < b.namespace ? -1 : 1));
  if (!first)
    return { judgement: { type, reason: 'AllNamespacesCurrent', message: count }, namespaces, failures: [] };
  // Being forbidden passes when somebody acts, and trying again soon does not help.
  const isForbidden = ({ namespace, error }: Problem) =>
    namespace !== metadata.namespace && isStatus(error, 403);
  const failures = problems.filter((problem) => !isForbidden(problem)).map(({ error }) => error);
  const shown = [first, ...others.slice(0, 2)].map(
    ({ namespace, error }) => `${namespace}: ${briefly(error)}`,
  );
  const more = others.length > 2 ? `; and ${others.length - 2} more` : '';
  const conflict = problems.some(({ error }) => error instanceof NameConflict);
  const message = `${count}. ${shown.join('; ')}${more}`;
  return {
    judgement: { type, reason: conflict ? 'NameConflict' : 'WriteFailed', message },
    namespaces,
    failures,
  };
}

async function publish(request: DistributeRequest): Promise<string | undefined> {
  const { client, issuer, children, answers, keyring } = request;
  if (!keyring.publish) return undefined;
  const { keys, revision } = keyring.publish;
  const desired = jwksConfigMap(issuer, keys, revision);
  const observed = children.configMap;
  return applyDerived({ client, issuer, resource: resources.configMaps, desired, observed, answers });
}

/** `published`: the resourceVersion with which the JWKS was just written to the same namespace. */
async function write(
  request: DistributeRequest,
  namespace: string,
  keyring: Keyring,
  published?: string,
): Promise<void> {
  const { client, issuer, answers, agentSecrets, children } = request;
  const isOwn = namespace === issuer.metadata.namespace;
  const observed = isOwn ? children.agentSecret : agentSecrets.get(namespace);
  let written = published;
  try {
    written =
      (await applyDerived({
        client,
        issuer,
        resource: resources.secrets,
        desired: agentSecret(issuer, namespace, keyring),
        observed,
        answers,
        ...(!isOwn && { keyringRevision: () => keyringRevision(client, issuer) }),
      })) ?? published;
  } finally {
    await touch(request, namespace, written);
  }
}

async function touch(
  { client, log, issuer }: DistributeRequest,
  namespace: string,
  written: string | undefined,
): Promise<void> {
  if (written !== undefined) await touchPods(client, log, issuer, namespace, written);
}

const keyringRevision = async (client: ApiClient, { metadata }: MacpAuthIssuer): Promise<number> =>
  revisionOf(await client.find(resources.secrets, metadata.namespace, objectNames(metadata).keyring));

// Somebody else's write at the same moment is no reason to leave the others and look at everything anew.
async function writeElsewhere(
  request: DistributeRequest,
  namespace: string,
  keyring: Keyring,
): Promise<void> {
  try {
    await write(request, namespace, keyring);
  } catch (error) {
    if (!(error instanceof Superseded)) throw error;
    await write({ ...request, agentSecrets: new Map() }, namespace, keyring);
  }
}

/** Name of an issuer's agent Secret in a namespace, for {@link DistributeRequest.clean}. */
const cleanKey = ({ metadata }: MacpAuthIssuer, namespace: string): string => `${metadata.uid}/${namespace}`;

// The keyring remembers by now what was in them. One that the cache lacks may have lost its labels.
async function takeAway(request: DistributeRequest, keyring: Keyring): Promise<void> {
  const { client, issuer, agentSecrets, selection, clean, limit, log } = request;
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
  const remove = async (namespace: string, find: () => Promise<KubeObject | undefined>) => {
    try {
      const secret = await find();
      if (secret?.type === secretTypes.agent) await client.delete(resources.secrets, secret);
      clean.add(cleanKey(issuer, namespace));
    } catch (error) {
      // Nothing else waits for it: what the Secret holds is replaced and revoked.
      log.warn({ namespace, secret: name, reason: briefly(error) }, 'the Secret cannot be taken away');
    }
  };
  await Promise.all([
    ...seen.map((secret) => limit(() => remove(secret.metadata.namespace, async () => secret))),
    ...unseen.map((namespace) =>
      limit(() => remove(namespace, () => client.find(resources.secrets, namespace, name))),
    ),
  ]);
}
