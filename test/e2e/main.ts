// npm run test:e2e: hands a cluster that the command line names to the tests, and all else to jest.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { handOver } from './cluster/given.ts';

try {
  const { env, rest } = handOver(process.argv.slice(2));
  const jest = spawn('npm', ['run', 'jest', '--', '--selectProjects', 'e2e', '--maxWorkers', '1', ...rest], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => jest.kill(signal));
  const [code] = await once(jest, 'exit');
  process.exitCode = code ?? 1;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
