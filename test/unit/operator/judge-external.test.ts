import { describe, expect, test } from '@jest/globals';
import type { ExternalAnswer, ServedKey } from '../../../operator/plan/servers.ts';
import { judgeExternal } from '../../../operator/status/judge-external.ts';
import { keyringOf, newKeys, t0 } from './builders.ts';

const record = (revokedAt: number) =>
  ({ kid: 'leaked', algorithm: 'ES256', revokedAt, safeAt: t0, safeAtWorst: t0 }) as const;
const keyring = keyringOf();
const all = keyring.keys.map(({ publicKey }) => publicKey as ServedKey);
const stranger = { ...(newKeys(1)[0]?.publicKey as ServedKey), kid: 'strange' };
const leaked = { ...stranger, kid: 'leaked' };

const judge = (answer: ExternalAnswer, of: typeof keyring | undefined = keyring) =>
  judgeExternal(of, answer, t0);

describe('what an external URL serves is judged', () => {
  const revoked = (at: number) =>
    judge({ keys: [...all, leaked] }, keyringOf({ ...keyring, revoked: [record(at)] }));
  const cases: [string, ReturnType<typeof judge>, string, string][] = [
    ['with all keys', judge({ keys: all }), 'ExternalSetCurrent', 'serves all 3 keys'],
    [
      'without an answer',
      judge({ problem: 'it answered 404' }),
      'ExternalURLUnreachable',
      'spec.server.externalURL gave no JWKS: it answered 404; correct it',
    ],
    ['with a stranger', judge({ keys: [...all, stranger] }), 'UnknownKeyServed', 'never had (strange)'],
    ['without the key that signs', judge({ keys: all.slice(1) }), 'ExternalSetBehind', 'refuse their tokens'],
    ['without any key', judge({ keys: [] }), 'ExternalSetBehind', 'lacks keys that sign or signed'],
    [
      'without a spare',
      judge({ keys: all.slice(0, 2) }),
      'ExternalSetUpdating',
      'does not serve all spares yet',
    ],
    [
      'with a key that was revoked a moment ago',
      revoked(t0 + 1),
      'ExternalSetUpdating',
      'still serves revoked',
    ],
    ['with a key that was revoked long ago', revoked(t0), 'RevokedKeyServed', 'clear the cache'],
    [
      'with other members of a key',
      judge({ keys: [{ ...(all[0] as ServedKey), x: stranger.x }, ...all.slice(1)] }),
      'UnknownKeyServed',
      'with other members',
    ],
  ];
  test.each(cases)('%s', (_, judgement, reason, words) => {
    expect(judgement).toMatchObject({
      type: 'PublishedExternally',
      reason,
      message: expect.stringContaining(words),
    });
  });

  test('not before there is a keyring', () => {
    expect(judgeExternal(undefined, { keys: all }, t0).reason).toBe('KeyringNotReady');
  });
});
