import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { openPlace, type Place } from './place.ts';
import { agentPod, firstLine, providePrograms, runtimeVariables, startRuntime } from './pods.ts';

jest.setTimeout(240_000);

let place: Place;
const judged = { garbage: 'UNAUTHENTICATED', good: 'accepted', tampered: 'UNAUTHENTICATED' };

beforeAll(async () => {
  place = await openPlace('runtime');
  await providePrograms(place);
  const { status } = await place.ready('trusted');
  await place.ready('other');
  await startRuntime(place, status?.jwksURL as string);
}, 900_000);
afterAll(() => place?.close());

const proofOf = async (issuer: string, task: 'prove' | 'python') => {
  const name = `${issuer}-${task}`;
  const env = { ...runtimeVariables, SENDER: `agent://${name}` };
  await place.apply(agentPod(place, issuer, name, task, { env }));
  const { garbage, good, tampered } = await firstLine(place, `pod/${name}`, 'proof');
  return { garbage, good, tampered };
};

test('the published runtime, told status.jwksURL, refuses garbage and accepts what an agent minted', async () => {
  expect(await proofOf('trusted', 'prove')).toEqual(judged);
});

test('so it judges an agent with the published Python SDK, over gRPC', async () => {
  expect(await proofOf('trusted', 'python')).toEqual(judged);
});

test('it refuses the tokens of another issuer, of the same name and audience', async () => {
  expect(await proofOf('other', 'prove')).toEqual({ ...judged, good: 'UNAUTHENTICATED' });
});
