import { execFile } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../integration/support.ts';
import { kubectlFor } from '../local/kubectl.ts';
import type { StartResult } from '../local/print.ts';
import { npmStart, processesOf, type Started } from './npm-start.ts';

const run = promisify(execFile);

describe('npm start', () => {
  const running: Started[] = [];

  function start(...args: string[]): Started {
    const started = npmStart(...args);
    running.push(started);
    return started;
  }

  const mint = async (url: string) => {
    const { stdout } = await run('curl', [
      '-sS',
      '-X',
      'POST',
      url,
      '-H',
      'content-type: application/json',
      '-d',
      '{"sender":"agent://me"}',
    ]);
    return JSON.parse(stdout) as { token?: string; error?: string };
  };

  afterEach(async () => {
    for (const started of running.splice(0)) await started.end('SIGKILL');
  });

  test('--json prints one line that drives it, two at once do not disturb each other, and Ctrl-C leaves nothing', async () => {
    const pair = [start('--json'), start('--json')] as const;
    const [first, second] = (await Promise.all(pair.map((started) => started.result()))) as [
      StartResult,
      StartResult,
    ];
    expect(Object.keys(first).sort()).toEqual([
      'jwksURL',
      'kubeconfig',
      'kubectl',
      'mintURL',
      'operatorCommand',
      'operatorPID',
    ]);
    expect(first.kubeconfig).not.toBe(second.kubeconfig);
    for (const { mintURL } of [first, second]) expect((await mint(mintURL)).token).toMatch(/^ey/);

    const kubectl = kubectlFor(first.kubectl, first.kubeconfig);
    process.kill(first.operatorPID, 'SIGKILL');
    await kubectl.run(
      ['apply', '-f', '-'],
      `
apiVersion: v1
kind: Namespace
metadata: { name: team-a, labels: { macp: "yes" } }
---
apiVersion: auth.multiagentcoordinationprotocol.io/v1alpha1
kind: MacpAuthIssuer
metadata: { name: later, namespace: default }
spec: { agents: { namespaceSelector: { matchLabels: { macp: "yes" } } } }
`,
    );
    await kubectl.run(['wait', '-n', 'default', '--for=condition=Ready', 'mai/later', '--timeout=60s']);
    await kubectl.run(['get', 'secret', 'macp-auth.default.later', '-n', 'team-a']);
    expect(pair[0].stderr()).toMatch(/the operator ended .*starting it again/);
    expect(
      await kubectlFor(second.kubectl, second.kubeconfig).run(['get', 'mai', '-A', '--no-headers']),
    ).not.toMatch(/later/);

    for (const [started, { kubeconfig }] of [
      [pair[0], first],
      [pair[1], second],
    ] as const) {
      const folder = dirname(kubeconfig);
      expect(processesOf(folder).length).toBeGreaterThan(2);
      await started.end('SIGINT');
      await eventually('no process left', async () => processesOf(folder).length === 0, 10);
      expect(existsSync(folder)).toBe(false);
    }
  }, 240_000);

  test('shows a token beside the key that verifies it, and is gone wholly when it is killed', async () => {
    const started = start();
    await eventually('the text', async () => started.stdout().includes('Issuers, as they change'), 120);
    const text = started.stdout();
    const kid = /"kid": "([^"]+)"/.exec(text)?.[1];
    expect(text.split(`"kid": "${kid}"`)).toHaveLength(3);
    const jwksURL = /MACP_AUTH_JWKS_URL=(\S+)/.exec(text)?.[1] as string;
    const { stdout } = await run('curl', ['-sS', jwksURL]);
    expect(JSON.parse(stdout).keys.map(({ kid: published }: { kid: string }) => published)).toContain(kid);
    const kubeconfig = /KUBECONFIG=(\S+)/.exec(text)?.[1] as string;
    const kubectl = kubectlFor(/alias kubectl=(\S+)/.exec(text)?.[1] as string, kubeconfig);
    await kubectl
      .run(['patch', 'mai', 'sample', '--type=merge', '-p', '{"spec":{"server":{"replicas":0}}}'])
      .then(
        () => expect('accepted').toBe('refused'),
        (error: Error) => expect(error.message).toMatch(/replicas/),
      );
    expect(processesOf(dirname(kubeconfig)).length).toBeGreaterThan(2);
    await started.end('SIGKILL');
    await eventually('no process left', async () => processesOf(dirname(kubeconfig)).length === 0, 10);
    // Its folder is for the next start to remove; here that would be somebody else's.
    rmSync(dirname(kubeconfig), { recursive: true, force: true });
  }, 240_000);

  test('that is interrupted while it starts leaves nothing', async () => {
    const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('macp-start-'));
    const before = folders();
    const started = start();
    await eventually('its folder', async () => folders().length > before.length, 60);
    const folder = folders().find((name) => !before.includes(name)) as string;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await started.end('SIGINT');
    expect(await started.exited).not.toBe(0);
    await eventually('no process left', async () => processesOf(folder).length === 0, 10);
    expect(folders()).not.toContain(folder);
  }, 90_000);

  test.each([
    [['--jason'], /Unknown option '--jason'.*\nusage: npm start/],
    [['--kubeconfig', 'nowhere'], /--kubeconfig and --sidecar-image belong together/],
  ])(
    '%j is refused with the usage',
    async (args, message) => {
      const started = start(...args);
      expect(await started.exited).toBe(1);
      expect(started.stderr()).toMatch(message);
    },
    30_000,
  );
});
