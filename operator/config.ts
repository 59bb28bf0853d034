import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { z } from 'zod';

/** How the operator was asked to run. */
export interface Config {
  /** Undefined: the in-cluster ServiceAccount, else the usual kubeconfig rules. */
  kubeconfig: string | undefined;
  /** The namespaces that the operator works in, for issuers and for agents; undefined: all. */
  namespaces: string[] | undefined;
  /** Namespaces whose issuers may give keys to agents in others. */
  trustedNamespaces: string[];
  /** The namespace that the operator itself runs in, where that is known. */
  ownNamespace: string | undefined;
  /** Image of the JWKS server's pods. */
  sidecarImage: string;
  /** How server pods are asked for what they serve. */
  probe: 'direct' | 'proxy';
  /** Whether the external URLs of issuers are asked. */
  externalProbe: boolean;
  /** The Lease that is held by the one of several operators that works; undefined: this one works without asking. */
  leaderElection: { namespace: string; name: string } | undefined;
  healthAddress: string | undefined;
  healthPort: number;
  logLevel: string;
}

/** A flag or variable that cannot be used; the message names it and the fix. */
export class ConfigError extends Error {}

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
// A DNS subdomain, as the API server wants it.
const objectName = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const names = z
  .string()
  .transform((text) => text.split(',').map((name) => name.trim()))
  .refine((list) => list.every((name) => label.test(name)), 'must be namespace names separated by commas')
  .optional();

const schema = z.object({
  kubeconfig: z.string().optional(),
  namespaces: names,
  'trusted-namespaces': names,
  'sidecar-image': z
    .string('must be set to the image of the sidecar')
    .regex(/^\S+$/, 'must be an image reference'),
  probe: z.enum(['direct', 'proxy'], 'must be direct or proxy').default('direct'),
  'external-probe': z
    .enum(['true', 'false'], 'must be true or false')
    .default('true')
    .transform((text) => text === 'true'),
  'leader-elect': z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .transform((text) => text === 'true'),
  'leader-elect-resource-name': z
    .string()
    .regex(objectName, 'must be the name of a Lease')
    .default('macp-auth-operator'),
  'leader-elect-resource-namespace': z.string().regex(label, 'must be the name of a namespace').optional(),
  'health-address': z.string().optional(),
  'health-port': z
    .string()
    .default('8081')
    .refine(
      (text) => /^[0-9]{1,5}$/.test(text) && Number(text) <= 65_535,
      'must be a port number between 0 and 65535',
    )
    .transform(Number),
  'log-level': z.enum(levels, `must be one of ${levels.join(', ')}`).default('info'),
});

const flags = Object.keys(schema.shape) as (keyof typeof schema.shape)[];

const variableOf = (flag: string): string => `MACP_AUTH_OPERATOR_${flag.toUpperCase().replaceAll('-', '_')}`;

// Where kubelet puts it for a pod with a ServiceAccount.
const namespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

function mountedNamespace(): string | undefined {
  try {
    return readFileSync(namespaceFile, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * Reads flags, and for those not given the environment (`--sidecar-image` is `MACP_AUTH_OPERATOR_SIDECAR_IMAGE`). The
 * operator's own namespace is POD_NAMESPACE, or that of its ServiceAccount.
 *
 * @throws ConfigError for the first value that cannot be used
 */
export function readConfig(args: string[], env: NodeJS.ProcessEnv, mounted = mountedNamespace): Config {
  const given = parseFlags(args);
  const raw = Object.fromEntries(
    flags.map((flag) => [flag, given[flag] ?? (env[variableOf(flag)] || undefined)]),
  );
  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] as z.core.$ZodIssue;
    const flag = String(path[0]);
    throw invalid(flag, message);
  }
  const { data } = parsed;
  const ownNamespace = env.POD_NAMESPACE || mounted() || undefined;
  return {
    kubeconfig: data.kubeconfig,
    namespaces: data.namespaces,
    trustedNamespaces: data['trusted-namespaces'] ?? (ownNamespace === undefined ? [] : [ownNamespace]),
    ownNamespace,
    sidecarImage: data['sidecar-image'],
    probe: data.probe,
    externalProbe: data['external-probe'],
    leaderElection: data['leader-elect']
      ? {
          namespace: leaseNamespace(data['leader-elect-resource-namespace'] ?? ownNamespace),
          name: data['leader-elect-resource-name'],
        }
      : undefined,
    healthAddress: data['health-address'],
    healthPort: data['health-port'],
    logLevel: data['log-level'],
  };
}

const invalid = (flag: string, message: string): ConfigError =>
  new ConfigError(`--${flag} (or ${variableOf(flag)}) ${message}`);

function leaseNamespace(namespace: string | undefined): string {
  if (namespace !== undefined) return namespace;
  throw invalid(
    'leader-elect-resource-namespace',
    'must be set for --leader-elect: neither POD_NAMESPACE nor a ServiceAccount says in which namespace the operator runs',
  );
}

function parseFlags(args: string[]): Record<string, string | undefined> {
  try {
    const options = Object.fromEntries(flags.map((flag) => [flag, { type: 'string' as const }]));
    return parseArgs({ args, options, strict: true }).values;
  } catch (error) {
    throw new ConfigError(
      `${(error as Error).message} (flags: ${flags.map((flag) => `--${flag}`).join(', ')})`,
    );
  }
}
