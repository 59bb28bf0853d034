import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Algorithm } from '../../../sidecar/contract/jwk.ts';
import { fixedWidth } from '../../../sidecar/keys/ecdsa.ts';
import { which } from '../../support/process.ts';
import type { SignWay } from './subjects.ts';

/** A way to sign, alone: how often a second, and the microseconds of CPU that each takes. */
export interface RawResult {
  alg: Algorithm;
  /** How an ES256 signature gets the form that a JWS has; RS256 has one form only. */
  form: 'ieee-p1363' | 'DER and fixedWidth' | 'plain';
  way: SignWay;
  perSecond: number;
  cpuMicroseconds: number;
}

const message = Buffer.alloc(400, 'x');
const inFlight = 16;

type Signs = (milliseconds: number) => Promise<number> | number;

/** Measures raw `crypto.sign`, each way for some milliseconds, as a process that does nothing else. */
export async function measureRaw(milliseconds: number): Promise<RawResult[]> {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const padded = { key: ec, dsaEncoding: 'ieee-p1363' } as const;
  const ways: [Algorithm, RawResult['form'], SignWay, Signs][] = [
    ['ES256', 'ieee-p1363', 'sync', synchronously(padded)],
    ['ES256', 'ieee-p1363', 'async', asynchronously(padded)],
    ['ES256', 'DER and fixedWidth', 'sync', synchronously(ec, fixedWidth)],
    ['ES256', 'DER and fixedWidth', 'async', asynchronously(ec, fixedWidth)],
    ['RS256', 'plain', 'sync', synchronously(rsa)],
    ['RS256', 'plain', 'async', asynchronously(rsa)],
  ];
  const results: RawResult[] = [];
  for (const [alg, form, way, signs] of ways) {
    await signs(milliseconds / 4);
    const [begin, cpu] = [performance.now(), process.cpuUsage()];
    const count = await signs(milliseconds);
    const used = process.cpuUsage(cpu);
    const perSecond = (count * 1000) / (performance.now() - begin);
    results.push({ alg, form, way, perSecond, cpuMicroseconds: (used.user + used.system) / count });
  }
  return results;
}

type SignKey = KeyObject | { key: KeyObject; dsaEncoding: 'ieee-p1363' };
const same = (signature: Buffer): Buffer => signature;

function synchronously(key: SignKey, convert = same): Signs {
  return (milliseconds) => {
    const end = performance.now() + milliseconds;
    let count = 0;
    for (; performance.now() < end; count += 1) convert(sign('sha256', message, key));
    return count;
  };
}

function asynchronously(key: SignKey, convert = same): Signs {
  return async (milliseconds) => {
    const end = performance.now() + milliseconds;
    let count = 0;
    const one = () =>
      new Promise<void>((resolve, reject) => {
        sign('sha256', message, key, (error, signature) => {
          if (error) reject(error);
          else {
            convert(signature);
            count += 1;
            resolve();
          }
        });
      });
    const again = async () => {
      while (performance.now() < end) await one();
    };
    await Promise.all(Array.from({ length: inFlight }, again));
    return count;
  };
}

/** `openssl speed` of one core, in signatures a second; undefined where there is no openssl. */
export function opensslSpeed(seconds: number): Record<Algorithm, number> | undefined {
  const openssl = which('openssl');
  if (openssl === undefined) return undefined;
  const words = ['speed', '-seconds', String(seconds), 'ecdsap256', 'rsa2048'];
  const { stdout } = spawnSync(openssl, words, { encoding: 'utf8', timeout: 60_000 + 10_000 * seconds });
  // A row ends in four columns: seconds for each of sign and verify, with an s, then how many of each a second.
  const signaturesOf = (name: string) =>
    Number(new RegExp(`${name}.*s +([\\d.]+) +[\\d.]+$`, 'm').exec(stdout)?.[1]);
  return { ES256: signaturesOf('256 bits ecdsa'), RS256: signaturesOf('rsa +2048 bits') };
}
