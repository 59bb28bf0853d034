import { isSpare, type Keyring } from '../plan/keyring.ts';
import { abbreviated, type ExternalAnswer, servedKeyIDs, strangers } from '../plan/servers.ts';
import type { Judgement } from './conditions.ts';

/**
 * Judges whether the set at `spec.server.externalURL` is what the keyring says. What was revoked after `expectedBy`
 * (milliseconds since the Unix epoch) a cache may hold still.
 */
export function judgeExternal(
  keyring: Keyring | undefined,
  answer: ExternalAnswer,
  expectedBy: number,
): Judgement {
  const type = 'PublishedExternally';
  if (!keyring) return { type, reason: 'KeyringNotReady', message: 'waits for the keyring' };
  const url = 'spec.server.externalURL';
  if ('problem' in answer) {
    const message = `${url} gave no JWKS: ${answer.problem}; correct it, or what is before the servers`;
    return { type, reason: 'ExternalURLUnreachable', message };
  }
  const kids = servedKeyIDs(answer.keys, keyring);
  const unknown = strangers(kids, keyring);
  if (unknown.length > 0) {
    const message = `${url} serves keys that the keyring never had (${abbreviated(unknown)}): find out whose they are, or correct the URL`;
    return { type, reason: 'UnknownKeyServed', message };
  }
  const revoked = keyring.revoked.filter(({ kid }) => kids.includes(kid));
  if (revoked.length > 0) {
    const still = `${url} still serves revoked keys (${abbreviated(revoked.map(({ kid }) => kid))})`;
    return revoked.some(({ revokedAt }) => revokedAt <= expectedBy)
      ? { type, reason: 'RevokedKeyServed', message: `${still}: clear the cache before the servers` }
      : { type, reason: 'ExternalSetUpdating', message: still };
  }
  const missing = keyring.keys.filter(({ kid }) => !kids.includes(kid));
  if (missing.some((key) => !isSpare(key))) {
    const message = `${url} lacks keys that sign or signed: runtimes that fetch it refuse their tokens`;
    return { type, reason: 'ExternalSetBehind', message };
  }
  if (missing.length > 0)
    return { type, reason: 'ExternalSetUpdating', message: `${url} does not serve all spares yet` };
  return {
    type,
    reason: 'ExternalSetCurrent',
    message: `${url} serves all ${keyring.keys.length} keys`,
  };
}
