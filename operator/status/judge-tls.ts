import type { Certificate, ServedCertificate } from '../plan/certificate.ts';
import type { Judgement } from './conditions.ts';

const at = (ms: number): string => new Date(ms).toISOString();

/**
 * Judges whether every ready server pod serves a certificate that clients can take. `secretName` and `hosts`, which it
 * was held against, are for the messages; `now` in milliseconds since the Unix epoch.
 *
 * One of the hosts is enough: an authority for the world names no Service, and before a Gateway that ends TLS itself
 * nobody asks for the external host.
 */
export function judgeTLS(
  certificate: Certificate | { problem: string },
  served: readonly ServedCertificate[],
  { secretName, hosts, now }: { secretName: string; hosts: readonly string[]; now: number },
): Judgement {
  const type = 'TLSReady';
  if (!('sha256' in certificate)) {
    const reason = 'reason' in certificate ? certificate.reason : 'SecretAccessFailed';
    return { type, reason, message: certificate.problem };
  }
  const { notBefore, notAfter, sha256 } = certificate;
  const which = `the certificate in Secret ${secretName}`;
  if (notAfter <= now) {
    const message = `${which} expired at ${at(notAfter)}: renew it`;
    return { type, reason: 'CertificateExpired', message };
  }
  if (notBefore > now) {
    const message = `${which} is valid only from ${at(notBefore)}: replace it, or set the clocks right`;
    return { type, reason: 'CertificateNotYetValid', message };
  }
  if (certificate.hosts.length === 0) {
    const names = hosts.join(' or ');
    const message = `${which} is not for ${names}: issue it with that among its subject alternative names`;
    return { type, reason: 'NamesNotCovered', message };
  }
  if (served.length === 0)
    return { type, reason: 'WaitingForServers', message: 'no server pod is ready yet' };
  for (const answer of served) {
    if ('sha256' in answer && answer.sha256 === sha256) continue;
    const why = 'problem' in answer ? `: ${answer.problem}` : '';
    const message = `server pod ${answer.pod} does not serve ${which} yet${why}`;
    return { type, reason: 'WaitingForServers', message };
  }
  const message = `every ready server pod serves ${which}, which expires at ${at(notAfter)}`;
  return { type, reason: 'CertificateServed', message };
}
