import type { PublicJWK } from '../../sidecar/contract/jwk.ts';
import { NameConflict, Superseded } from '../api/errors.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { keyringSecret } from '../build/keyring-secret.ts';
import { type ApiClient, briefly, isStatus } from '../cluster/client.ts';
import { resources } from '../cluster/resources.ts';
import { confirmAgents } from '../observe/agents.ts';
import { glanceAtKeyring, type KeyringObservation, keyPolicy, observeKeyring } from '../observe/keyring.ts';
import type { Children } from '../observe/world.ts';
import type { AgentNamespaces } from '../plan/agents.ts';
import { generateKey } from '../plan/generate.ts';
import { type Keyring, type NewKey, publicKeys, type RevokedKey } from '../plan/keyring.ts';
import { type KeyringChange, type Plan, plan } from '../plan/planner.ts';
import type { RotationState } from '../plan/rotation.ts';
import { type ExternalAnswer, observeServers, type ServerAnswer } from '../plan/servers.ts';
import { keyEvents, revocationEvents } from '../status/changes.ts';
import type { Judgement } from '../status/conditions.ts';
import type { IssuerEvent } from '../status/events.ts';

/** What became of the keyring, for everything that derives from it. */
export interface KeyringOutcome {
  judgement: Judgement;
  events: IssuerEvent[];
  /** The keyring as it was persisted; undefined while it may not be relied on. */
  keyring?: Keyring;
  /** The keyring as it was read, while it is held: it is whole or an older copy. */
  heldKeyring?: Keyring;
  /** Where the rotation stands. */
  rotation?: RotationState;
  /** The revocations that hold while there is no keyring to keep them. */
  revoked?: RevokedKey[];
  /** What to publish; undefined: leave what is published. */
  publish?: { keys: readonly PublicJWK[]; revision: number };
  /** When the keyring needs something next. */
  wakeAt?: number;
  /** Look again after this, although nothing may have happened. */
  retryMs?: number;
  /** The access that failed, for the queue to retry. */
  failure?: unknown;
}

interface SettleRequest {
  served: readonly ServerAnswer[];
  /** What the external URL served, where there is one that is asked. */
  external?: ExternalAnswer | undefined;
  client: ApiClient;
  issuer: MacpAuthIssuer;
  children: Children;
  agents: AgentNamespaces;
  /** The namespaces that the operator works in; undefined: all. */
  watchedNamespaces: readonly string[] | undefined;
  now: number;
}

/**
 * Observes the keyring, plans, and persists what was planned before anything may derive from it.
 *
 * @throws Superseded when another operator wrote it meanwhile
 */
export async function settleKeyring(request: SettleRequest): Promise<KeyringOutcome> {
  const { client, issuer, children, watchedNamespaces } = request;
  try {
    const glance = await glanceAtKeyring(client, issuer, children);
    const settled = glance && !glance.foreign && planFor(request, glance, []);
    if (settled && settled.action === 'keep') return current(settled, []);
    const observation = await observeKeyring(client, issuer, watchedNamespaces);
    if (observation.foreign) return nameConflict(issuer);
    const waits = observation.observed.state === 'absent' && observation.traces.distributed.length === 0;
    if (observation.predecessorLingers && waits) return waitForCollector();
    const known = observation.observed.state === 'present' ? observation.observed.keyring.namespaces : [];
    const agents = await confirmAgents(client, issuer, request.agents, known);
    const decision = await planWithKeys({ ...request, agents }, observation);
    if (decision.action === 'hold') return hold(issuer, decision, observation);
    if (decision.action === 'keep') return current(decision, []);
    await persist(client, issuer, decision.keyring, observation);
    const { change, before, keyring } = decision;
    return current(decision, [...changeEvents(change, keyring), ...keyEvents(before, keyring, request.now)]);
  } catch (error) {
    if (error instanceof Superseded) throw error;
    const message = `the keyring Secret could not be read or written: ${briefly(error)}`;
    return {
      judgement: { type: 'KeyringReady', reason: 'KeyringAccessFailed', message },
      events: [],
      failure: error,
    };
  }
}

const current = (decision: Extract<Plan, { keyring: Keyring }>, events: IssuerEvent[]): KeyringOutcome => ({
  judgement: { type: 'KeyringReady', reason: 'KeyringComplete', message: complete(decision.keyring) },
  events,
  keyring: decision.keyring,
  rotation: decision.rotation,
  publish: { keys: publicKeys(decision.keyring), revision: decision.keyring.revision },
  wakeAt: decision.wakeAt,
});

function planFor(
  { issuer, served, external, agents, now }: SettleRequest,
  { observed, traces, imported }: KeyringObservation,
  newKeys: readonly NewKey[],
): Plan {
  const keyring = observed.state === 'present' ? observed.keyring : undefined;
  const servers = observeServers(served, keyring, external);
  const policy = keyPolicy(issuer);
  return plan({ policy, observed, traces, servers, agents, now, newKeys, ...(imported && { imported }) });
}

// Keys are made only once the plan is known to need them: RSA keys take long.
async function planWithKeys(
  request: SettleRequest,
  observation: KeyringObservation,
): Promise<Exclude<Plan, { action: 'needKeys' }>> {
  const newKeys: NewKey[] = [];
  for (;;) {
    const decision = planFor(request, observation, newKeys);
    if (decision.action !== 'needKeys') return decision;
    const { algorithm, count } = decision;
    newKeys.push(...(await Promise.all(Array.from({ length: count }, () => generateKey(algorithm)))));
  }
}

async function persist(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  keyring: Keyring,
  { secret }: KeyringObservation,
): Promise<void> {
  const body = keyringSecret(issuer, keyring, secret);
  try {
    if (secret) await client.replace(resources.secrets, body);
    else await client.create(resources.secrets, issuer.metadata.namespace, body);
  } catch (error) {
    if (isStatus(error, 409)) throw new Superseded('the keyring was written by another meanwhile');
    throw error;
  }
}

const complete = (keyring: Keyring): string =>
  `revision ${keyring.revision} with ${keyring.keys.length} keys`;

function hold(
  issuer: MacpAuthIssuer,
  decision: Extract<Plan, { action: 'hold' }>,
  { traces, observed }: KeyringObservation,
): KeyringOutcome {
  const { keyring } = objectNames(issuer.metadata);
  const consent = 'or set spec.rotation.rotateNow to a new value to go on with';
  const advice = {
    KeyringLost: `restore Secret ${keyring} from a backup, ${consent} new keys`,
    KeyringStale: `restore the newest copy of Secret ${keyring}, ${consent} this one and the keys that agents hold`,
    ImportFailed: 'correct the Secret, or create the issuer without spec.importKey',
    ImportMismatch: `delete Secret ${keyring} if its keys are not needed, or remove spec.importKey`,
    KeyringUnreadable: `restore Secret ${keyring} from a backup${traces.distributed.length > 0 ? ', or delete it to rebuild it from what agents hold' : ''}`,
  }[decision.reason];
  const message = `${decision.problem}; what is published and distributed stays, revoked keys apart. To mend it: ${advice}`;
  return {
    judgement: { type: 'KeyringReady', reason: decision.reason, message },
    events: revocationEvents(traces.revoked, decision.revoked),
    revoked: decision.revoked,
    ...(observed.state === 'present' && { heldKeyring: observed.keyring }),
    // Nothing tells when the Secret to import is there.
    ...(decision.reason === 'ImportFailed' && { failure: new Error(message) }),
    ...(decision.publish && { publish: { keys: decision.publish, revision: Math.max(1, traces.revision) } }),
  };
}

function nameConflict(issuer: MacpAuthIssuer): KeyringOutcome {
  const { keyring } = objectNames(issuer.metadata);
  const message = `Secret ${keyring} exists and is no keyring of ours: delete or rename it`;
  const judgement: Judgement = { type: 'KeyringReady', reason: 'KeyringNameConflict', message };
  // A stranger's Secret is in no cache of ours: nothing tells when it goes.
  return { judgement, events: [], failure: new NameConflict(message) };
}

const waitForCollector = (): KeyringOutcome => ({
  judgement: {
    type: 'KeyringReady',
    reason: 'WaitingForGarbageCollection',
    message: 'the JWKS ConfigMap of an earlier issuer of this name is being collected',
  },
  events: [],
  retryMs: 1_000,
});

function changeEvents(change: KeyringChange, keyring: Keyring): IssuerEvent[] {
  const kids = `keys: ${keyring.keys.map(({ kid }) => kid).join(', ')}`;
  switch (change) {
    case 'KeyringCreated':
      return [{ type: 'Normal', reason: change, note: `the keyring was created; ${kids}` }];
    case 'KeyringImported':
      return [{ type: 'Normal', reason: change, note: `the keyring begins with the imported key; ${kids}` }];
    case 'KeyringRebuilt':
      return [
        {
          type: 'Warning',
          reason: change,
          note: `the keyring Secret was gone and was rebuilt from what agents hold; ${kids}`,
        },
      ];
    case 'KeyringReplaced':
      return [
        {
          type: 'Warning',
          reason: change,
          note: `by consent, new keys replace a lost keyring; verifiers accept them once they fetch the JWKS again; ${kids}`,
        },
      ];
    case 'KeyringMerged':
      return [
        {
          type: 'Warning',
          reason: change,
          note: `by consent, an older copy of the keyring was merged with what agents hold; ${kids}`,
        },
      ];
    case 'KeyringUpdated':
      return [];
  }
}
