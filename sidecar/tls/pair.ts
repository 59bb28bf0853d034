import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { FileError } from '../keys/file-error.ts';

/** Names of the files of a certificate and its key: the keys of a Secret of type `kubernetes.io/tls`. */
export const pairFileNames = { certificate: 'tls.crt', key: 'tls.key' } as const;

/** A certificate chain and the private key of its first certificate, in PEM form. */
export interface Pair {
  chain: string;
  /** Never to be logged. */
  key: string;
  /** The first certificate of the chain. */
  certificate: X509Certificate;
}

/** A pair that can't be served, by what is wrong with it. What it says holds nothing of either file. */
export class PairError extends FileError {
  readonly fault: 'certificate' | 'key' | 'mismatch';

  constructor(fault: PairError['fault'], file: string, problem: string, fix: string) {
    super(file, problem, fix);
    this.fault = fault;
  }
}

/**
 * Checks that a certificate chain and a private key can be served together. Times and names are not looked at: they are
 * for clients to judge.
 *
 * @throws {PairError}
 */
export function readPair(chain: string, key: string): Pair {
  const certificate = readCertificate(chain);
  const { certificate: chainFile, key: keyFile } = pairFileNames;
  if (!certificate.checkPrivateKey(readKey(key))) {
    throw new PairError(
      'mismatch',
      keyFile,
      `is not the key of the certificate in ${chainFile}`,
      'put both of one issuance there together',
    );
  }
  try {
    createSecureContext({ cert: chain, key });
  } catch (error) {
    const { code = 'no code' } = error as { code?: string };
    throw new PairError(
      'certificate',
      chainFile,
      `can't be served (${code})`,
      'issue a certificate with a key of today, and have nothing but certificates in the file',
    );
  }
  return { chain, key, certificate };
}

function readCertificate(text: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch {
    throw new PairError(
      'certificate',
      pairFileNames.certificate,
      'does not begin with a certificate that can be read',
      'write a certificate in PEM form there, followed by its intermediate ones',
    );
  }
}

function readKey(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw new PairError(
      'key',
      pairFileNames.key,
      'holds no private key that can be read',
      'write the private key in PEM form there, without a passphrase',
    );
  }
}
