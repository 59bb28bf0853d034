import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { eventually, openPlace, type Place } from './place.ts';
import { providePrograms } from './pods.ts';
import { activeKey, shortLife, startWork, switched, type Work } from './work.ts';

jest.setTimeout(300_000);

let place: Place;
let work: Work;

beforeAll(async () => {
  place = await openPlace('rotation');
  await providePrograms(place);
  await place.ready('keys', shortLife);
  work = await startWork(place, 'keys');
}, 900_000);
afterAll(() => place?.close());

const say = (line: string) => process.stderr.write(`${line}\n`);

test('rotations on demand refuse no token of agents that never pause', async () => {
  const seen = new Set([await activeKey(place, 'keys')]);
  for (const token of ['one', 'two', 'three']) {
    const before = await activeKey(place, 'keys');
    await place.patch('keys', { rotation: { rotateNow: token } });
    const { status } = await switched(place, 'keys', before);
    const kid = status?.activeKeyID as string;
    const first = await work.sees(kid);
    const activeAt = Date.parse(status?.keys?.find(({ keyID }) => keyID === kid)?.activeTime as string);
    say(
      `rotation ${token}: signed with ${first.map(({ at }) => `${at - activeAt} ms`).join(' and ')} after it was due`,
    );
    // Not before it was due, give or take the second that status rounds to.
    for (const { at } of first) expect(at - activeAt).toBeGreaterThan(-1_000);
    seen.add(kid);
  }
  expect(seen.size).toBe(4);
  await work.goesOn();
  await work.isUnrefused('three rotations');
});

test('a change of the algorithm does not either', async () => {
  const before = await activeKey(place, 'keys');
  await place.patch('keys', { algorithm: 'RS256' });
  const { status } = await switched(place, 'keys', before);
  const kid = status?.activeKeyID as string;
  expect(status?.keys?.find(({ keyID }) => keyID === kid)?.algorithm).toBe('RS256');
  await work.sees(kid);
  await work.goesOn();
  await work.isUnrefused('to RS256');
});

test('a revocation refuses the tokens of its key for good, and none of another', async () => {
  const leaked = await activeKey(place, 'keys');
  await place.patch('keys', { rotation: { revokedKeyIDs: [leaked] } });
  const { status } = await switched(place, 'keys', leaked);
  const promoted = status?.activeKeyID as string;
  await work.sees(promoted);
  const record = await eventually('an end of the revocation in status', async () => {
    const found = (await place.issuer('keys')).status?.keys?.find(({ keyID }) => keyID === leaked);
    if (found?.state === 'Revoked' && found.revokedSafeTime) return found;
    throw new Error(JSON.stringify(found));
  });
  const safeAt = Date.parse(record.revokedSafeTime as string);
  await eventually('the time that status calls safe', async () => Date.now() > safeAt + 2_000, 60);
  await work.goesOn();
  const ofLeaked = (await work.verdicts()).filter(({ kid }) => kid === leaked);
  const lastAccepted = ofLeaked.findLast(({ outcome }) => outcome === 'accepted')?.at ?? 0;
  const refused = ofLeaked.filter(({ outcome }) => outcome === 'UNAUTHENTICATED');
  say(
    `revoked: ${refused.length} refused, last accepted ${safeAt - lastAccepted} ms before it was called safe`,
  );
  expect(refused.length).toBeGreaterThan(0);
  expect(lastAccepted).toBeLessThan(safeAt);
  await work.isUnrefused('a revocation', [leaked]);
});
