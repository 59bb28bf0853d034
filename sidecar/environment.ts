import { isIP } from 'node:net';
import { type Algorithm, algorithms } from './contract/jwk.ts';
import { type LogLevel, logLevels } from './log.ts';
import { StartError } from './start-error.ts';

/** Where a listener binds; without an address, every one of the host. */
export interface Binding {
  port: number;
  address: string | undefined;
}

/** Settings of a program that runs alone, as the reference service does. TTLs are in seconds. */
export interface AloneSettings {
  mode: 'alone';
  /** The private JWK as text; without it the key is ephemeral. Never to be logged. */
  signingKeyJSON: string | undefined;
  algorithm: Algorithm;
  issuer: string;
  audience: string;
  maxTTLSeconds: number;
  defaultTTLSeconds: number;
}

/** Settings of a program in a pod: everything but the ports comes from the mounted files. */
interface MountedSettings {
  mode: 'mounted';
  directory: string;
}

/** All that the environment decides. */
export interface Environment {
  /** The listener for `/tokens` and the JWKS. */
  main: Binding;
  /** The listener for health and metrics; undefined when there is none. */
  health: Binding | undefined;
  /** The directory with the certificate, and where the main listener is by HTTPS too; undefined when it is not. */
  tls: { directory: string; binding: Binding } | undefined;
  logLevel: LogLevel;
  /** The namespace of this pod, for grants and the audit log. */
  podNamespace: string | undefined;
  /** The ServiceAccount of this pod, for the same. */
  serviceAccount: string | undefined;
  source: AloneSettings | MountedSettings;
}

/** The variables that say which workload this is; the downward API fills them in. */
export const workloadVariables = {
  namespace: 'MACP_AUTH_POD_NAMESPACE',
  serviceAccount: 'MACP_AUTH_SERVICE_ACCOUNT',
} as const;

// RFC 1123, as Kubernetes names namespaces and ServiceAccounts.
const objectName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

const aloneOnly = [
  'MACP_AUTH_SIGNING_KEY_JSON',
  'MACP_AUTH_ISSUER',
  'MACP_AUTH_AUDIENCE',
  'MACP_AUTH_MAX_TTL_SECONDS',
  'MACP_AUTH_DEFAULT_TTL_SECONDS',
  'MACP_AUTH_SIGNING_ALG',
];

/**
 * Reads the environment variables. An empty one counts as unset: manifests often leave one behind.
 *
 * @throws {StartError} with one line that names every bad variable, its problem and the fix.
 */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): Environment {
  const problems: string[] = [];
  const text = (name: string) => variables[name] || undefined;

  function read<T>(name: string, fallback: T, parse: (value: string) => T | undefined, fix: string): T {
    const value = text(name);
    if (value === undefined) return fallback;
    const parsed = parse(value);
    if (parsed === undefined) problems.push(`${name} is ${shown(value)}: set it to ${fix}, or unset it`);
    return parsed ?? fallback;
  }

  const port = <T>(name: string, fallback: T) =>
    read<number | T>(name, fallback, parsePort, 'an integer from 0 (any free port) to 65535');
  const address = (name: string) =>
    read(name, undefined, (value) => (isIP(value) ? value : undefined), 'an IP address such as 127.0.0.1');
  const seconds = (name: string, fallback: number) =>
    read(name, fallback, parseSeconds, 'a positive number of seconds');

  // Names only, so that neither can bring a '/' into a sender that is made of it.
  const kubernetesName = (variable: string, maxLength: number, field: string) =>
    read(
      variable,
      undefined,
      (value) => (value.length <= maxLength && objectName.test(value) ? value : undefined),
      `the name that the downward API gives (fieldRef ${field})`,
    );

  const directory = text('MACP_AUTH_FILES_DIR');
  const healthPort = port('MACP_AUTH_HEALTH_PORT', directory === undefined ? undefined : 3201);
  const healthAddress = address('MACP_AUTH_HEALTH_BIND_ADDRESS');
  const mainAddress = address('MACP_AUTH_BIND_ADDRESS');
  const tlsDirectory = text('MACP_AUTH_TLS_DIR');
  const tlsPort = port('MACP_AUTH_TLS_PORT', 3443);
  const environment: Environment = {
    main: { port: port('PORT', 3200), address: mainAddress },
    health: healthPort === undefined ? undefined : { port: healthPort, address: healthAddress },
    tls:
      tlsDirectory === undefined
        ? undefined
        : { directory: tlsDirectory, binding: { port: tlsPort, address: mainAddress } },
    logLevel: read<LogLevel>('LOG_LEVEL', 'info', oneOf(logLevels), `one of ${logLevels.join(', ')}`),
    podNamespace: kubernetesName(workloadVariables.namespace, 63, 'metadata.namespace'),
    serviceAccount: kubernetesName(workloadVariables.serviceAccount, 253, 'spec.serviceAccountName'),
    source:
      directory === undefined
        ? {
            mode: 'alone',
            signingKeyJSON: text('MACP_AUTH_SIGNING_KEY_JSON'),
            algorithm: read<Algorithm>('MACP_AUTH_SIGNING_ALG', 'RS256', oneOf(algorithms), 'RS256 or ES256'),
            issuer: text('MACP_AUTH_ISSUER') ?? 'macp-auth-service',
            audience: text('MACP_AUTH_AUDIENCE') ?? 'macp-runtime',
            maxTTLSeconds: seconds('MACP_AUTH_MAX_TTL_SECONDS', 3600),
            defaultTTLSeconds: seconds('MACP_AUTH_DEFAULT_TTL_SECONDS', 300),
          }
        : { mode: 'mounted', directory },
  };

  const contradicting = directory === undefined ? [] : aloneOnly.filter((name) => text(name) !== undefined);
  if (contradicting.length > 0) {
    problems.push(
      `MACP_AUTH_FILES_DIR is set, so ${contradicting.join(', ')} must not be: ` +
        'the mounted files decide these; unset one side or the other',
    );
  }
  if (problems.length > 0) throw new StartError(problems.join('; '));
  return environment;
}

function parsePort(value: string): number | undefined {
  const port = Number(value);
  return value.trim() !== '' && Number.isInteger(port) && port >= 0 && port <= 65535 ? port : undefined;
}

function parseSeconds(value: string): number | undefined {
  const seconds = Number(value);
  return seconds > 0 && seconds <= Number.MAX_SAFE_INTEGER ? seconds : undefined;
}

function oneOf<T extends string>(values: readonly T[]): (value: string) => T | undefined {
  return (value) => values.find((candidate) => candidate === value);
}

// A long value is likelier to be a key pasted into the wrong variable than a typing error worth showing.
function shown(value: string): string {
  return value.length <= 24 ? JSON.stringify(value) : `a text of ${value.length} characters`;
}
