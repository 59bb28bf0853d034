import { describe, expect, test } from '@jest/globals';
import type { Certificate, ServedCertificate } from '../../../operator/plan/certificate.ts';
import { judgeTLS } from '../../../operator/status/judge-tls.ts';
import { day, t0 } from './builders.ts';

const hosts = ['macp-auth-demo.team.svc', 'jwks.example.com'];
const certificate = { sha256: 'AA:BB', notBefore: t0 - day, notAfter: t0 + day, hosts: hosts.slice(0, 1) };
const current = { pod: 'a', sha256: 'AA:BB' };
const old = { pod: 'b', sha256: 'CC:DD' };

const judge = (
  of: Certificate | { problem: string } = certificate,
  served: readonly ServedCertificate[] = [current],
  now = t0,
) => judgeTLS(of, served, { secretName: 'web-tls', hosts, now });

describe('TLS is judged', () => {
  test('ready where every ready pod serves the certificate, saying until when', () => {
    expect(judge()).toEqual({
      type: 'TLSReady',
      reason: 'CertificateServed',
      message:
        'every ready server pod serves the certificate in Secret web-tls, which expires at 2026-03-02T00:00:00.000Z',
    });
  });

  const cases: [string, ReturnType<typeof judge>, string, string][] = [
    ['without a good pair', judge({ reason: 'BadKey', problem: 'it is bad' }), 'BadKey', 'it is bad'],
    ['without access', judge({ problem: 'no access' }), 'SecretAccessFailed', 'no access'],
    [
      'after its end, although it is served',
      judge({ ...certificate, notAfter: t0 }),
      'CertificateExpired',
      'the certificate in Secret web-tls expired at 2026-03-01T00:00:00.000Z: renew it',
    ],
    [
      'before its beginning',
      judge({ ...certificate, notBefore: t0 + 1 }),
      'CertificateNotYetValid',
      'is valid only from 2026-03-01T00:00:00.001Z: replace it, or set the clocks right',
    ],
    [
      'for other names',
      judge({ ...certificate, hosts: [] }),
      'NamesNotCovered',
      'is not for macp-auth-demo.team.svc or jwks.example.com: issue it with that among its subject alternative',
    ],
    ['without a ready pod', judge(certificate, []), 'WaitingForServers', 'no server pod is ready yet'],
    [
      'while a pod serves another',
      judge(certificate, [current, old]),
      'WaitingForServers',
      'server pod b does not serve the certificate in Secret web-tls yet',
    ],
    [
      'while a pod serves none',
      judge(certificate, [{ pod: 'c', problem: 'it cannot be reached (ECONNREFUSED)' }, current]),
      'WaitingForServers',
      'server pod c does not serve the certificate in Secret web-tls yet: it cannot be reached (ECONNREFUSED)',
    ],
  ];
  test.each(cases)('not ready %s', (_, judgement, reason, words) => {
    expect(judgement).toMatchObject({ type: 'TLSReady', reason, message: expect.stringContaining(words) });
  });

  test('the same each time, whichever pod answers first, or each look would be a write', () => {
    expect(judge(certificate, [current, current], t0 + 1)).toEqual(judge());
  });
});
