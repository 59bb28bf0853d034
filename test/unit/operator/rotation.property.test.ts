import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { KeyPolicy } from '../../../operator/plan/policy.ts';
import { day, hour, minute, Simulation, type Step, second, stages, victims } from './simulation.ts';

const patience = { interruptAfterTimeLimit: Number(process.env.LIMIT ?? 10_000) };
/** A soak: SOAK=20 runs twenty times as many lives, and other ones each time. */
const soak = Number(process.env.SOAK ?? 1);

const which = fc.nat({ max: 3 });
const pass = fc.record({
  do: fc.constant('advance' as const),
  ms: fc.oneof(
    fc.integer({ min: 1, max: 5 * minute }),
    fc.integer({ min: 1, max: hour }),
    fc.integer({ min: 1, max: 5 * day }),
    fc.integer({ min: 1, max: 30 * day }),
  ),
});
const set = (policy: fc.Arbitrary<Partial<KeyPolicy>>) =>
  fc.record({ do: fc.constant('set' as const), policy });
const interval = fc.oneof(
  fc.integer({ min: 6 * hour, max: 5 * day }),
  fc.integer({ min: 5 * day, max: 60 * day }),
);
const wish = fc.oneof(
  set(fc.record({ intervalMs: interval })),
  set(
    fc.record({
      verifierCacheTTLMs: fc
        .oneof(fc.integer({ min: 1, max: 900 }), fc.integer({ min: 1, max: 2700 }))
        .map((s) => s * second),
    }),
  ),
  set(fc.record({ maxTTLMs: fc.integer({ min: 1, max: 86_400 }).map((s) => s * second) })),
  set(
    fc.record({
      graceMs: fc.oneof(fc.integer({ min: 2 * hour, max: day }), fc.integer({ min: day, max: 30 * day })),
    }),
  ),
  set(fc.record({ algorithm: fc.constantFrom('ES256' as const, 'RS256' as const) })),
  set(fc.record({ rotateNow: fc.constantFrom('', 'a', 'b', 'c') })),
);
const cluster = fc.oneof(
  fc.record({
    do: fc.constantFrom(
      'freezeSidecar' as const,
      'thawSidecar' as const,
      'restartSidecar' as const,
      'freezeServer' as const,
      'thawServer' as const,
      'serverDown' as const,
      'serverUp' as const,
      'silence' as const,
      'speak' as const,
    ),
    which,
  }),
  fc.record({
    do: fc.constant('block' as const),
    stage: fc.constantFrom(
      ...(['configMap', 'agentSecret', 'elsewhere', undefined, undefined, undefined] as const),
    ),
  }),
  fc.record({ do: fc.constant('kill' as const), after: fc.constantFrom(...stages) }),
  fc.record({ do: fc.constantFrom('operatorDown' as const, 'operatorUp' as const, 'operatorUp' as const) }),
);
const selection = fc.oneof(
  fc.record({ do: fc.constantFrom('select' as const, 'deselect' as const) }),
  fc.record({ do: fc.constantFrom('select' as const, 'deselect' as const, 'loseElsewhere' as const) }),
);
const failover = fc.record({
  do: fc.constant('failover' as const),
  offset: fc.constantFrom(-0.5, 0, 0.5),
});
const revocation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('revoke' as const), whom: fc.constantFrom(...victims) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'clearRevocations' as const }) },
);
const loss = fc.record({
  do: fc.constantFrom(
    'deleteKeyring' as const,
    'damageKeyring' as const,
    'mendKeyring' as const,
    'consent' as const,
  ),
});
const restore = fc.record({ do: fc.constant('restoreKeyring' as const), age: fc.nat({ max: 20 }) });

const clocks = fc.record({ do: fc.constantFrom('clocksDiffer' as const, 'clocksAgree' as const) });

type Part = { weight: number; arbitrary: fc.Arbitrary<Step> };
const usualStart = fc.record({ intervalMs: interval, graceMs: fc.integer({ min: 2 * hour, max: 20 * day }) });
const ordinary: Part[] = [
  { weight: 6, arbitrary: pass },
  { weight: 3, arbitrary: wish },
  { weight: 4, arbitrary: cluster },
];

const rarely = (arbitrary: fc.Arbitrary<Step>): Part => ({ weight: 1, arbitrary });

/** Times as short and as long as the CRD lets them be, beside each other. */
const anyTimes = fc
  .record({
    propagationMs: fc.constantFrom(1, second, 10 * minute, hour),
    clockSkewMs: fc.constantFrom(0, second, 5 * minute),
    verifierCacheTTLMs: fc.constantFrom(second, 5 * minute, hour),
    maxTTLMs: fc.constantFrom(second, hour, day),
    spareMs: fc.integer({ min: 1, max: 6 * hour }),
    graceMs: fc.integer({ min: 10 * second, max: day }),
  })
  .map(({ spareMs, ...policy }): Partial<KeyPolicy> => {
    const { propagationMs, clockSkewMs, verifierCacheTTLMs } = policy;
    const maxAgeMs = Math.min(60, Math.floor(verifierCacheTTLMs / 10_000)) * second;
    // As the CRD's rule and the operator's reading of the spec have them.
    const intervalMs = verifierCacheTTLMs + propagationMs + 2 * clockSkewMs + minute + spareMs;
    const graceMs = Math.max(policy.graceMs, 2 * (propagationMs + clockSkewMs));
    return { ...policy, maxAgeMs, intervalMs, graceMs };
  });
const moment = fc.record({
  do: fc.constant('advance' as const),
  ms: fc.oneof(fc.integer({ min: 1, max: 5 * minute }), fc.integer({ min: 1, max: 12 * hour })),
});

/** Any life of these parts, and then a calm in which all wishes come true. */
function live(
  parts: readonly Part[],
  numRuns: number,
  drift = 1,
  start: fc.Arbitrary<Partial<KeyPolicy> & { intervalMs?: number; graceMs?: number }> = usualStart,
  isExternal = false,
): void {
  const steps = fc.array(fc.oneof(...parts), { maxLength: 45, size: 'max' });
  fc.assert(
    fc.property(start, steps, (policy, happenings) => {
      const graceMs = Math.min(policy.graceMs ?? day, 16 * (policy.intervalMs ?? day));
      const simulation = new Simulation({ ...policy, graceMs }, drift, isExternal);
      // More intervals than grace can have say nothing new, and the shortest make a day as long as years.
      const longest = 50 * (policy.intervalMs ?? day);
      for (const step of happenings)
        simulation.happen(step.do === 'advance' ? { ...step, ms: Math.min(step.ms, longest) } : step);
      simulation.calm();
    }),
    { numRuns: numRuns * soak, ...patience },
  );
}

describe('no verifier refuses a live token of a key that was never revoked', () => {
  test('through rotations', () => {
    live(ordinary, 15);
  });

  test('through a change of leader, whose clock differs', () => {
    live([...ordinary, { weight: 1, arbitrary: failover }], 15);
  });

  test('through revocations', () => {
    live([...ordinary, { weight: 2, arbitrary: revocation }], 15);
  });

  test('through namespaces that are deselected and selected again', () => {
    live([...ordinary, { weight: 3, arbitrary: selection }], 15);
  });

  test('through lost keyrings', () => {
    live([...ordinary, { weight: 2, arbitrary: loss }], 15);
  });

  test('through older copies of the keyring', () => {
    live([...ordinary, { weight: 1, arbitrary: restore }, { weight: 1, arbitrary: loss }], 15);
  });

  test('through times when clocks differ by more than they may, and nothing is committed or withdrawn', () => {
    live([...ordinary, rarely(clocks), rarely(revocation)], 15);
  });

  test('that fetches from an external URL, behind a cache that stops to follow at times', () => {
    live([...ordinary, rarely(failover), rarely(revocation)], 25, 1, usualStart, true);
  });

  test('whatever times the spec allows', () => {
    const rotations = set(fc.record({ rotateNow: fc.constantFrom('', 'a', 'b', 'c') }));
    const parts = [{ weight: 6, arbitrary: moment }, { weight: 4, arbitrary: cluster }, rarely(rotations)];
    live([...parts, rarely(revocation), rarely(failover)], 25, 1, anyTimes);
  });

  test('through all of it at once', () => {
    live([failover, revocation, loss, restore, selection].map(rarely).concat(ordinary), 15);
  });
});

test('a key that a deselected namespace knew is revoked, whoever was away meanwhile', () => {
  const simulation = new Simulation();
  simulation.happen({ do: 'advance', ms: hour });
  simulation.happen({ do: 'operatorDown' });
  simulation.happen({ do: 'deselect' });
  simulation.happen({ do: 'loseElsewhere' });
  simulation.happen({ do: 'advance', ms: hour });
  simulation.happen({ do: 'kill', after: 'keyring' });
  simulation.happen({ do: 'operatorUp' });
  simulation.happen({ do: 'advance', ms: hour });
  expect(simulation.revocations).toBe(0);
  simulation.happen({ do: 'advance', ms: hour });
  expect(simulation.revocations).toBe(1);
  simulation.happen({ do: 'advance', ms: 10 * day });
  expect(simulation.revocations).toBe(1);
  expect(simulation.keyring).toMatchObject({ keyring: { namespaces: [], deselected: [] } });
});

describe('whatever clocks say', () => {
  const farOff = fc.record({
    do: fc.constant('failover' as const),
    offset: fc.constantFrom(-100, -2, 0, 2, 100),
  });

  test('no JWKS is ever empty, each sidecar has one key, a revoked key never returns, and all wishes come true', () => {
    live([...ordinary, rarely(clocks), rarely(revocation), rarely(farOff)], 15, 50);
  });
});
