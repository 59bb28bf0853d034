import { relative } from 'node:path';
import { expect, test } from '@jest/globals';
import { handOver } from '../../e2e/cluster/given.ts';

const images = ['sidecar', 'operator', 'runtime', 'python'].map((name) => [`--${name}-image`, `${name}:1`]);
const file = import.meta.filename;

test('without a cluster all goes to jest', () => {
  const args = ['test/e2e/rotation.test.ts', '-t', 'a rotation'];
  expect(handOver(args)).toEqual({ env: {}, rest: args });
});

test.each([
  ['with spaces', (flag: string, value: string) => [flag, value]],
  ['with equals signs', (flag: string, value: string) => [`${flag}=${value}`]],
])('a cluster is handed on, %s', (_, write) => {
  const args = [
    'a.test.ts',
    ...[['--kubeconfig', relative('.', file)], ...images].flatMap(([flag = '', value = '']) =>
      write(flag, value),
    ),
  ];
  expect(handOver([...args, '--verbose'])).toEqual({
    env: {
      MACP_E2E_KUBECONFIG: file,
      MACP_E2E_SIDECAR_IMAGE: 'sidecar:1',
      MACP_E2E_OPERATOR_IMAGE: 'operator:1',
      MACP_E2E_RUNTIME_IMAGE: 'runtime:1',
      MACP_E2E_PYTHON_IMAGE: 'python:1',
    },
    rest: ['a.test.ts', '--verbose'],
  });
});

test.each([
  [['--kubeconfig', file], '--sidecar-image, --operator-image, --runtime-image, --python-image: not given'],
  [
    ['--sidecar-image', 'sidecar:1'],
    '--kubeconfig, --operator-image, --runtime-image, --python-image: not given',
  ],
  [['--kubeconfig', ...images.flat()], '--kubeconfig: not given'],
  [[...images.flat(), '--kubeconfig'], '--kubeconfig: not given'],
  [['--kubeconfig=', ...images.flat()], '--kubeconfig: not given'],
  [
    ['--kubeconfig', '/nowhere/at/all', ...images.flat()],
    '--kubeconfig /nowhere/at/all: there is no such file',
  ],
])('%j is refused', (args, message) => {
  expect(() => handOver(args)).toThrow(message);
  expect(() => handOver(args)).toThrow('usage: npm run test:e2e');
});
