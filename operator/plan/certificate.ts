import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { PairError, pairFileNames, readPair } from '../../sidecar/tls/pair.ts';

/** What of a Secret is looked at. The texts are decoded. */
export interface TLSSecret {
  type: string | undefined;
  files: Readonly<Record<string, string | undefined>>;
}

/** What the Secret of `spec.server.tls` holds. */
export type Certificate =
  | {
      /** SHA-256 fingerprint of the first certificate, as pairs of hexadecimal digits with colons. */
      sha256: string;
      /** Milliseconds since the Unix epoch. */
      notBefore: number;
      notAfter: number;
      /** Those of the hosts that the certificate was held against which it is for. */
      hosts: string[];
    }
  | {
      reason: 'SecretMissing' | 'SecretNotTLS' | 'BadCertificate' | 'BadKey' | 'KeyMismatch';
      /** What is wrong, and the fix; nothing of what the Secret holds. */
      problem: string;
    };

/** What a ready server pod served by TLS, or why it served nothing. */
export type ServedCertificate = { pod: string; sha256: string } | { pod: string; problem: string };

/** Type of a Secret with a certificate and its key. */
export const tlsSecretType = 'kubernetes.io/tls';

/**
 * Judges the Secret of a certificate by what servers will make of it; undefined: it does not exist. Its name is for the
 * messages.
 */
export function inspectCertificate(
  name: string,
  secret: TLSSecret | undefined,
  hosts: readonly string[],
): Certificate {
  const wanted = `of type ${tlsSecretType}, with ${pairFileNames.certificate} and ${pairFileNames.key}`;
  if (!secret) {
    const problem = `Secret ${name} does not exist: create one ${wanted}, or remove spec.server.tls`;
    return { reason: 'SecretMissing', problem };
  }
  const notTLS = (what: string): Certificate => ({
    reason: 'SecretNotTLS',
    problem: `Secret ${name} ${what}: replace it by one ${wanted}`,
  });
  if (secret.type !== tlsSecretType) return notTLS(`is of type ${secret.type}`);
  const { [pairFileNames.certificate]: chain, [pairFileNames.key]: key } = secret.files;
  if (!chain) return notTLS(`has no ${pairFileNames.certificate}`);
  if (!key) return notTLS(`has no ${pairFileNames.key}`);
  try {
    const { certificate } = readPair(chain, key);
    return {
      sha256: certificate.fingerprint256,
      notBefore: certificate.validFromDate.getTime(),
      notAfter: certificate.validToDate.getTime(),
      hosts: hosts.filter((host) => isFor(certificate, host)),
    };
  } catch (error) {
    if (!(error instanceof PairError)) throw error;
    const reason = { certificate: 'BadCertificate', key: 'BadKey', mismatch: 'KeyMismatch' } as const;
    return { reason: reason[error.fault], problem: `Secret ${name}: ${error.message}` };
  }
}

// As clients of today do it: by the alternative names alone.
function isFor(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host, { subject: 'never' }) !== undefined;
}
