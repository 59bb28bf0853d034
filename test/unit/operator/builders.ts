import { generateKeyPairSync } from 'node:crypto';
import { finalizer, group, type MacpAuthIssuer } from '../../../operator/api/names.ts';
import type { MacpAuthIssuerSpec, MacpAuthIssuerStatus } from '../../../operator/api/v1alpha1.ts';
import { agentSecret, jwksConfigMap } from '../../../operator/build/files.ts';
import { keyringSecret } from '../../../operator/build/keyring-secret.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import type { AgentNamespaces } from '../../../operator/plan/agents.ts';
import { type Keyring, type KeyringKey, type NewKey, publicKeys } from '../../../operator/plan/keyring.ts';
import { type Plan, type PlanInput, plan } from '../../../operator/plan/planner.ts';
import type { KeyPolicy } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import type { ServerObservation } from '../../../operator/plan/servers.ts';
import { fileNames, type SigningKey } from '../../../sidecar/contract/files.ts';
import { type Algorithm, type PrivateJWK, privateJWK, publicHalf } from '../../../sidecar/contract/jwk.ts';

export const second = 1_000;
export const minute = 60_000;
export const hour = 3_600_000;
export const day = 86_400_000;
/** An instant in the life of these tests. */
export const t0 = Date.parse('2026-03-01T00:00:00Z');

/** The time in which every verifier fetches, with {@link policyOf} as it is: cache, max-age, difference of clocks. */
export const ripening = 5 * minute + 30 * second + minute;

/** The kids of a keyring, in its order. */
export const kids = (keyring: Keyring): string[] => keyring.keys.map(({ kid }) => kid);

/** The key of that kid. */
export const find = (keyring: Keyring, kid: string | undefined): KeyringKey | undefined =>
  keyring.keys.find((key) => key.kid === kid);

let made = 0;

const rsaPairs: PrivateJWK[] = [];

// RSA pairs take long to make: a few real ones are used in turn, so that two in a row are never the same.
function rsaPair(): PrivateJWK {
  const pair = rsaPairs.length < 3 ? makePair('RS256') : (rsaPairs.shift() as PrivateJWK);
  rsaPairs.push(pair);
  return pair;
}

function makePair(algorithm: Algorithm): PrivateJWK {
  const pair =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return privateJWK.parse(pair.privateKey.export({ format: 'jwk' }));
}

/** A key pair whose kid says in which order it was made. */
function newKey(algorithm: Algorithm = 'ES256', kid = `key-${++made}`): NewKey {
  const privateKey = algorithm === 'ES256' ? makePair(algorithm) : rsaPair();
  return { kid, privateKey, publicKey: { ...publicHalf(privateKey), kid, alg: algorithm, use: 'sig' } };
}

/** That many new key pairs. */
export const newKeys = (count: number, algorithm: Algorithm = 'ES256'): NewKey[] =>
  Array.from({ length: count }, () => newKey(algorithm));

/** The values of private members, none of which may ever be seen outside a Secret. */
export const privateValues = (key: { privateKey?: unknown }): string[] =>
  Object.entries((key.privateKey ?? {}) as Record<string, string>)
    .filter(([member]) => ['d', 'p', 'q', 'dp', 'dq', 'qi'].includes(member))
    .map(([, value]) => value);

export const policyOf = (overrides: Partial<KeyPolicy> = {}): KeyPolicy => ({
  algorithm: 'ES256',
  maxTTLMs: hour,
  intervalMs: 30 * day,
  verifierCacheTTLMs: 5 * minute,
  maxAgeMs: 30 * second,
  propagationMs: 2 * minute,
  clockSkewMs: minute,
  graceMs: 7 * day,
  rotateNow: '',
  revokedKeyIDs: [],
  ...overrides,
});

/** No server pod is ready. */
export const noServers: ServerObservation = { answers: [], silent: 0, clockDifferenceMs: 0 };

/** Two server pods, both of which serve all keys of a keyring. */
export function serving(keyring: Keyring, overrides: Partial<ServerObservation> = {}): ServerObservation {
  const kids = keyring.keys.map(({ kid }) => kid);
  return { answers: [kids, kids], silent: 0, clockDifferenceMs: 0, ...overrides };
}

/** An issuer whose own namespace alone has agents. */
export const ownAgents: AgentNamespaces = {
  selected: [],
  unselected: [],
  unknown: [],
  held: [],
  unseen: [],
};

export const noTraces: Traces = {
  revision: 0,
  statusKeyIDs: [],
  revoked: [],
  statusSignUntil: 0,
  handledRotateNow: undefined,
  observedRotateNow: undefined,
  published: [],
  distributed: [],
  holders: [],
};

export const spare = (overrides: Partial<KeyringKey> = {}): KeyringKey => {
  const algorithm = overrides.algorithm ?? 'ES256';
  return { ...newKey(algorithm), algorithm, createdAt: t0, ...overrides };
};

export const active = (overrides: Partial<KeyringKey> = {}): KeyringKey =>
  spare({ activateAt: t0, signUntil: t0 + 37 * day, maxTTLMs: hour, ...overrides });

/** A key of which only the public part is left. */
export function publishedOnly(overrides: Partial<KeyringKey> = {}): KeyringKey {
  const { privateKey: _, ...key } = spare({ removeAt: t0 + 30 * day, ...overrides });
  return key;
}

/** The first revision of a keyring that is made at an instant. */
export const firstRevision = (now: number): number => now + 1;

/** A keyring as the planner writes it: an active key and two spares. */
export const keyringOf = (overrides: Partial<Keyring> = {}): Keyring => ({
  revision: 5,
  keys: [active(), spare(), spare()],
  removedKeyIDs: [],
  revoked: [],
  handledRotateNow: '',
  namespaces: [],
  deselected: [],
  ...overrides,
});

/** A key as the agent Secret holds it. */
export function held(key: KeyringKey): SigningKey {
  const { privateKey, activateAt = t0, signUntil = t0 } = key;
  if (!privateKey) throw new Error(`${key.kid} has no private part`);
  const instant = (ms: number) => new Date(ms).toISOString();
  return {
    kid: key.kid,
    alg: key.algorithm,
    privateKey,
    activateAt: instant(activateAt),
    signUntil: instant(signUntil),
    warnFrom: instant(signUntil),
  };
}

/** What tells of a keyring when status, JWKS and agent Secret are all up to date with it. */
export const tracesOf = (keyring: Keyring, overrides: Partial<Traces> = {}): Traces => ({
  revision: keyring.revision,
  statusKeyIDs: keyring.keys.map(({ kid }) => kid),
  revoked: keyring.revoked,
  statusSignUntil: Math.max(0, ...keyring.keys.map(({ signUntil }) => signUntil ?? 0)),
  handledRotateNow: keyring.handledRotateNow,
  observedRotateNow: keyring.handledRotateNow,
  published: publicKeys(keyring),
  distributed: keyring.keys.filter((key) => key.privateKey && key.activateAt !== undefined).map(held),
  holders: [],
  ...overrides,
});

export const present = (keyring: Keyring) => ({ state: 'present', keyring }) as const;
export const absent = { state: 'absent' } as const;

/** What the planner is asked; no server pod is ready, and agents are in one namespace, unless it says so. */
export type Question = Omit<PlanInput, 'newKeys' | 'servers' | 'agents'> &
  Partial<Pick<PlanInput, 'servers' | 'agents'>>;

/** The planner's answer, with as many new keys as it asks for. */
export function planned(
  question: Question,
  makeKeys: (count: number, algorithm: Algorithm) => NewKey[] = newKeys,
): Exclude<Plan, { action: 'needKeys' }> {
  const input = { servers: noServers, agents: ownAgents, ...question };
  const first = plan({ ...input, newKeys: [] });
  if (first.action !== 'needKeys') return first;
  const second = plan({ ...input, newKeys: makeKeys(first.count, first.algorithm) });
  if (second.action === 'needKeys') throw new Error('the planner asked for keys twice');
  return second;
}

/** {@link planned}, where the answer has a keyring. */
export function plannedKeyring(
  question: Question,
  makeKeys: (count: number, algorithm: Algorithm) => NewKey[] = newKeys,
): Extract<Plan, { action: 'write' | 'keep' }> {
  const decision = planned(question, makeKeys);
  if (decision.action === 'hold') throw new Error(`it holds: ${decision.problem}`);
  return decision;
}

export const defaultSpec: MacpAuthIssuerSpec = {
  issuer: 'macp-auth-service',
  audience: 'macp-runtime',
  algorithm: 'ES256',
  ttl: { default: '5m', max: '1h' },
  rotation: {
    interval: '720h',
    verifierCacheTTL: '5m',
    propagation: '2m',
    clockSkew: '60s',
    grace: '168h',
    rotateNow: '',
    revokedKeyIDs: [],
  },
  deletionPolicy: 'Retain',
  server: { replicas: 2, service: { type: 'ClusterIP' } },
};

/** An issuer as the API server stores it. */
export function issuerOf(
  spec: Partial<MacpAuthIssuerSpec> = {},
  status?: MacpAuthIssuerStatus,
  metadata: Partial<MacpAuthIssuer['metadata']> = {},
): MacpAuthIssuer {
  return {
    apiVersion: `${group}/v1alpha1`,
    kind: 'MacpAuthIssuer',
    metadata: {
      name: 'demo',
      namespace: 'team',
      uid: 'issuer-uid',
      resourceVersion: '10',
      generation: 3,
      finalizers: [finalizer],
      ...metadata,
    },
    spec: { ...defaultSpec, ...spec },
    ...(status && { status }),
  };
}

/** The three objects that hold keys, as they are built from a keyring. */
export const objectsOf = (issuer: MacpAuthIssuer, keyring: Keyring) => ({
  keyring: keyringSecret(issuer, keyring, undefined),
  configMap: jwksConfigMap(issuer, publicKeys(keyring), keyring.revision),
  agentSecret: agentSecret(issuer, issuer.metadata.namespace, keyring),
});

/** The decoded member of a Secret. */
export const secretFile = (secret: KubeObject, name: keyof typeof fileNames): unknown =>
  JSON.parse(
    Buffer.from((secret.data as Record<string, string>)[fileNames[name]] ?? '', 'base64').toString(),
  );

/** Any object of some kind with nothing in it. */
export const objectNamed = (name: string, more: Partial<KubeObject['metadata']> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'team', ...more },
});

/** Waits until a condition holds; fails when it does not within some seconds. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const deadline = Date.now() + 8_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what} did not come to hold`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The same value, every object of it frozen: who changes its input then throws. */
export function frozen<T>(value: T): T {
  if (value && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) frozen(member);
  }
  return value;
}
