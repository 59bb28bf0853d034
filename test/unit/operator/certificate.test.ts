import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { inspectCertificate, type TLSSecret } from '../../../operator/plan/certificate.ts';
import { makeAuthority } from '../../support/certificates.ts';

const authority = makeAuthority();
const service = 'macp-auth-demo.team.svc';
const pair = authority.issue({ hosts: [service] });
const other = authority.issue({ hosts: [service] });
const secretOf = (files: Record<string, string>, type = 'kubernetes.io/tls'): TLSSecret => ({ type, files });
const good = { 'tls.crt': pair.certificate, 'tls.key': pair.key };
const inspect = (secret: TLSSecret | undefined, hosts = [service]) =>
  inspectCertificate('web-tls', secret, hosts);

describe('the Secret of a certificate', () => {
  test('tells of the first certificate which one it is, and when it is valid', () => {
    const chain = `${pair.certificate}${authority.certificate}`;
    const { fingerprint256, validFromDate, validToDate } = new X509Certificate(pair.certificate);
    expect(inspect(secretOf({ ...good, 'tls.crt': chain, 'ca.crt': authority.certificate }))).toEqual({
      sha256: fingerprint256,
      notBefore: validFromDate.getTime(),
      notAfter: validToDate.getTime(),
      hosts: [service],
    });
  });

  const cases: [string, TLSSecret | undefined, string, RegExp][] = [
    [
      'is not there',
      undefined,
      'SecretMissing',
      /^Secret web-tls does not exist: create one of type kubernetes/,
    ],
    [
      'is of another type',
      secretOf(good, 'Opaque'),
      'SecretNotTLS',
      /is of type Opaque: replace it by one of/,
    ],
    ['has no certificate', secretOf({ 'tls.key': pair.key }), 'SecretNotTLS', /has no tls\.crt: replace/],
    ['has an empty key', secretOf({ ...good, 'tls.key': '' }), 'SecretNotTLS', /has no tls\.key: replace/],
    [
      'has garbage',
      secretOf({ ...good, 'tls.crt': 'garbage' }),
      'BadCertificate',
      /web-tls: tls\.crt: does not/,
    ],
    ['has no key', secretOf({ ...good, 'tls.key': 'garbage' }), 'BadKey', /tls\.key: holds no private key/],
    [
      'has the key of another certificate',
      secretOf({ ...good, 'tls.key': other.key }),
      'KeyMismatch',
      /tls\.key: is not the key of the certificate in tls\.crt; put both/,
    ],
  ];
  test.each(cases)(
    'that %s is refused with the fix, and nothing of what it holds',
    (_, secret, reason, words) => {
      const found = inspect(secret);
      expect(found).toEqual({ reason, problem: expect.stringMatching(words) });
      for (const text of Object.values(secret?.files ?? {})) {
        const line = text?.split('\n')[1];
        if (line) expect(JSON.stringify(found)).not.toContain(line);
      }
    },
  );

  const names: [string, string[], string[]][] = [
    ['the Service', [service], [service]],
    ['nobody who asks', ['elsewhere.example'], []],
    ['all below a domain', ['*.team.svc'], [service]],
    ['the host outside', ['jwks.example.com'], ['jwks.example.com']],
    ['both', ['jwks.example.com', service], [service, 'jwks.example.com']],
    ['an address', ['192.0.2.7'], ['192.0.2.7']],
  ];
  test.each(names)('is held against hosts by its alternative names: %s', (_, names_, expected) => {
    const { certificate, key } = authority.issue({ hosts: names_ });
    const hosts = [service, 'jwks.example.com', '192.0.2.7'];
    expect(inspect(secretOf({ 'tls.crt': certificate, 'tls.key': key }), hosts)).toMatchObject({
      hosts: expected,
    });
  });

  test('is for nobody by its common name, which clients of today do not read', () => {
    const hosts = ['a server of a test'];
    const { certificate, key } = authority.issue({ hosts: [service] });
    expect(inspect(secretOf({ 'tls.crt': certificate, 'tls.key': key }), hosts)).toMatchObject({ hosts: [] });
  });
});
