import type { SignerChoice } from '../contract/signer.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { SigningKey } from './key.ts';

/**
 * Makes an observer of the key in charge, to be told of every choice. It sets the metrics and writes one line
 * when the key or its state has changed, however many requests ask.
 */
export function createSignerMonitor(log: Log, metrics: Metrics): (choice: SignerChoice<SigningKey>) => void {
  let last: SignerChoice<SigningKey> | undefined;
  return (choice) => {
    const { key, state } = choice;
    // A key is known by its kid: a reload makes a new object of the same key, with a later end perhaps.
    if (last?.key.kid === key.kid && last.state === state && last.key.signUntil === key.signUntil) return;
    last = choice;
    metrics.signerChanged(choice);
    const { kid, alg } = key;
    if (state === 'good') log.info({ event: 'signer', kid, alg }, 'this key signs');
    else {
      const signUntil = new Date(key.signUntil).toISOString();
      if (state === 'warn') {
        log.warn(
          { event: 'signer', kid, alg, signUntil },
          'the signing key nears its signUntil; the operator has to deliver a newer one before then',
        );
      } else {
        log.error(
          { event: 'signer', kid, alg, signUntil },
          'the signing key is past its signUntil: every mint is refused until the operator delivers a newer one',
        );
      }
    }
  };
}
