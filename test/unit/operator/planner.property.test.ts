import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { agentSecret, readDistributed } from '../../../operator/build/files.ts';
import { decodeKeyring, encodeKeyring } from '../../../operator/plan/codec.ts';
import {
  activeKey,
  type Keyring,
  type NewKey,
  publicKeys,
  spareKeys,
  stateOf,
} from '../../../operator/plan/keyring.ts';
import { type ObservedKeyring, plan } from '../../../operator/plan/planner.ts';
import { type KeyPolicy, spareCount } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import type { SigningKey } from '../../../sidecar/contract/files.ts';
import type { PublicJWK } from '../../../sidecar/contract/jwk.ts';
import { signerAt } from '../../../sidecar/contract/signer.ts';
import {
  absent,
  day,
  defaultSpec,
  frozen,
  hour,
  issuerOf,
  keyringOf,
  minute,
  newKeys,
  noServers,
  noTraces,
  ownAgents,
  planned,
  policyOf,
  present,
  publishedOnly,
  second,
  t0,
  tracesOf,
} from './builders.ts';

// Bounds the search for a smaller counterexample, not the test.
const patience = { interruptAfterTimeLimit: 30_000 };

const leeway = 120 * second;

/** What may happen to an issuer between two looks at it, and how far a look gets before the operator is killed. */
type Step =
  | { do: 'advance'; ms: number }
  | { do: 'setMaxTTL'; ms: number }
  | { do: 'setGrace'; ms: number }
  | { do: 'setRotateNow'; value: string }
  | { do: 'reconcile'; killedAfter: Stage }
  | { do: 'deleteKeyring' | 'damageKeyring' | 'deleteAgentSecret' | 'deleteConfigMap' | 'deleteStatus' }
  | { do: 'restoreKeyring'; age: number };

const stages = ['plan', 'keyring', 'configMap', 'agentSecret', 'status'] as const;
type Stage = (typeof stages)[number];

/** The objects in the cluster that tell of keys. */
interface Cluster {
  now: number;
  policy: KeyPolicy;
  keyring: ObservedKeyring;
  /** Copies that a person might restore, oldest first. */
  copies: Keyring[];
  configMap?: { keys: PublicJWK[]; revision: number };
  agentSecret?: { keys: SigningKey[]; maxTTLMs: number; revision: number };
  status?: { revision: number; kids: string[]; signUntil: number; observedRotateNow: string };
  /** What sidecars were ever told of a key: the ends by which its tokens are dead. */
  told: Map<string, { signUntil: number; maxTTLMs: number }>;
  /** Whether what the known defects are about happens too. */
  strict: boolean;
  /** Key pairs that were never used, for the next plans. */
  unused: NewKey[];
  /** The kid that agents signed with last. */
  signing: string | undefined;
}

// The contract's own rule, in the words of sidecar/contract/files.ts.
function signerOf(keys: readonly SigningKey[], now: number): string | undefined {
  const [first, ...others] = keys.map(({ kid, activateAt, signUntil, warnFrom }) => ({
    kid,
    activateAt: Date.parse(activateAt),
    signUntil: Date.parse(signUntil),
    warnFrom: Date.parse(warnFrom),
  }));
  return first && signerAt([first, ...others], now).key.kid;
}

const tracesIn = ({ configMap, agentSecret: agent, status }: Cluster): Traces => ({
  revision: Math.max(configMap?.revision ?? 0, agent?.revision ?? 0, status?.revision ?? 0),
  statusKeyIDs: status?.kids ?? [],
  revoked: [],
  holders: [],
  statusSignUntil: status?.signUntil ?? 0,
  handledRotateNow: undefined,
  observedRotateNow: status?.observedRotateNow,
  published: configMap?.keys ?? [],
  distributed: agent?.keys ?? [],
});

const consented = ({ policy, status }: Cluster): boolean =>
  status !== undefined && policy.rotateNow !== '' && policy.rotateNow !== status.observedRotateNow;

/** Whether the private part of the key that agents sign with is still somewhere. */
function signerIsHeld({ keyring, agentSecret: agent, signing }: Cluster): boolean {
  const inKeyring =
    keyring.state === 'present' && keyring.keyring.keys.some((key) => key.privateKey && key.kid === signing);
  return inKeyring || (agent?.keys.some(({ kid }) => kid === signing) ?? false);
}

/** The agent Secret's files as a sidecar reads them, through the real builder and reader. */
function filesOf(cluster: Cluster, keyring: Keyring) {
  const text = (ms: number) => `${ms}ms`;
  const issuer = issuerOf({
    ttl: { default: '1s', max: text(cluster.policy.maxTTLMs) },
    rotation: { ...defaultSpec.rotation, grace: text(cluster.policy.graceMs) },
  });
  return { keys: readDistributed(agentSecret(issuer, 'team', keyring)), maxTTLMs: cluster.policy.maxTTLMs };
}

function publish(cluster: Cluster, keys: readonly PublicJWK[], revision: number): void {
  expect(keys.length).toBeGreaterThan(0);
  // As applyDerived: never back to a lower revision.
  if (cluster.configMap && cluster.configMap.revision > revision) return;
  const kids = new Set(keys.map(({ kid }) => kid));
  expect(kids.size).toBe(keys.length);
  for (const [kid, end] of cluster.told) {
    if (cluster.now < endOf(end)) expect([...kids]).toContain(kid);
  }
  cluster.configMap = { keys: [...keys], revision };
}

function distribute(cluster: Cluster, keyring: Keyring): void {
  if (cluster.agentSecret && cluster.agentSecret.revision > keyring.revision) return;
  const { keys, maxTTLMs } = filesOf(cluster, keyring);
  cluster.signing = signerOf(keys, cluster.now);
  expect(cluster.signing).toBe(activeKey(keyring, cluster.now)?.kid);
  for (const key of keys) {
    const before = cluster.told.get(key.kid);
    const last = cluster.agentSecret?.keys.find(({ kid }) => kid === key.kid);
    expect(keyring.keys.find(({ kid }) => kid === key.kid)?.maxTTLMs).toBeDefined();
    if (last) expect(Date.parse(key.signUntil)).toBeGreaterThanOrEqual(Date.parse(last.signUntil));
    // Of two keys that agents hold, the newer signs: of the other there are no new tokens.
    if (key.kid === cluster.signing) {
      cluster.told.set(key.kid, {
        signUntil: Math.max(before?.signUntil ?? 0, Date.parse(key.signUntil)),
        maxTTLMs: Math.max(before?.maxTTLMs ?? 0, maxTTLMs),
      });
    }
  }
  cluster.agentSecret = { keys, maxTTLMs, revision: keyring.revision };
}

function checkPlan(cluster: Cluster): ReturnType<typeof planned> {
  const { now, policy, keyring: observed } = cluster;
  const traces = tracesIn(cluster);
  const fresh = () => cluster.unused.slice(0, 1 + spareCount);
  const input = frozen({ policy, observed, traces, now });
  const decision = planned(input, (count) => fresh().slice(0, count));
  expect(planned(input, (count) => fresh().slice(0, count))).toEqual(decision);
  if (decision.action === 'write') {
    const used = new Set(decision.keyring.keys.map(({ kid }) => kid));
    cluster.unused = cluster.unused.filter(({ kid }) => !used.has(kid));
  }

  if (decision.action !== 'hold') expect(decision.wakeAt).toBeGreaterThanOrEqual(now);
  if (decision.action === 'write') {
    const { keyring } = decision;
    // Of what does not derive from the keyring only acceptedFrom changes here.
    const derives = ({ keys }: Keyring) => keys.map(({ acceptedFrom: _, ...key }) => key);
    const least =
      observed.state === 'present' && isDeepStrictEqual(derives(keyring), derives(observed.keyring)) ? 0 : 1;
    expect(keyring.revision).toBeGreaterThanOrEqual(traces.revision + least);
    if (observed.state === 'present')
      expect(keyring.revision).toBeGreaterThanOrEqual(observed.keyring.revision + least);
    expect(spareKeys(keyring)).toHaveLength(spareCount);
    expect(keyring.keys.filter((key) => stateOf(keyring, key, now) === 'Active')).toHaveLength(1);
    const known = [...keyring.keys.map(({ kid }) => kid), ...keyring.removedKeyIDs];
    const forgetful = traces.statusKeyIDs.some((kid) => !known.includes(kid));
    if (cluster.strict || !forgetful) {
      expect(
        plan({
          policy,
          observed: present(keyring),
          traces,
          servers: noServers,
          agents: ownAgents,
          now,
          newKeys: [],
        }),
      ).toEqual({
        action: 'keep',
        keyring,
        rotation: decision.rotation,
        wakeAt: decision.wakeAt,
      });
    }
  }
  return decision;
}

function reconcile(cluster: Cluster, killedAfter: Stage): void {
  const reached = (stage: Stage) => stages.indexOf(stage) <= stages.indexOf(killedAfter);
  const before = { signing: cluster.signing, held: signerIsHeld(cluster), consent: consented(cluster) };
  const { revision } = tracesIn(cluster);
  const decision = checkPlan(cluster);

  if (decision.action === 'hold') {
    if (decision.publish && reached('configMap')) publish(cluster, decision.publish, revision);
    if (reached('status')) {
      cluster.status = {
        revision: cluster.status?.revision ?? 0,
        kids: cluster.status?.kids ?? [],
        signUntil: cluster.status?.signUntil ?? 0,
        observedRotateNow: cluster.status?.observedRotateNow ?? cluster.policy.rotateNow,
      };
    }
    return;
  }
  const { keyring } = decision;
  if (before.signing !== undefined && before.held && !before.consent) {
    expect(activeKey(keyring, cluster.now)?.kid).toBe(before.signing);
  }
  if (!reached('keyring')) return;
  // What is derived is derived from what was persisted, so it goes through the Secret's text.
  const decoded = decodeKeyring(encodeKeyring(keyring));
  if ('problem' in decoded) throw new Error(decoded.problem);
  expect(decoded.keyring).toEqual(keyring);
  cluster.keyring = present(decoded.keyring);
  // What a person agreed to is agreed, although it was not distributed yet.
  if (before.consent) cluster.signing = activeKey(keyring, cluster.now)?.kid;
  // Copies of a history that went on otherwise are nobody's backup.
  cluster.copies = [...cluster.copies.filter((copy) => copy.revision < keyring.revision), keyring];
  if (reached('configMap')) publish(cluster, publicKeys(keyring), keyring.revision);
  if (reached('agentSecret')) distribute(cluster, keyring);
  if (reached('status')) {
    cluster.status = {
      revision: keyring.revision,
      kids: keyring.keys.map(({ kid }) => kid),
      signUntil: Math.max(0, ...keyring.keys.map(({ signUntil }) => signUntil ?? 0)),
      observedRotateNow: cluster.policy.rotateNow,
    };
  }
}

const endOf = ({ signUntil, maxTTLMs }: { signUntil: number; maxTTLMs: number }) =>
  signUntil + maxTTLMs + leeway;

// An older copy that knows less of a key than sidecars were told since, after which nothing else tells of it.
const retiresTooEarly = (copy: Keyring, { told }: Cluster): boolean =>
  copy.keys.some(({ kid, removeAt, signUntil = 0, maxTTLMs = 0 }) => {
    const end = told.get(kid);
    return end !== undefined && (removeAt ?? endOf({ signUntil, maxTTLMs })) < endOf(end);
  });

function happen(cluster: Cluster, step: Step): void {
  switch (step.do) {
    case 'advance':
      cluster.now += step.ms;
      break;
    case 'setMaxTTL':
      cluster.policy = { ...cluster.policy, maxTTLMs: step.ms };
      break;
    case 'setGrace':
      cluster.policy = { ...cluster.policy, graceMs: step.ms };
      break;
    case 'setRotateNow':
      cluster.policy = { ...cluster.policy, rotateNow: step.value };
      break;
    case 'reconcile':
      reconcile(cluster, step.killedAfter);
      break;
    case 'deleteKeyring':
      cluster.keyring = absent;
      break;
    case 'damageKeyring':
      if (cluster.keyring.state === 'present') cluster.keyring = { state: 'unreadable', problem: 'damaged' };
      break;
    case 'restoreKeyring': {
      const copy = cluster.copies.at(-1 - (step.age % Math.max(1, cluster.copies.length)));
      if (copy && !retiresTooEarly(copy, cluster)) cluster.keyring = present(copy);
      break;
    }
    case 'deleteAgentSecret':
      delete cluster.agentSecret;
      break;
    case 'deleteConfigMap':
      delete cluster.configMap;
      break;
    case 'deleteStatus':
      delete cluster.status;
      break;
  }
  forgetWhatNothingTells(cluster);
}

// Of a key that is named nowhere any more nobody can know.
function forgetWhatNothingTells(cluster: Cluster): void {
  const known = new Set([
    ...(cluster.keyring.state === 'present' ? cluster.keyring.keyring.keys : []).map(({ kid }) => kid),
    ...(cluster.configMap?.keys ?? []).map(({ kid }) => kid),
    ...(cluster.agentSecret?.keys ?? []).map(({ kid }) => kid),
  ]);
  for (const kid of cluster.told.keys()) if (!known.has(kid)) cluster.told.delete(kid);
}

const killedAfter = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Stage>('status') },
  { weight: 1, arbitrary: fc.constantFrom(...stages) },
);
const look = fc.record({ do: fc.constant('reconcile' as const), killedAfter });
const accident = fc.oneof(
  fc.constantFrom(
    { do: 'deleteKeyring' as const },
    { do: 'deleteAgentSecret' as const },
    { do: 'deleteConfigMap' as const },
    { do: 'deleteStatus' as const },
    { do: 'damageKeyring' as const },
  ),
  fc.record({ do: fc.constant('restoreKeyring' as const), age: fc.nat({ max: 20 }) }),
);
const wish = fc.oneof(
  fc.record({
    do: fc.constant('setMaxTTL' as const),
    ms: fc.integer({ min: 1, max: 86_400 }).map((seconds) => seconds * second),
  }),
  fc.record({ do: fc.constant('setRotateNow' as const), value: fc.constantFrom('', 'a', 'b', 'c', 'd') }),
);
const pass = fc.record({
  do: fc.constant('advance' as const),
  ms: fc.oneof(
    fc.integer({ min: 0, max: minute }),
    fc.integer({ min: 0, max: 3 * day }),
    fc.integer({ min: 0, max: 400 * day }),
  ),
});
// All that held the signing key is lost, a person consents, and time goes by until the old key may go.
const calamity = fc
  .tuple(fc.nat({ max: 1_000_000 }), fc.integer({ min: 0, max: 3 * day }))
  .map(([value, ms]): Step[] => [
    { do: 'deleteKeyring' },
    { do: 'deleteAgentSecret' },
    { do: 'setRotateNow', value: String(value) },
    { do: 'reconcile', killedAfter: 'status' },
    { do: 'advance', ms },
    { do: 'reconcile', killedAfter: 'status' },
  ]);
const single = (steps: fc.Arbitrary<Step>) => steps.map((step) => [step]);
const steps = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: single(look) },
      { weight: 3, arbitrary: single(accident) },
      { weight: 2, arbitrary: single(wish) },
      { weight: 3, arbitrary: single(pass) },
      { weight: 1, arbitrary: calamity },
    ),
    { maxLength: 40, size: 'max' },
  )
  .map((parts) => parts.flat());

// More than a life of the longest list of steps can use.
const keyPairs = newKeys(300);

function live(graceMs: number, happenings: readonly Step[], strict = false): Cluster {
  const cluster: Cluster = {
    now: t0,
    policy: policyOf({ graceMs }),
    keyring: absent,
    copies: [],
    told: new Map(),
    strict,
    unused: keyPairs,
    signing: undefined,
  };
  for (const step of happenings) happen(cluster, step);
  return cluster;
}

describe('through any life of an issuer', () => {
  const grace = fc.integer({ min: 10 * second, max: 365 * day });
  const start: Step = { do: 'reconcile', killedAfter: 'status' };
  const lifeOf = (strict: boolean) =>
    fc.property(grace, steps, (graceMs, some) => {
      live(graceMs, some, strict);
    });

  test('keys are never lost, never replaced without consent, and never withdrawn too early', () => {
    fc.assert(lifeOf(false), { numRuns: 100, ...patience });
  });

  test('and every plan is content with what it wrote, whatever status still says', () => {
    fc.assert(lifeOf(true), { numRuns: 100, ...patience });
  });

  test('grace may grow meanwhile', () => {
    const longer = fc
      .array(fc.tuple(grace, steps), { minLength: 2, maxLength: 3 })
      .map((parts) =>
        parts
          .toSorted(([a], [b]) => a - b)
          .flatMap(([ms, some]): Step[] => [{ do: 'setGrace', ms }, ...some]),
      );
    fc.assert(
      fc.property(longer, (happenings) => {
        live(10 * second, happenings);
      }),
      { numRuns: 60, ...patience },
    );
  });

  test('grace may shrink meanwhile', () => {
    live(7 * day, [
      start,
      { do: 'setGrace', ms: minute },
      start,
      { do: 'deleteAgentSecret' },
      { do: 'deleteKeyring' },
      { do: 'setRotateNow', value: 'go' },
      start,
      { do: 'advance', ms: 2 * day },
      start,
    ]);
  });

  test('while nothing is lost one key signs for ever, and every look finds two spares', () => {
    const quiet = fc.array(fc.oneof(look, wish, pass), { maxLength: 60, size: 'max' });
    fc.assert(
      fc.property(grace, quiet, (graceMs, happenings) => {
        const after = live(graceMs, [start, ...happenings, start]);
        expect(after.configMap?.keys).toHaveLength(1 + spareCount);
        expect(after.told.size).toBe(1);
      }),
      { numRuns: 60, ...patience },
    );
  });

  test('with consent and one look more, every issuer whose keyring can be read has a whole keyring', () => {
    fc.assert(
      fc.property(grace, steps, (graceMs, happenings) => {
        const cluster = live(graceMs, happenings);
        if (cluster.keyring.state === 'unreadable') return;
        happen(cluster, start);
        happen(cluster, { do: 'setRotateNow', value: 'a new value' });
        happen(cluster, start);
        if (cluster.keyring.state !== 'present') throw new Error('the keyring did not come back');
        expect(cluster.configMap?.keys).toEqual(publicKeys(cluster.keyring.keyring));
        expect(cluster.agentSecret?.revision).toBe(cluster.keyring.keyring.revision);
      }),
      { numRuns: 100, ...patience },
    );
  });
});

describe('the planner', () => {
  const lost = keyringOf();
  const inputs: [string, Keyring | undefined, Traces][] = [
    ['nothing', undefined, noTraces],
    ['a whole keyring', lost, tracesOf(lost)],
    ['a keyring that lacks spares', { ...lost, keys: lost.keys.slice(0, 1) }, noTraces],
    ['a lost keyring', undefined, tracesOf(lost)],
    ['an older copy', { ...lost, revision: 2 }, tracesOf(lost)],
    [
      'a key on its way out',
      { ...lost, keys: [...lost.keys, publishedOnly({ removeAt: t0 + hour })] },
      noTraces,
    ],
  ];

  // If everything happens so much later, the answer is the same so much later: there is no clock but `now`.
  test.each(inputs)('knows no time but `now`: with %s', (_, keyring, traces) => {
    const pool = newKeys(1 + spareCount);
    const decide = (shift: number, now: number) =>
      shifted(
        planned(
          {
            policy: policyOf({ rotateNow: 'go' }),
            observed: keyring ? present(shifted(keyring, shift)) : absent,
            traces: shifted({ ...traces, observedRotateNow: '' }, shift),
            now: now + shift,
          },
          (count) => pool.slice(0, count),
        ),
        -shift,
      );
    fc.assert(
      fc.property(
        fc.integer({ min: -20_000 * day, max: 20_000 * day }),
        fc.integer({ min: t0 - 30 * day, max: t0 + 30 * day }),
        (shift, now) => {
          const [later, decision] = [decide(shift, now), decide(0, now)];
          // What begins anew begins at its millisecond.
          if (!keyring && later.action === 'write' && decision.action === 'write') {
            later.before.revision -= shift;
            later.keyring.revision = later.before.revision + 1;
          }
          expect(later).toEqual(decision);
        },
      ),
    );
  });
});

const instants = [
  'createdAt',
  'activateAt',
  'signUntil',
  'removeAt',
  'acceptedFrom',
  'servedSince',
  'warnFrom',
  'wakeAt',
  'at',
  'statusSignUntil',
];

// The same value with every instant in it moved, whether it is a number or a text.
function shifted<T>(value: T, ms: number): T {
  if (Array.isArray(value)) return value.map((item) => shifted(item, ms)) as T;
  if (!value || typeof value !== 'object') return value;
  const moved = ([name, member]: [string, unknown]): [string, unknown] => {
    if (!instants.includes(name)) return [name, shifted(member, ms)];
    if (typeof member === 'number') return [name, member + ms];
    return [name, typeof member === 'string' ? new Date(Date.parse(member) + ms).toISOString() : member];
  };
  return Object.fromEntries(Object.entries(value).map(moved)) as T;
}
