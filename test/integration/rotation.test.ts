import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type Bench, eventually, openBench } from './support.ts';

const spec = {
  ttl: { default: '30s', max: '40s' },
  rotation: { interval: '10m', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '5m' },
};
// From decision to switch: propagation and clockSkew.
const switchMs = 2_000;
// The longest token, the verifiers' leeway, clockSkew.
const lastTokenMs = 40_000 + 60_000 + 1_000;

type Key = NonNullable<NonNullable<MacpAuthIssuer['status']>['keys']>[number];

const ms = (time: string | undefined): number => Date.parse(time ?? '');

describe('keys', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('rotation');
    bench.operator();
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const patch = (name: string, rotation: object) =>
    bench.kubectl.run([
      ...['patch', 'mai', name, '-n', bench.namespace, '--type=merge'],
      ...['-p', JSON.stringify({ spec: { rotation } })],
    ]);
  const keysOf = async (name: string) => (await bench.issuer(name)).status?.keys ?? [];
  const inState = (keys: readonly Key[], state: string) => keys.filter((key) => key.state === state);
  const ids = (keys: readonly Key[]) => keys.map(({ keyID }) => keyID);
  const held = async (name: string) => (await bench.agentFiles(name)).keys.map(({ kid }) => kid);
  const events = async (name: string): Promise<{ type: string; reason: string; note: string }[]> => {
    const { items } = await bench.client.list(resources.events, bench.namespace, {});
    return (items as unknown as { regarding: { name: string }; type: string; reason: string; note: string }[])
      .filter(({ regarding }) => regarding.name === name)
      .map(({ type, reason, note }) => ({ type, reason, note }));
  };
  const anEvent = (type: string, reason: string, ...words: string[]) => ({
    type,
    reason,
    note: expect.stringMatching(new RegExp(words.map((word) => `(?=.*${word})`).join(''))),
  });
  const condition = async (name: string, type: string) =>
    (await bench.issuer(name)).status?.conditions?.find((candidate) => candidate.type === type);

  test('rotate on demand: decided, switched, retired, with all of it in status and Events', async () => {
    await bench.apply('demand', spec);
    const first = await bench.ready('demand');
    const old = first.status?.activeKeyID as string;
    const oldKey = first.status?.keys?.find(({ keyID }) => keyID === old) as Key;
    expect(first.status?.nextRotationTime).toBe(new Date(ms(oldKey.activeTime) + 600_000).toISOString());
    expect(ms(oldKey.signUntilTime)).toBe(ms(oldKey.activeTime) + 900_000);
    expect(await condition('demand', 'RotationOnTime')).toMatchObject({ status: 'True', reason: 'NotDue' });

    await patch('demand', { rotateNow: 'now' });
    const committed = await eventually('SwitchCommitted', async () => {
      const issuer = await bench.issuer('demand');
      const state = issuer.status?.conditions?.find(({ type }) => type === 'RotationOnTime');
      if (state?.reason === 'SwitchCommitted') return issuer;
      throw new Error(JSON.stringify(state));
    });
    const decidedBy = Date.now();
    const next = committed.status?.keys?.find(({ state, activeTime }) => state === 'Next' && activeTime);
    const kid = next?.keyID as string;
    expect(bench.keyIDs(first)).toContain(kid);
    expect(ms(next?.activeTime)).toBeLessThanOrEqual(decidedBy + switchMs);
    expect(committed.status).toMatchObject({
      activeKeyID: old,
      nextRotationTime: next?.activeTime,
      // It is handled once the switch is over.
      handledRotateNow: '',
    });
    // Both while the switch is on, and the next spare is published already.
    expect(await held('demand')).toEqual([old, kid]);
    expect((await bench.published('demand')).sort()).toEqual(ids(committed.status?.keys ?? []).sort());
    expect(inState(committed.status?.keys ?? [], 'Next')).toHaveLength(3);

    // The old one no longer signs from the switch on, and is given up once clocks are surely past it.
    const after = await eventually('Retired', async () => {
      const issuer = await bench.issuer('demand');
      return inState(issuer.status?.keys ?? [], 'Retired')[0]?.removalTime !== undefined && issuer;
    });
    expect(await held('demand')).toEqual([kid]);
    expect(after.status).toMatchObject({
      activeKeyID: kid,
      nextRotationTime: new Date(ms(next?.activeTime) + 600_000).toISOString(),
    });
    const [retired] = inState(after.status?.keys ?? [], 'Retired') as [Key];
    expect(retired).toMatchObject({ keyID: old, signUntilTime: oldKey.signUntilTime });
    expect(ms(retired.removalTime)).toBe(ms(oldKey.signUntilTime) + lastTokenMs);
    const safe = ms(retired.safeToRevokeTime);
    expect(safe).toBeGreaterThanOrEqual(ms(next?.activeTime) + 1_000 + lastTokenMs);
    expect(safe).toBeLessThan(ms(next?.activeTime) + 1_000 + lastTokenMs + 5_000);
    expect(inState(after.status?.keys ?? [], 'Next')).toHaveLength(2);
    expect(await bench.published('demand')).toContain(old);
    expect(await condition('demand', 'RotationOnTime')).toMatchObject({ status: 'True', reason: 'NotDue' });
    await eventually('its Events', async () =>
      (await events('demand')).some(({ reason }) => reason === 'KeyRetired'),
    );
    const told = await events('demand');
    expect(told).toContainEqual(anEvent('Normal', 'SwitchCommitted', kid, next?.activeTime as string));
    expect(told).toContainEqual(anEvent('Normal', 'KeyRetired', old, retired.removalTime as string));
    expect(told.filter(({ reason }) => reason === 'SwitchCommitted')).toHaveLength(1);
  }, 60_000);

  test('are revoked at once, one or all, and never come back', async () => {
    await bench.apply('leaky', spec);
    await bench.ready('leaky');
    await eventually('ripe spares', async () => {
      const published = await condition('leaky', 'Published');
      return published?.reason === 'AllServersCurrent';
    });
    await sleep(switchMs + 1_000);
    let empty = 0;
    let looking = true;
    const look = (async () => {
      while (looking) {
        if ((await bench.published('leaky')).length === 0) empty += 1;
        await sleep(20);
      }
    })();
    const gone: string[] = [];
    const revoke = async (...kids: string[]): Promise<Key[]> => {
      gone.push(...kids);
      await patch('leaky', { revokedKeyIDs: gone });
      const keys = await eventually('Revoked', async () => {
        const { status } = await bench.issuer('leaky');
        const all = status?.keys ?? [];
        return gone.every((kid) => ids(inState(all, 'Revoked')).includes(kid)) && all;
      });
      expect(inState(keys, 'Active')).toHaveLength(1);
      expect(inState(keys, 'Next')).toHaveLength(2);
      const published = await bench.published('leaky');
      expect(published.sort()).toEqual(ids(keys.filter(({ state }) => state !== 'Revoked')).sort());
      expect(await held('leaky')).toEqual(ids(inState(keys, 'Active')));
      expect((await bench.agentFiles('leaky')).jwks.map(({ kid }) => kid).sort()).toEqual(published);
      return keys;
    };

    const before = await keysOf('leaky');
    const [active, ...spares] = bench.keyIDs(await bench.issuer('leaky')) as [string, ...string[]];
    const asked = Date.now();
    const first = await revoke(active);
    const record = first.find(({ keyID }) => keyID === active);
    expect(ms(record?.removalTime)).toBeGreaterThanOrEqual(asked - 1_000);
    expect(ms(record?.revokedSafeTime)).toBeGreaterThanOrEqual(ms(record?.removalTime) + 1_000);
    expect(ms(record?.revokedSafeAtWorstTime) - ms(record?.revokedSafeTime)).toBe(3_600_000);
    const [promoted] = inState(first, 'Active') as [Key];
    expect(spares).toContain(promoted.keyID);
    // A ripe one: verifiers know it.
    expect(promoted).not.toHaveProperty('acceptedFromTime');

    const [spare] = inState(first, 'Next') as [Key, Key];
    const second = await revoke(spare.keyID);
    expect(inState(second, 'Active')).toEqual([promoted]);

    const third = await revoke(...ids(second.filter(({ state }) => state !== 'Revoked')));
    const [fresh] = inState(third, 'Active') as [Key];
    expect(ids([...before, ...first, ...second])).not.toContain(fresh.keyID);
    // Nobody can know it yet, and status says until when.
    expect(ms(fresh.acceptedFromTime)).toBeGreaterThan(ms(fresh.activeTime));

    await patch('leaky', { revokedKeyIDs: [] });
    await eventually('the change seen', async () => {
      const { status, metadata } = await bench.issuer('leaky');
      return status?.observedGeneration === metadata.generation;
    });
    await sleep(1_000);
    expect(ids(inState(await keysOf('leaky'), 'Revoked')).sort()).toEqual(gone.toSorted());
    const published = await bench.published('leaky');
    for (const kid of gone) expect(published).not.toContain(kid);
    looking = false;
    await look;
    expect(empty).toBe(0);
    const told = await events('leaky');
    for (const kid of gone) expect(told).toContainEqual(anEvent('Warning', 'KeyRevoked', kid));
    expect(told).toContainEqual(anEvent('Warning', 'KeyPromoted', promoted.keyID, 'know it already'));
    // By now status may say it more exactly, having seen the servers.
    expect(told).toContainEqual(anEvent('Warning', 'KeyPromoted', fresh.keyID, 'accepts it from'));
  }, 60_000);

  // That is what the old spares stay for.
  test('of the old algorithm take over in an emergency while those of a new one ripen', async () => {
    await bench.apply('changing', spec);
    const { status } = await bench.ready('changing');
    await eventually('spares that are served', async () => {
      const published = await condition('changing', 'Published');
      return published?.reason === 'AllServersCurrent';
    });
    await sleep(switchMs + 1_000);
    // In one edit, as one who replaces a leaked key by one of another kind does.
    const edit = { algorithm: 'RS256', rotation: { revokedKeyIDs: [status?.activeKeyID] } };
    await bench.apply('changing', { ...spec, ...edit, rotation: { ...spec.rotation, ...edit.rotation } });
    const keys = await eventually('Revoked', async () => {
      const all = await keysOf('changing');
      return inState(all, 'Revoked').length === 1 && all;
    });
    const [promoted] = inState(keys, 'Active') as [Key];
    expect(promoted.algorithm).toBe('ES256');
    expect(promoted).not.toHaveProperty('acceptedFromTime');
    await eventually('a key of the new algorithm', async () => {
      return inState(await keysOf('changing'), 'Active')[0]?.algorithm === 'RS256';
    });
  }, 60_000);
});
