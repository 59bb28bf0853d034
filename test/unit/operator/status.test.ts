import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import type { ServerAnswer } from '../../../operator/plan/servers.ts';
import {
  type Condition,
  type ConditionType,
  conditionsOf,
  type Judgement,
  reasons,
  type Severity,
  severityOf,
} from '../../../operator/status/conditions.ts';
import { transitionEvents } from '../../../operator/status/events.ts';
import { isReady, judgePublished, judgeServer } from '../../../operator/status/judge.ts';
import { statusOf } from '../../../operator/status/status.ts';
import {
  active,
  day,
  defaultSpec,
  hour,
  issuerOf,
  keyringOf,
  minute,
  objectNamed,
  privateValues,
  publishedOnly,
  spare,
  t0,
} from './builders.ts';

const all = Object.entries(reasons).flatMap(([type, ofType]) =>
  Object.entries(ofType).map(
    ([reason, severity]) =>
      ({ type, reason, severity }) as { severity: Severity } & Pick<Judgement, 'type' | 'reason'>,
  ),
);
const judged = (type: ConditionType, severity: Severity, message = `${type} is ${severity}`): Judgement => {
  const found = all.find((one) => one.type === type && one.severity === severity);
  if (!found) throw new Error(`${type} has no reason for ${severity}`);
  return { type, reason: found.reason, message } as Judgement;
};
const none = { revoked: [] };
const types = Object.keys(reasons) as ConditionType[];
const fine = types.map((type) => judged(type, 'ok'));
const withOne = (one: Judgement) => fine.map((judgement) => (judgement.type === one.type ? one : judgement));
const byType = (conditions: readonly Condition[], type: string) =>
  conditions.find((condition) => condition.type === type) as Condition;

describe('conditions', () => {
  test('are Ready first, then one for each judgement, True where its reason is fine', () => {
    const conditions = conditionsOf(fine, [], 3, t0);
    expect(conditions.map(({ type, status }) => [type, status])).toEqual(
      ['Ready', ...types].map((type) => [type, 'True']),
    );
    expect(conditions.every(({ observedGeneration }) => observedGeneration === 3)).toBe(true);
    expect(conditions[0]).toMatchObject({ reason: 'Ready', message: 'keys are published and distributed' });
  });

  test.each(all)('$type $reason is $severity', ({ type, reason, severity }) => {
    const judgement = { type, reason, message: 'm' } as Judgement;
    expect(severityOf(judgement)).toBe(severity);
    const conditions = conditionsOf(withOne(judgement), [], 3, t0);
    expect(byType(conditions, type)).toMatchObject({ status: severity === 'ok' ? 'True' : 'False', reason });
    expect(byType(conditions, 'Ready')).toMatchObject(
      ['ok', 'info', 'warning'].includes(severity)
        ? { status: 'True' }
        : { status: 'False', reason, message: 'm' },
    );
  });

  test('Ready tells what a person must mend before what passes by itself', () => {
    const judgements = [
      judged('ServerAvailable', 'wait'),
      judged('Published', 'problem'),
      judged('Distributed', 'problem'),
    ];
    expect(conditionsOf(judgements, [], 3, t0)[0]).toMatchObject({ message: 'Published is problem' });
  });

  test('have reasons and types as the API conventions want them', () => {
    for (const { type, reason } of all) {
      expect(type).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(reason).toMatch(/^[A-Z][A-Za-z]+$/);
    }
  });

  const change = fc.record({
    severity: fc.constantFrom('ok' as const, 'problem' as const),
    message: fc.string(),
    generation: fc.nat(),
    elapsed: fc.nat({ max: day }),
  });
  test('have a lastTransitionTime that changes when, and only when, status does', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1 }), (changes) => {
        let now = t0;
        let before: Condition[] = [];
        for (const { severity, message, generation, elapsed } of changes) {
          now += elapsed;
          const after = conditionsOf(
            withOne(judged('Published', severity, message)),
            before,
            generation,
            now,
          );
          for (const condition of after) {
            const same = before.find(
              ({ type, status }) => type === condition.type && status === condition.status,
            );
            expect(condition.lastTransitionTime).toBe(
              same
                ? same.lastTransitionTime
                : new Date(Math.floor(now / 1000) * 1000).toISOString().replace('.000', ''),
            );
          }
          before = after;
        }
      }),
    );
  });

  test('are the same however often the same is judged, so that nothing is written', () => {
    const first = conditionsOf(fine, [], 3, t0);
    expect(conditionsOf(fine, first, 3, t0 + day)).toEqual(first);
  });
});

describe('events', () => {
  const told = (judgements: Judgement[], previous: Judgement[] | undefined) => {
    const before = previous ? conditionsOf(previous, [], 3, t0) : [];
    return transitionEvents(judgements, before, conditionsOf(judgements, before, 3, t0 + minute));
  };
  const problem = judged('Distributed', 'problem', 'somebody must act');
  const warning = { type: 'Warning', reason: problem.reason, note: 'somebody must act' };

  test.each([
    ['a problem that is there from the start', withOne(problem), undefined, [warning]],
    ['a problem that is new', withOne(problem), fine, [warning]],
    ['a problem that stays', withOne(problem), withOne(problem), []],
    [
      'a problem that is told in other words',
      withOne({ ...problem, message: 'm' } as Judgement),
      withOne(problem),
      [],
    ],
    ['a state that passes by itself', withOne(judged('Published', 'wait')), fine, []],
    ['all well from the start', fine, undefined, ['Ready']],
    ['all well again', fine, withOne(problem), ['Ready']],
    ['all well as before', fine, fine, []],
  ])('%s', (_, judgements, previous, expected) => {
    const events = told(judgements, previous);
    expect(events).toEqual(
      expected.map((one) =>
        one === 'Ready' ? expect.objectContaining({ type: 'Normal', reason: 'Ready' }) : one,
      ),
    );
  });

  test('a problem that becomes another one is told again', () => {
    const lost = { type: 'KeyringReady', reason: 'KeyringLost', message: 'lost' } as const;
    const stale = { type: 'KeyringReady', reason: 'KeyringStale', message: 'stale' } as const;
    expect(told(withOne(stale), withOne(lost))).toEqual([
      { type: 'Warning', reason: 'KeyringStale', note: 'stale' },
    ]);
  });
});

const pod = (name: string, status: object = {}, more: Partial<KubeObject['metadata']> = {}): KubeObject => ({
  ...objectNamed(name, more),
  kind: 'Pod',
  status,
});
const ready = (status: string) => ({ conditions: [{ type: 'Ready', status }] });

describe('a pod is ready', () => {
  test.each([
    ['when it says so', pod('a', ready('True')), true],
    ['not when it says no', pod('a', ready('False')), false],
    ['not when it does not know', pod('a', ready('Unknown')), false],
    ['not without conditions', pod('a'), false],
    [
      'not when only another condition is True',
      pod('a', { conditions: [{ type: 'Initialized', status: 'True' }] }),
      false,
    ],
    ['not on its way out', pod('a', ready('True'), { deletionTimestamp: 'now' }), false],
  ])('%s', (_, some, expected) => {
    expect(isReady(some)).toBe(expected);
  });
});

describe('the server is judged', () => {
  const issuer = issuerOf();
  const deployment = (status?: object) => ({ ...objectNamed('macp-auth-demo'), kind: 'Deployment', status });
  const up = pod('up', ready('True'));
  const waiting = (reason: string, lastState?: object) =>
    pod('a', { containerStatuses: [{ name: 'jwks-server', state: { waiting: { reason } }, lastState }] });
  const crash = (message?: string) => waiting('CrashLoopBackOff', { terminated: { exitCode: 1, message } });
  const refused = { conditions: [{ type: 'ReplicaFailure', status: 'True', message: 'quota exceeded' }] };
  const recovered = { conditions: [{ type: 'ReplicaFailure', status: 'False', message: 'quota exceeded' }] };

  test.each<[string, KubeObject | undefined, KubeObject[], string, RegExp]>([
    ['when all are up', deployment(), [up, up], 'ServerAvailable', /^the JWKS server is ready$/],
    [
      'when some are up',
      deployment(),
      [up, waiting('ContainerCreating')],
      'ServerAvailable',
      /^the JWKS server is ready$/,
    ],
    [
      'when an update cannot start',
      deployment(),
      [up, up, crash()],
      'RolloutStuck',
      /^2 of 2 .*, but others cannot start: CrashLoopBackOff/,
    ],
    ['without a Deployment', undefined, [], 'ServerStarting', /yet$/],
    ['without a pod', deployment(), [], 'ServerStarting', /yet$/],
    ['while it starts', deployment(), [waiting('ContainerCreating')], 'ServerStarting', /yet$/],
    [
      'without its image',
      deployment(),
      [waiting('ImagePullBackOff')],
      'ServerFailing',
      /: ImagePullBackOff: see kubectl/,
    ],
    ['when it crashes', deployment(), [crash()], 'ServerFailing', /: CrashLoopBackOff: exit code 1$/],
    [
      'when it crashes with words',
      deployment(),
      [crash('a\nlast words\n')],
      'ServerFailing',
      /: exit code 1: last words$/,
    ],
    [
      'by the first that fails',
      deployment(),
      [pod('b'), crash()],
      'ServerFailing',
      /: CrashLoopBackOff: exit code 1$/,
    ],
    ['when a quota refuses it', deployment(refused), [], 'ServerFailing', /: quota exceeded$/],
    ['when a quota refused it once', deployment(recovered), [], 'ServerStarting', /yet$/],
  ])('%s', (_, some, pods, reason, message) => {
    expect(judgeServer(issuer, some, pods)).toEqual({
      type: 'ServerAvailable',
      reason,
      message: expect.stringMatching(message),
    });
  });

  test('one server is called one', () => {
    const single = issuerOf({ server: { ...defaultSpec.server, replicas: 1 } });
    expect(judgeServer(single, deployment(), [up, crash('why')]).message).toMatch(/^1 of 1 server pod /);
  });

  test("kubelet's back-off times and long messages are no part of what is told", () => {
    const first = crash('x'.repeat(5_000));
    const second = pod('a', {
      containerStatuses: [
        {
          name: 'jwks-server',
          state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 2m40s restarting' } },
          lastState: { terminated: { exitCode: 1, message: 'x'.repeat(5_000), finishedAt: 'later' } },
        },
      ],
    });
    const { message } = judgeServer(issuer, deployment(), [first]);
    expect(judgeServer(issuer, deployment(), [second]).message).toBe(message);
    expect(message.length).toBeLessThan(400);
  });
});

describe('what is served is judged', () => {
  const keyring = keyringOf({ removedKeyIDs: ['removed'] });
  const kids = keyring.keys.map(({ kid }) => kid);
  const serves = (name: string, served: string[]): ServerAnswer => ({
    pod: name,
    keys: served.map(
      (kid) => keyring.keys.find((key) => key.kid === kid)?.publicKey ?? { kid, kty: 'EC', crv: 'P-256' },
    ),
    clockDifferenceMs: 0,
  });
  const silent: ServerAnswer = { pod: 'c', problem: 'it cannot be reached (ECONNREFUSED)' };

  test.each<[string, ServerAnswer[], string, RegExp]>([
    ['by nobody', [], 'NoServerReady', /ready/],
    ['whole by one', [serves('a', kids)], 'AllServersCurrent', /all 3 keys$/],
    ['whole by two', [serves('a', kids), serves('b', kids)], 'AllServersCurrent', /all 3 keys$/],
    ['in another order', [serves('a', kids.toReversed())], 'AllServersCurrent', /all 3 keys$/],
    ['with a key that was removed', [serves('a', [...kids, 'removed'])], 'AllServersCurrent', /all 3 keys$/],
    ['in part', [serves('a', kids), serves('b', kids.slice(1))], 'ServersBehind', /^server pod b /],
    ['as an empty set', [serves('a', [])], 'ServersBehind', /^server pod a /],
    [
      "with a stranger's key",
      [serves('a', [...kids, 'strange'])],
      'UnknownKeyServed',
      /^server pod a .*\(strange\)/,
    ],
    ['by one that is silent', [silent], 'ServersUnreachable', /^server pod c .*\(ECONNREFUSED\)$/],
  ])('%s', (_, served, reason, message) => {
    expect(judgePublished(keyring, served, t0)).toEqual({
      type: 'Published',
      reason,
      message: expect.stringMatching(message),
    });
  });

  test('with a flood of strange kids, in a message that still fits into status', () => {
    const flood = Array.from({ length: 5_000 }, (_, i) => `strange-${i}-${'x'.repeat(100)}`);
    expect(judgePublished(keyring, [serves('a', flood)], t0).message.length).toBeLessThan(2_000);
  });

  test('not before there is a keyring', () => {
    expect(judgePublished(undefined, [serves('a', kids)], t0)).toMatchObject({ reason: 'KeyringNotReady' });
  });

  test.each([
    ['behind', serves('a', kids.slice(1))],
    ['silent', silent],
  ])("a stranger's key is told although another server is %s", (_, other) => {
    const served = [other, serves('b', [...kids, 'stranger'])];
    expect(judgePublished(keyring, served, t0)).toMatchObject({ reason: 'UnknownKeyServed' });
  });

  test.each([
    [
      'for longer than a file may take: somebody has to act',
      t0,
      'RevokedKeyServed',
      /still serves revoked keys \(gone\): delete it$/,
    ],
    [
      'while the files are still on their way',
      t0 - 1,
      'ServersUpdating',
      /still serves revoked keys \(gone\)$/,
    ],
  ])('a revoked key is told that is served %s', (_, expectedBy, reason, message) => {
    const record = { kid: 'gone', algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 } as const;
    const revoking = { ...keyring, revoked: [record], removedKeyIDs: ['gone'] };
    const served = [serves('a', kids), serves('b', [...kids, 'gone'])];
    expect(judgePublished(revoking, served, expectedBy)).toEqual({
      type: 'Published',
      reason,
      message: expect.stringMatching(message),
    });
  });
});

describe('status', () => {
  const keyring = keyringOf({
    revision: 9,
    handledRotateNow: 'x',
    keys: [active(), spare(), publishedOnly({ removeAt: t0 + day })],
  });
  const [first, second, third] = keyring.keys.map(({ kid }) => kid);

  test('tells of each key, its state and its times', () => {
    expect(statusOf(issuerOf(), keyring, fine, t0 + hour)).toEqual({
      observedGeneration: 3,
      conditions: conditionsOf(fine, [], 3, t0 + hour),
      jwksURL: 'http://macp-auth-demo.team.svc/.well-known/jwks.json',
      activeKeyID: first,
      nextRotationTime: '2026-03-31T00:00:00.000Z',
      keyringRevision: 9,
      handledRotateNow: 'x',
      observedRotateNow: '',
      keys: [
        {
          keyID: first,
          algorithm: 'ES256',
          state: 'Active',
          activeTime: '2026-03-01T00:00:00.000Z',
          signUntilTime: '2026-04-07T00:00:00.000Z',
        },
        { keyID: second, algorithm: 'ES256', state: 'Next' },
        { keyID: third, algorithm: 'ES256', state: 'Retired', removalTime: '2026-03-02T00:00:00.000Z' },
      ],
    });
  });

  test('holds no private value', () => {
    const text = JSON.stringify(statusOf(issuerOf(), keyring, fine, t0));
    for (const value of keyring.keys.flatMap(privateValues)) expect(text).not.toContain(value);
  });

  test('without a keyring goes on telling what it told of the keys', () => {
    const before = statusOf(issuerOf(), keyring, fine, t0);
    const after = statusOf(issuerOf({}, before), none, withOne(judged('KeyringReady', 'problem')), t0 + hour);
    expect({ ...after, conditions: [] }).toEqual({ ...before, conditions: [] });
    expect(byType(after.conditions ?? [], 'KeyringReady').status).toBe('False');
  });

  test('without a keyring takes a rotateNow that was there from the start for handled, and no later one', () => {
    const rotateNow = (value: string) => ({ rotation: { ...defaultSpec.rotation, rotateNow: value } });
    const first = statusOf(issuerOf(rotateNow('a')), none, fine, t0);
    expect(first).toMatchObject({ observedRotateNow: 'a' });
    expect(first).not.toHaveProperty('keys');
    expect(statusOf(issuerOf(rotateNow('b'), first), none, fine, t0)).toMatchObject({
      observedRotateNow: 'a',
    });
  });

  test('is the same however often the same is seen', () => {
    const once = statusOf(issuerOf(), keyring, fine, t0);
    expect(statusOf(issuerOf({}, once), keyring, fine, t0 + 2 * hour)).toEqual(once);
  });
});
