import { describe, expect, test } from '@jest/globals';
import { ConfigError, readConfig } from '../../../operator/config.ts';

const image = ['--sidecar-image', 'registry/sidecar:1'];
const defaults = {
  kubeconfig: undefined,
  namespaces: undefined,
  trustedNamespaces: [],
  ownNamespace: undefined,
  sidecarImage: 'registry/sidecar:1',
  probe: 'direct',
  externalProbe: true,
  leaderElection: undefined,
  healthAddress: undefined,
  healthPort: 8081,
  logLevel: 'info',
};

describe('configuration', () => {
  test('needs the image of the sidecar and nothing else', () => {
    expect(readConfig(image, {})).toEqual(defaults);
  });

  test.each([
    ['--kubeconfig=/k', { kubeconfig: '/k' }],
    ['--namespaces=a', { namespaces: ['a'] }],
    ['--namespaces=a, b-2 ,c', { namespaces: ['a', 'b-2', 'c'] }],
    ['--trusted-namespaces=a,b', { trustedNamespaces: ['a', 'b'] }],
    ['--probe=proxy', { probe: 'proxy' }],
    ['--external-probe=false', { externalProbe: false }],
    ['--leader-elect=false', {}],
    ['--leader-elect-resource-namespace=a', {}],
    ['--health-address=127.0.0.1', { healthAddress: '127.0.0.1' }],
    ['--health-port=0', { healthPort: 0 }],
    ['--health-port=65535', { healthPort: 65_535 }],
    ['--log-level=debug', { logLevel: 'debug' }],
  ])('%s', (flag, expected) => {
    expect(readConfig([...image, flag], {})).toEqual({ ...defaults, ...expected });
  });

  test('trusts the issuers in the namespace of the operator, unless others are named', () => {
    const own = (env: NodeJS.ProcessEnv, mounted?: string, flags: string[] = []) => {
      const { ownNamespace, trustedNamespaces } = readConfig([...image, ...flags], env, () => mounted);
      return { ownNamespace, trustedNamespaces };
    };
    expect(own({}, 'mounted')).toEqual({ ownNamespace: 'mounted', trustedNamespaces: ['mounted'] });
    const env = { POD_NAMESPACE: 'told' };
    expect(own(env, 'mounted')).toEqual({ ownNamespace: 'told', trustedNamespaces: ['told'] });
    const flags = ['--trusted-namespaces=a'];
    expect(own(env, 'mounted', flags)).toEqual({ ownNamespace: 'told', trustedNamespaces: ['a'] });
    expect(own({})).toEqual({ ownNamespace: undefined, trustedNamespaces: [] });
  });

  test('asks for a Lease in the namespace of the operator, unless another is named', () => {
    const elected = (env: NodeJS.ProcessEnv, ...flags: string[]) =>
      readConfig([...image, ...flags], env, () => undefined).leaderElection;
    const env = { POD_NAMESPACE: 'own' };
    const name = 'macp-auth-operator';
    expect(elected(env, '--leader-elect=true')).toEqual({ namespace: 'own', name });
    expect(elected(env, '--leader-elect', 'true', '--leader-elect-resource-name=a.b')).toEqual({
      namespace: 'own',
      name: 'a.b',
    });
    const variables = {
      MACP_AUTH_OPERATOR_LEADER_ELECT: 'true',
      MACP_AUTH_OPERATOR_LEADER_ELECT_RESOURCE_NAMESPACE: 'other',
    };
    expect(elected({ ...env, ...variables })).toEqual({ namespace: 'other', name });
    expect(elected(variables)).toEqual({ namespace: 'other', name });
    expect(elected({ ...env, ...variables }, '--leader-elect=false')).toBeUndefined();
  });

  test('says what is missing where the namespace of the Lease is not known', () => {
    expect(() => readConfig([...image, '--leader-elect=true'], {}, () => undefined)).toThrow(
      new ConfigError(
        '--leader-elect-resource-namespace (or MACP_AUTH_OPERATOR_LEADER_ELECT_RESOURCE_NAMESPACE) must be set for --leader-elect: neither POD_NAMESPACE nor a ServiceAccount says in which namespace the operator runs',
      ),
    );
  });

  test('comes from the environment where no flag is given', () => {
    const env = {
      MACP_AUTH_OPERATOR_SIDECAR_IMAGE: 'from/env:1',
      MACP_AUTH_OPERATOR_NAMESPACES: 'a,b',
      MACP_AUTH_OPERATOR_HEALTH_PORT: '9000',
      MACP_AUTH_OPERATOR_LOG_LEVEL: '',
    };
    expect(readConfig([], env)).toMatchObject({
      sidecarImage: 'from/env:1',
      namespaces: ['a', 'b'],
      healthPort: 9000,
      logLevel: 'info',
    });
    expect(readConfig([...image, '--health-port', '1'], env)).toMatchObject({
      sidecarImage: 'registry/sidecar:1',
      healthPort: 1,
    });
  });

  test.each([
    ['sidecar-image', 'SIDECAR_IMAGE', 'two words', 'must be an image reference'],
    ['sidecar-image', 'SIDECAR_IMAGE', ' ', 'must be an image reference'],
    ['namespaces', 'NAMESPACES', 'a,,b', 'must be namespace names separated by commas'],
    ['namespaces', 'NAMESPACES', 'Team_A', 'must be namespace names separated by commas'],
    ['namespaces', 'NAMESPACES', 'a'.repeat(64), 'must be namespace names separated by commas'],
    ['trusted-namespaces', 'TRUSTED_NAMESPACES', 'a b', 'must be namespace names separated by commas'],
    ['probe', 'PROBE', 'ask', 'must be direct or proxy'],
    ['external-probe', 'EXTERNAL_PROBE', 'no', 'must be true or false'],
    ['leader-elect', 'LEADER_ELECT', 'yes', 'must be true or false'],
    ['leader-elect-resource-name', 'LEADER_ELECT_RESOURCE_NAME', 'A_b', 'must be the name of a Lease'],
    [
      'leader-elect-resource-name',
      'LEADER_ELECT_RESOURCE_NAME',
      'a'.repeat(254),
      'must be the name of a Lease',
    ],
    [
      'leader-elect-resource-namespace',
      'LEADER_ELECT_RESOURCE_NAMESPACE',
      'a.b',
      'must be the name of a namespace',
    ],
    ['health-port', 'HEALTH_PORT', '-1', 'must be a port number between 0 and 65535'],
    ['health-port', 'HEALTH_PORT', '65536', 'must be a port number between 0 and 65535'],
    ['health-port', 'HEALTH_PORT', '80.5', 'must be a port number between 0 and 65535'],
    ['health-port', 'HEALTH_PORT', 'http', 'must be a port number between 0 and 65535'],
    ['log-level', 'LOG_LEVEL', 'loud', 'must be one of trace, debug, info, warn, error, fatal, silent'],
  ])('--%s (or …%s) refuses %j in one message', (flag, variable, value, message) => {
    const expected = new ConfigError(`--${flag} (or MACP_AUTH_OPERATOR_${variable}) ${message}`);
    expect(() => readConfig([...image, `--${flag}=${value}`], {})).toThrow(expected);
    const environment = { MACP_AUTH_OPERATOR_SIDECAR_IMAGE: 'a', [`MACP_AUTH_OPERATOR_${variable}`]: value };
    expect(() => readConfig([], environment)).toThrow(expected);
  });

  test.each([[[]], [['--sidecar-image=']]])(
    'without the image it says which flag and variable: %j',
    (args) => {
      expect(() => readConfig(args, {})).toThrow(
        /^--sidecar-image \(or MACP_AUTH_OPERATOR_SIDECAR_IMAGE\) must be /,
      );
    },
  );

  test.each([
    ['an unknown flag', [...image, '--replicas=3']],
    ['an argument', [...image, 'start']],
    ['a flag without its value', ['--sidecar-image']],
  ])('%s is refused with the list of all flags', (_, args) => {
    expect(() => readConfig(args, {})).toThrow(ConfigError);
    expect(() => readConfig(args, {})).toThrow(
      /\(flags: --kubeconfig, --namespaces, --trusted-namespaces, --sidecar-image, --probe, --external-probe, --leader-elect, --leader-elect-resource-name, --leader-elect-resource-namespace, --health-address, --health-port, --log-level\)$/,
    );
  });

  test.each(['--health-port=', '--health-port= ', '--health-port=0x50'])('%j is refused', (flag) => {
    expect(() => readConfig([...image, flag], {})).toThrow(ConfigError);
  });
});
