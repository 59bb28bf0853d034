import tls from 'node:tls';
import type { MacpAuthIssuer } from '../api/names.ts';
import { fromBase64 } from '../build/files.ts';
import { serverHost, serverPorts } from '../build/server.ts';
import { type ApiClient, briefly } from '../cluster/client.ts';
import { within } from '../cluster/deadline.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { type Certificate, inspectCertificate, type ServedCertificate } from '../plan/certificate.ts';
import { explain, limitedText, timeoutMs } from './probe.ts';

/** Asks a server pod which certificate it serves. */
export type AskCertificate = (pod: KubeObject) => Promise<ServedCertificate>;

/** What was found about the certificate of an issuer. */
export type CertificateObservation = Certificate | { failure: unknown; problem: string };

/** The hosts that the certificate of an issuer's servers may be for: the Service, and an external URL that is https. */
export function certificateHosts(issuer: MacpAuthIssuer): string[] {
  const { externalURL } = issuer.spec.server;
  const external = externalURL && URL.canParse(externalURL) ? new URL(externalURL) : undefined;
  // An IPv6 address is in brackets there.
  const host = external?.protocol === 'https:' ? [external.hostname.replace(/^\[|\]$/g, '')] : [];
  return [serverHost(issuer), ...host];
}

/** Reads the Secret of `spec.server.tls` live, and keeps nothing of it but what may be told. */
export async function observeCertificate(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  secretName: string,
): Promise<CertificateObservation> {
  try {
    const secret = await client.find(resources.secrets, issuer.metadata.namespace, secretName);
    const data = Object.entries((secret?.data ?? {}) as Record<string, string>);
    const files = Object.fromEntries(data.map(([name, value]) => [name, fromBase64(value)]));
    const found = secret && { type: secret.type as string | undefined, files };
    return inspectCertificate(secretName, found, certificateHosts(issuer));
  } catch (error) {
    return { failure: error, problem: `Secret ${secretName} could not be read: ${briefly(error)}` };
  }
}

/** Asks pods at their own address, by a handshake. Nobody's word is taken for the certificate: it is compared whole. */
export const askCertificateDirectly = (): AskCertificate =>
  asking(async (pod, signal) => {
    const host = (pod.status as { podIP?: string } | undefined)?.podIP;
    if (!host) throw new Error('it has no address yet');
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ host, port: serverPorts.tls, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256);
        socket.destroy();
      });
      socket.on('error', reject);
      signal.addEventListener('abort', () => socket.destroy(signal.reason), { once: true });
    });
  });

const servedMetric = /^macp_auth_tls_certificate_not_after_timestamp_seconds\{sha256="([0-9A-F:]+)"\}/m;

/** Asks pods' metrics through the API server's proxy, which shows no certificate. */
export const askCertificateThroughProxy = (client: ApiClient): AskCertificate =>
  asking(async ({ metadata: { namespace, name } }, signal) => {
    const response = await client.getFromPod(namespace, name, serverPorts.health, '/metrics', signal);
    return servedMetric.exec(await limitedText(response))?.[1];
  });

function asking(ask: (pod: KubeObject, signal: AbortSignal) => Promise<string | undefined>): AskCertificate {
  return async (pod) => {
    const { name } = pod.metadata;
    try {
      const sha256 = await within(timeoutMs, (signal) => ask(pod, signal));
      return sha256 === undefined
        ? { pod: name, problem: 'it has no certificate yet' }
        : { pod: name, sha256 };
    } catch (error) {
      return { pod: name, problem: explain(error) };
    }
  };
}
