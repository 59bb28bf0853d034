import { describe, expect, test } from '@jest/globals';
import {
  decide,
  type LeaseSpec,
  newcomer,
  observed,
  released,
  type Standing,
  defaultTiming as timing,
  worksUntil,
  written,
} from '../../../operator/lead/decide.ts';

const date = new Date('2026-03-01T00:00:00.123Z');
const microTime = '2026-03-01T00:00:00.123000Z';
const before = '2026-02-28T23:00:00.000000Z';
const leaseOf = (holderIdentity: string | undefined, more: LeaseSpec = {}): LeaseSpec => ({
  ...(holderIdentity !== undefined && { holderIdentity }),
  leaseDurationSeconds: 15,
  acquireTime: before,
  renewTime: before,
  leaseTransitions: 3,
  ...more,
});
const ask = (standing: Standing, now: number) => decide(standing, { identity: 'me', timing, now, date });
/** Of a candidate that first saw this at 1,000 ms of its clock. */
const saw = (lease: LeaseSpec | undefined) => observed(newcomer, lease, 1_000);
/** Of a leader whose last renewal was sent at 1,000 ms. */
const leader: Standing = { lease: leaseOf('me'), seenAt: 1_200, renewedAt: 1_000 };
const own = { holderIdentity: 'me', leaseDurationSeconds: 15, renewTime: microTime };

describe('a candidate', () => {
  test('takes a Lease that nobody ever had', () => {
    const spec = { ...own, acquireTime: microTime, leaseTransitions: 0 };
    expect(ask(newcomer, 0)).toEqual({ action: 'acquire', spec });
  });

  test.each([
    ['names nobody', leaseOf('')],
    ['has no holder', leaseOf(undefined)],
    ['was freed', released(leaseOf('other'), date)],
  ])('takes one that %s, at once', (_, lease) => {
    const spec = { ...own, acquireTime: microTime, leaseTransitions: 4 };
    expect(ask(saw(lease), 1_000)).toEqual({ action: 'acquire', spec });
  });

  test('waits for as long as the Lease says since it saw it, however old the times in it are', () => {
    expect(ask(saw(leaseOf('other')), 1_000)).toEqual({ action: 'wait', ms: 15_000 });
    expect(ask(saw(leaseOf('other')), 15_999)).toEqual({ action: 'wait', ms: 1 });
    expect(ask(saw(leaseOf('other', { leaseDurationSeconds: 60 })), 16_000)).toMatchObject({ ms: 45_000 });
    expect(ask(saw({ holderIdentity: 'other' }), 1_000)).toEqual({ action: 'wait', ms: 15_000 });
  });

  test('begins to wait anew with each change, and not with a look that shows none', () => {
    const unchanged = observed(saw(leaseOf('other')), leaseOf('other'), 9_000);
    expect(ask(unchanged, 9_000)).toEqual({ action: 'wait', ms: 7_000 });
    const renewed = observed(unchanged, leaseOf('other', { renewTime: microTime }), 10_000);
    expect(ask(renewed, 16_000)).toEqual({ action: 'wait', ms: 9_000 });
  });

  test('takes one that did not change for so long, and counts the transition', () => {
    const spec = { ...own, acquireTime: microTime, leaseTransitions: 4 };
    expect(ask(saw(leaseOf('other')), 16_000)).toEqual({ action: 'acquire', spec });
    expect(ask(saw({ holderIdentity: 'other' }), 16_000)).toMatchObject({ spec: { leaseTransitions: 1 } });
  });

  test('waits out the holder of a Lease that somebody deleted', () => {
    const gone = observed(saw(leaseOf('other')), undefined, 5_000);
    expect(ask(gone, 5_000)).toEqual({ action: 'wait', ms: 11_000 });
    expect(ask(gone, 16_000)).toMatchObject({ action: 'acquire' });
  });

  test('goes on with a Lease that it got by a write whose answer was lost', () => {
    const standing = saw(leaseOf('me'));
    expect(worksUntil(standing, timing)).toBe(Number.NEGATIVE_INFINITY);
    expect(ask(standing, 1_000)).toEqual({ action: 'renew', spec: { ...leaseOf('me'), ...own } });
  });

  test('does not come to lead by an answer that took until its time was over', () => {
    const at = (now: number) => written(newcomer, leaseOf('me'), 1_000, { timing, now });
    expect(worksUntil(at(10_999), timing)).toBe(11_000);
    expect(worksUntil(at(11_000), timing)).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe('a leader', () => {
  test('renews, and keeps since when it leads and what others wrote', () => {
    const standing = { ...leader, lease: { ...leaseOf('me'), strategy: 'OldestEmulationVersion' } };
    const spec = { ...standing.lease, ...own };
    expect(ask(standing, 3_000)).toEqual({ action: 'renew', spec });
    expect(spec).toMatchObject({ acquireTime: before, leaseTransitions: 3 });
  });

  test('works until its deadline, counted from when it sent the renewal', () => {
    const standing = written(leader, leaseOf('me'), 5_000, { timing, now: 7_000 });
    expect(worksUntil(standing, timing)).toBe(15_000);
    expect(ask(standing, 14_999)).toMatchObject({ action: 'renew' });
    const reason = 'the Lease could not be renewed for 10 s';
    expect(ask(standing, 15_000)).toEqual({ action: 'stop', reason });
  });

  test('ends when another has the Lease, before its deadline and whether that one renews it or not', () => {
    const taken = observed(leader, leaseOf('other'), 3_000);
    expect(ask(taken, 3_000)).toEqual({ action: 'stop', reason: 'other holds the Lease now' });
  });

  test('makes the Lease anew when somebody deleted it', () => {
    expect(ask(observed(leader, undefined, 3_000), 3_000)).toMatchObject({
      action: 'renew',
      spec: { acquireTime: before, leaseTransitions: 3 },
    });
  });

  test('takes one back that somebody emptied', () => {
    const emptied = observed(leader, leaseOf(''), 3_000);
    expect(ask(emptied, 3_000)).toMatchObject({ action: 'acquire', spec: { leaseTransitions: 4 } });
  });

  test('leaves a Lease that is free at once', () => {
    expect(released(leaseOf('me'), date)).toEqual({
      holderIdentity: '',
      leaseDurationSeconds: 1,
      acquireTime: microTime,
      renewTime: microTime,
      leaseTransitions: 3,
    });
  });
});
