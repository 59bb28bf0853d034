import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, test } from '@jest/globals';
import { handOver } from '../../e2e/cluster/given.ts';

const names = ['sidecar', 'operator', 'runtime', 'python', 'former-sidecar', 'former-operator'];
const images = names.map((name) => [`--${name}-image`, `${name}:1`]);
const file = import.meta.filename;

test('without a cluster all goes to jest', () => {
  const args = ['test/e2e/rotation.test.ts', '-t', 'a rotation'];
  const { env, rest } = handOver(args);
  expect(rest).toEqual(args);
  // Also where the shell has a word of one.
  expect(env).toMatchObject({ MACP_E2E_KUBECONFIG: '', MACP_E2E_OPERATOR_IMAGE: '' });
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
      MACP_E2E_FORMER_SIDECAR_IMAGE: 'former-sidecar:1',
      MACP_E2E_FORMER_OPERATOR_IMAGE: 'former-operator:1',
    },
    rest: ['a.test.ts', '--verbose'],
  });
});

test('images of the release before are for those who test an upgrade', () => {
  expect(handOver(['--kubeconfig', file, ...images.slice(0, 4).flat()]).env).toMatchObject({
    MACP_E2E_KUBECONFIG: file,
    MACP_E2E_FORMER_SIDECAR_IMAGE: '',
  });
});

test.each([
  [['--kubeconfig', file], '--sidecar-image, --operator-image, --runtime-image, --python-image: not given'],
  [
    ['--sidecar-image', 'sidecar:1'],
    '--kubeconfig, --operator-image, --runtime-image, --python-image: not given',
  ],
  [['--kubeconfig', file, ...images.slice(0, -1).flat()], '--former-operator-image: not given'],
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

test('the command starts jest with what is left, tells it of the cluster, and ends as it does', () => {
  const dir = mkdtempSync(join(tmpdir(), 'macp-given-test-'));
  try {
    const script = '#!/bin/sh\necho "$@"\necho "$MACP_E2E_KUBECONFIG $MACP_E2E_SIDECAR_IMAGE"\nexit 3\n';
    writeFileSync(join(dir, 'npm'), script, { mode: 0o755 });
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [join(import.meta.dirname, '../../e2e/main.ts'), ...args], {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${dir}:${process.env.PATH}`, MACP_E2E_KUBECONFIG: '/elsewhere' },
      });
    const jest = 'run jest -- --selectProjects e2e --maxWorkers 1 a.test.ts\n';
    expect(run('a.test.ts')).toMatchObject({ status: 3, stdout: `${jest} \n` });
    const cluster = ['--kubeconfig', file, ...images.flat()];
    expect(run(...cluster, 'a.test.ts')).toMatchObject({ status: 3, stdout: `${jest}${file} sidecar:1\n` });
    expect(run('--kubeconfig', file)).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('usage: npm run test:e2e'),
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
