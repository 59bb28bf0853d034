import type {
  V1Deployment,
  V1PodDisruptionBudget,
  V1ResourceRequirements,
  V1Service,
} from '@kubernetes/client-node';
import { pairFileNames } from '../../sidecar/tls/pair.ts';
import { labels, type MacpAuthIssuer, objectNames } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';
import { commonLabels, issuerAppName, ownerReference } from './metadata.ts';

/** Component label of the JWKS server's pods. */
const serverComponent = 'jwks-server';

/** Ports of the server's pods. */
export const serverPorts = { jwks: 3200, health: 3201, tls: 3443 } as const;

/** Path of the JWK Set, that of the reference service. */
export const jwksPath = '/.well-known/jwks.json';

/** The Service's DNS name in the cluster. */
export const serverHost = ({ metadata }: MacpAuthIssuer): string =>
  `${objectNames(metadata).server}.${metadata.namespace}.svc`;

/**
 * The URL under which runtimes fetch the JWKS: the external one where there is one. Else it is http, whatever
 * `server.tls` says: the published runtime cannot fetch https.
 */
export const jwksURL = (issuer: MacpAuthIssuer): string =>
  issuer.spec.server.externalURL ?? `http://${serverHost(issuer)}${jwksPath}`;

const filesPath = '/var/run/macp-auth';
const tlsPath = '/var/run/macp-auth-tls';

const defaultResources: V1ResourceRequirements = {
  requests: { cpu: '10m', memory: '128Mi' },
  limits: { memory: '256Mi' },
};

// A quantity may be written as a number in the issuer; the API server keeps text.
const quantities = (requirements: object): V1ResourceRequirements =>
  Object.fromEntries(
    Object.entries(requirements).map(([kind, amounts]) => [
      kind,
      Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, String(amount)])),
    ]),
  );

/** What the pods of every issuer's Service have in common; the issuer's name is their {@link labels.instance}. */
export const serverPodSelector = `${labels.name}=${issuerAppName},${labels.component}=${serverComponent}`;

const selector = (issuer: MacpAuthIssuer): Record<string, string> => {
  const all = commonLabels(issuer, serverComponent);
  const names = [labels.name, labels.instance, labels.component];
  return Object.fromEntries(names.map((name) => [name, all[name] as string]));
};

const metadata = (issuer: MacpAuthIssuer) => ({
  name: objectNames(issuer.metadata).server,
  namespace: issuer.metadata.namespace,
  labels: commonLabels(issuer, serverComponent),
  ownerReferences: [ownerReference(issuer)],
});

const podField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });

const tlsVariables = [
  { name: 'MACP_AUTH_TLS_DIR', value: tlsPath },
  { name: 'MACP_AUTH_TLS_PORT', value: String(serverPorts.tls) },
];

// Nothing else of the Secret, whichever it is. It may come later, or never: http is served without it.
const tlsVolume = (secretName: string) => ({
  name: 'tls',
  secret: {
    secretName,
    optional: true,
    items: Object.values(pairFileNames).map((file) => ({ key: file, path: file })),
  },
});

/**
 * The Deployment of the JWKS server: it mounts public files, and the certificate of `server.tls` with its key; no key
 * that signs tokens, and no token of the API server.
 */
export function serverDeployment(issuer: MacpAuthIssuer, image: string): KubeObject {
  const { server } = issuer.spec;
  const { tls } = server;
  const probe = (path: string) => ({ httpGet: { path, port: 'health' } });
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(issuer),
    spec: {
      replicas: server.replicas,
      selector: { matchLabels: selector(issuer) },
      // A rollout never takes a server away before its successor is ready.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels: commonLabels(issuer, serverComponent) },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 65532,
            runAsGroup: 65532,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: 'kubernetes.io/hostname',
              whenUnsatisfiable: 'ScheduleAnyway',
              labelSelector: { matchLabels: selector(issuer) },
            },
          ],
          ...(server.nodeSelector && { nodeSelector: server.nodeSelector }),
          ...(server.tolerations && { tolerations: server.tolerations }),
          ...(server.affinity && { affinity: server.affinity }),
          containers: [
            {
              name: serverComponent,
              image,
              env: [
                { name: 'MACP_AUTH_FILES_DIR', value: filesPath },
                { name: 'PORT', value: String(serverPorts.jwks) },
                { name: 'MACP_AUTH_HEALTH_PORT', value: String(serverPorts.health) },
                podField('MACP_AUTH_BIND_ADDRESS', 'status.podIP'),
                podField('MACP_AUTH_HEALTH_BIND_ADDRESS', 'status.podIP'),
                ...(tls ? tlsVariables : []),
              ],
              ports: [
                { name: 'jwks', containerPort: serverPorts.jwks, protocol: 'TCP' },
                { name: 'health', containerPort: serverPorts.health, protocol: 'TCP' },
                ...(tls ? [{ name: 'https', containerPort: serverPorts.tls, protocol: 'TCP' }] : []),
              ],
              startupProbe: { ...probe('/readyz'), periodSeconds: 1, failureThreshold: 30 },
              readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
              livenessProbe: { ...probe('/healthz'), periodSeconds: 10 },
              resources: server.resources ? quantities(server.resources) : defaultResources,
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
              volumeMounts: [
                { name: 'files', mountPath: filesPath, readOnly: true },
                ...(tls ? [{ name: 'tls', mountPath: tlsPath, readOnly: true }] : []),
              ],
            },
          ],
          volumes: [
            { name: 'files', configMap: { name: objectNames(issuer.metadata).server } },
            ...(tls ? [tlsVolume(tls.secretName)] : []),
          ],
        },
      },
    },
  } satisfies V1Deployment;
  return deployment;
}

/** The Service that runtimes fetch the JWKS from. */
export function serverService(issuer: MacpAuthIssuer): KubeObject {
  const { tls, service: wanted } = issuer.spec.server;
  const { type, annotations } = wanted;
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...metadata(issuer), ...(annotations && { annotations }) },
    spec: {
      type,
      selector: selector(issuer),
      ports: [
        { name: 'http', port: 80, targetPort: 'jwks', protocol: 'TCP' },
        ...(tls ? [{ name: 'https', port: 443, targetPort: 'https', protocol: 'TCP' }] : []),
      ],
    },
  } satisfies V1Service;
  return service;
}

/** Keeps evictions from taking more than one server at a time. */
export function serverPodDisruptionBudget(issuer: MacpAuthIssuer): KubeObject {
  const budget = {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: metadata(issuer),
    spec: { maxUnavailable: 1, selector: { matchLabels: selector(issuer) } },
  } satisfies V1PodDisruptionBudget;
  return budget;
}
