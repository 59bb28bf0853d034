import type { Logger } from 'pino';
import { NameConflict, Superseded } from './api/errors.ts';
import { type IssuerKey, issuerLabel, type MacpAuthIssuer } from './api/names.ts';
import { type Answers, applyChild } from './apply/children.ts';
import { distribute } from './apply/distribute.ts';
import { addFinalizer, cleanUpAfter, finalize, leaveNamespace } from './apply/finalize.ts';
import { type KeyringOutcome, settleKeyring } from './apply/keyring.ts';
import { serverDeployment, serverPodDisruptionBudget, serverService } from './build/server.ts';
import { type ApiClient, briefly, isStatus } from './cluster/client.ts';
import type { Limiter } from './cluster/limiter.ts';
import { type KubeObject, type Resource, resources } from './cluster/resources.ts';
import type { Metrics } from './metrics.ts';
import { isTrusted, observeAgents } from './observe/agents.ts';
import type { ExternalURLs } from './observe/external.ts';
import { keyPolicy } from './observe/keyring.ts';
import { readNamespace } from './observe/namespaces.ts';
import type { AskPod } from './observe/probe.ts';
import { type AskCertificate, certificateHosts, observeCertificate } from './observe/tls.ts';
import type { Children, World } from './observe/world.ts';
import { type Keyring, knownKeyIDs } from './plan/keyring.ts';
import { untilRefusedMs } from './plan/revocation.ts';
import { namedBy } from './plan/selection.ts';
import { abbreviated, type ExternalAnswer } from './plan/servers.ts';
import { type Judgement, severityOf } from './status/conditions.ts';
import { recordEvent, transitionEvents } from './status/events.ts';
import { isReady, judgeConfined, judgePublished, judgeRotation, judgeServer } from './status/judge.ts';
import { judgeExternal } from './status/judge-external.ts';
import { judgeTLS } from './status/judge-tls.ts';
import { type RevocationsOnly, statusOf } from './status/status.ts';

/** Everything that a reconcile needs of the world. */
export interface Context {
  client: ApiClient;
  world: World;
  askPod: AskPod;
  askCertificate: AskCertificate;
  /** Undefined: external URLs are not asked. */
  externalURLs: ExternalURLs | undefined;
  sidecarImage: string;
  /** The namespaces that the operator works in; undefined: all. */
  watchedNamespaces: readonly string[] | undefined;
  /** Namespaces whose issuers may give keys to others. */
  trustedNamespaces: readonly string[];
  answers: Answers;
  /** Namespaces that were seen to have no agent Secret since they were deselected. */
  clean: Set<string>;
  /** How many namespaces are written to, and pods touched, at a time. */
  limit: Limiter;
  /** The uids of issuers whose status could not be written, which an Event told. */
  untold: Set<string>;
  /** Milliseconds since the Unix epoch. */
  now: () => number;
  metrics: Metrics;
  log: Logger;
}

/** How often a settled issuer is looked at, to ask the servers again. */
const settledMs = 60_000;
/** How often while servers do not serve what they should. */
const unsettledMs = 2_000;
/** How often while something of others is waited for, of which nothing tells: a certificate, an external URL. */
const expectantMs = 10_000;

const maxLabelLength = 63;

/**
 * Brings one issuer to its desired state: observe, plan, apply, status. It can be stopped at any line and run again.
 *
 * Resolves with milliseconds after which to look again. Rejects, after writing what went wrong into status, when the
 * queue should try again soon.
 */
export async function reconcile(context: Context, key: IssuerKey): Promise<number | undefined> {
  const { client, world, watchedNamespaces } = context;
  const cached = world.issuer(key);
  if (!cached?.spec.server.externalURL) context.externalURLs?.forget(key);
  if (!cached) {
    // Elsewhere nobody can tell whether there is such an issuer, nor has to clean up after one.
    if (watchedNamespaces?.includes(key.namespace) === false) return undefined;
    await cleanUpAfter(client, key, world.agentSecrets(key));
    return undefined;
  }
  if (await isNamespaceGoing(context, cached)) {
    await leaveNamespace({ client, issuer: cached, watchedNamespaces });
    return undefined;
  }
  if (cached.metadata.deletionTimestamp) {
    const event = await reporting(context, cached, 'DeletionBlocked', () =>
      finalize({ client, issuer: cached, watchedNamespaces, now: context.now() }),
    );
    if (event) await recordEvent(client, context.log, cached, event);
    return undefined;
  }
  if (issuerLabel(key).length > maxLabelLength) {
    await writeStatus(context, cached, [nameTooLong(key)]);
    return undefined;
  }
  const issuer = await reporting(context, cached, 'FinalizerFailed', () => addFinalizer(client, cached));
  const children = world.children(key);
  const ready = children.serverPods.filter(isReady);
  const [served, external, tls] = await Promise.all([
    Promise.all(ready.map(context.askPod)),
    lookOutside(context, issuer),
    lookAtTLS(context, issuer, ready),
  ]);
  const agents = observeAgents(world, issuer, context.trustedNamespaces, watchedNamespaces);
  // Of the same moment: one that comes later was not asked what it holds, and must not be taken away.
  const agentSecrets = new Map(world.agentSecrets(key).map((secret) => [secret.metadata.namespace, secret]));
  const keyring = await settleKeyring({
    client,
    issuer,
    children,
    agents,
    watchedNamespaces,
    served,
    external,
    now: context.now(),
  });
  // At once: what happens to a keyring must be told even when status cannot be written.
  for (const event of keyring.events) await recordEvent(client, context.log, issuer, event);
  const failures: unknown[] = [keyring.failure, tls?.failure].filter((failure) => failure !== undefined);

  const server = await applyServer(context, issuer, children, failures);
  const distribution = await distribute({
    ...context,
    issuer,
    children,
    agentSecrets,
    selection: agents,
    keyring,
  });
  failures.push(...distribution.failures);
  const published = judgePublished(keyring.keyring, served, expectedBy(issuer, context.now()));
  const outside = external && judgeOutside(issuer, keyring.keyring, external, context.now());

  const judgements = [
    judgeCaches(world, issuer),
    accepted(context, issuer, keyring),
    keyring.judgement,
    server,
    published,
    ...(outside ? [outside] : []),
    ...(tls ? [tls.judgement] : []),
    distribution.judgement,
    judgeRotation(keyring.rotation),
    judgeConfined(keyring.keyring, keyPolicy(issuer)),
  ];
  const known = keyring.keyring ?? { revoked: keyring.revoked ?? [] };
  await writeStatus(context, issuer, judgements, known, distribution.namespaces);
  if (failures.length > 0) throw failures[0];
  const settled = keyring.keyring
    ? served.length === 0 || severityOf(published) === 'ok'
    : (keyring.revoked ?? []).every(({ safeAt }) => safeAt <= context.now());
  const wait = settled ? settledMs : unsettledMs;
  const isExpectant = [outside, tls?.judgement].some((one) => one && severityOf(one) !== 'ok');
  const wakeAt = Math.min(...[keyring.wakeAt, tls?.wakeAt].filter((at) => at !== undefined));
  const waits = [keyring.retryMs ?? wait, wait, isExpectant ? expectantMs : wait, wakeAt - context.now()];
  return Math.max(0, Math.min(...waits));
}

// Where namespaces are only looked at now and then, a server pod or the issuer itself that goes says that it is time for
// a look: the role in the namespace, without which nothing can be let go there, goes soon after.
async function isNamespaceGoing(
  { client, world, watchedNamespaces }: Context,
  { metadata }: MacpAuthIssuer,
): Promise<boolean> {
  const { namespace, deletionTimestamp } = metadata;
  const views = world.namespaces() ?? [];
  if (views.some(({ name, terminating }) => name === namespace && terminating)) return true;
  if (!watchedNamespaces) return false;
  const { serverPods } = world.children(metadata);
  if (!deletionTimestamp && !serverPods.some((pod) => pod.metadata.deletionTimestamp)) return false;
  const now = await readNamespace(client, namespace).catch(() => undefined);
  return now?.terminating ?? false;
}

// A step without which nothing else may happen: status says that it failed before the queue tries again.
async function reporting<T>(
  context: Context,
  issuer: MacpAuthIssuer,
  reason: 'FinalizerFailed' | 'DeletionBlocked',
  step: () => Promise<T>,
): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof Superseded) throw error;
    await writeStatus(context, issuer, [{ type: 'Accepted', reason, message: briefly(error) }]);
    throw error;
  }
}

const nameTooLong = (key: IssuerKey): Judgement => ({
  type: 'Accepted',
  reason: 'NameTooLong',
  message: `"${issuerLabel(key)}" (namespace.name) has ${issuerLabel(key).length} characters, but labels hold at most ${maxLabelLength}: use a shorter name or namespace`,
});

function accepted(
  { trustedNamespaces, watchedNamespaces }: Context,
  issuer: MacpAuthIssuer,
  { keyring }: KeyringOutcome,
): Judgement {
  const type = 'Accepted';
  const { spec, metadata } = issuer;
  const selector = spec.agents?.namespaceSelector;
  if (selector && !isTrusted(issuer, trustedNamespaces)) {
    const trusted = trustedNamespaces.length > 0 ? `now ${trustedNamespaces.join(', ')}` : 'now none';
    const message = `spec.agents.namespaceSelector works only in namespaces that the operator trusts (--trusted-namespaces, ${trusted}), so agents in ${metadata.namespace} alone get keys: create the issuer in one of those, have ${metadata.namespace} added, or remove the field`;
    return { type, reason: 'NamespaceSelectorNotAllowed', message };
  }
  const outside =
    selector && watchedNamespaces
      ? namedBy(selector).filter((namespace) => !watchedNamespaces.includes(namespace))
      : [];
  if (outside.length > 0) {
    const message = `spec.agents.namespaceSelector names namespaces that the operator does not work in (--namespaces): ${abbreviated(outside)}`;
    return { type, reason: 'NamespaceNotWatched', message };
  }
  const known = keyring && knownKeyIDs(keyring);
  const unknown = known ? spec.rotation.revokedKeyIDs.filter((kid) => !known.has(kid)) : [];
  if (unknown.length === 0) return { type, reason: 'Accepted', message: 'the spec is acted on' };
  const message = `spec.rotation.revokedKeyIDs names keys that this issuer never had: ${unknown.join(', ')}`;
  return { type, reason: 'UnknownRevokedKey', message };
}

// Of what was withdrawn after this, a server may not know yet.
const expectedBy = (issuer: MacpAuthIssuer, now: number): number => now - keyPolicy(issuer).propagationMs;

const lookOutside = async (
  { externalURLs }: Context,
  { metadata, spec }: MacpAuthIssuer,
): Promise<ExternalAnswer | undefined> =>
  spec.server.externalURL === undefined ? undefined : externalURLs?.look(metadata, spec.server.externalURL);

// A cache before the servers may hold for as long as verifiers do what they had when it asked last.
function judgeOutside(
  issuer: MacpAuthIssuer,
  keyring: Keyring | undefined,
  answer: ExternalAnswer,
  now: number,
): Judgement {
  return judgeExternal(keyring, answer, expectedBy(issuer, now) - untilRefusedMs(keyPolicy(issuer)));
}

interface TLSOutcome {
  judgement: Judgement;
  /** When the certificate begins or ends to be valid, if that is to come; milliseconds since the Unix epoch. */
  wakeAt: number | undefined;
  /** The access that failed, for the queue to retry. */
  failure: unknown;
}

async function lookAtTLS(
  { client, askCertificate, metrics, now }: Context,
  issuer: MacpAuthIssuer,
  ready: readonly KubeObject[],
): Promise<TLSOutcome | undefined> {
  const secretName = issuer.spec.server.tls?.secretName;
  if (secretName === undefined) {
    metrics.observeCertificate(issuer.metadata, undefined);
    return undefined;
  }
  const certificate = await observeCertificate(client, issuer, secretName);
  const isWhole = 'sha256' in certificate;
  metrics.observeCertificate(issuer.metadata, isWhole ? certificate.notAfter : undefined);
  const served = isWhole ? await Promise.all(ready.map(askCertificate)) : [];
  const at = now();
  const instants = isWhole ? [certificate.notBefore, certificate.notAfter] : [];
  return {
    judgement: judgeTLS(certificate, served, { secretName, hosts: certificateHosts(issuer), now: at }),
    wakeAt: instants.find((instant) => instant > at),
    failure: 'failure' in certificate ? certificate.failure : undefined,
  };
}

function judgeCaches(world: World, { metadata }: MacpAuthIssuer): Judgement {
  const problem = world.problem(metadata.namespace);
  return problem === undefined
    ? {
        type: 'CachesSynced',
        reason: 'CachesSynced',
        message: 'the operator follows all kinds that it needs',
      }
    : { type: 'CachesSynced', reason: 'CannotFollow', message: problem };
}

async function applyServer(
  { client, sidecarImage, answers }: Context,
  issuer: MacpAuthIssuer,
  children: Children,
  failures: unknown[],
): Promise<Judgement> {
  const apply = (resource: Resource, desired: KubeObject, observed: KubeObject | undefined) =>
    applyChild({ client, issuer, resource, desired, observed, answers });
  const results = await Promise.allSettled([
    apply(resources.deployments, serverDeployment(issuer, sidecarImage), children.deployment),
    apply(resources.services, serverService(issuer), children.service),
    apply(resources.podDisruptionBudgets, serverPodDisruptionBudget(issuer), children.podDisruptionBudget),
  ]);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  failures.push(...errors);
  const error = errors.find((candidate) => !(candidate instanceof Superseded));
  if (error === undefined) return judgeServer(issuer, children.deployment, children.serverPods);
  const reason = error instanceof NameConflict ? 'ServerNameConflict' : 'ServerApplyFailed';
  return { type: 'ServerAvailable', reason, message: briefly(error) };
}

async function writeStatus(
  context: Context,
  issuer: MacpAuthIssuer,
  judgements: readonly Judgement[],
  known: Keyring | RevocationsOnly = { revoked: [] },
  namespaces?: number,
): Promise<void> {
  const { client, log, metrics } = context;
  const { name, namespace, resourceVersion } = issuer.metadata;
  const status = statusOf(issuer, known, judgements, context.now(), namespaces);
  metrics.observeIssuer(issuer.metadata, status);
  if (!sameJSON(status, issuer.status)) {
    const body = {
      apiVersion: issuer.apiVersion,
      kind: issuer.kind,
      metadata: { name, namespace, resourceVersion },
      status,
    };
    try {
      await client.apply(resources.issuers, body, 'status');
    } catch (error) {
      if (isStatus(error, 409)) throw new Superseded('the issuer changed meanwhile');
      await tellWithoutStatus(context, issuer, error);
      throw error;
    }
  }
  const [before, after] = [issuer.status?.conditions ?? [], status.conditions ?? []];
  metrics.observeTransition(issuer.metadata, before, after);
  for (const event of transitionEvents(judgements, before, after))
    await recordEvent(client, log, issuer, event);
}

// Once for each issuer: without status this is the only place where a person would look.
async function tellWithoutStatus(
  { client, log, untold }: Context,
  issuer: MacpAuthIssuer,
  error: unknown,
): Promise<void> {
  if (!isStatus(error, 403) || untold.has(issuer.metadata.uid)) return;
  untold.add(issuer.metadata.uid);
  await recordEvent(client, log, issuer, {
    type: 'Warning',
    reason: 'StatusForbidden',
    note: briefly(error),
  });
}

// Member order differs between what we build and what the API server gives back.
const sameJSON = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member) =>
    member && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
