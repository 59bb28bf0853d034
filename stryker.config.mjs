import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import jest from './jest.config.js';

const [unit] = jest.projects;
const planned = readdirSync(new URL('operator/plan/', import.meta.url)).map((file) =>
  file.replace('.ts', ''),
);

// The last line of all: the score as Stryker computes it, below the threshold too.
export const strykerPlugins = [
  {
    kind: 'Reporter',
    name: 'score',
    factory: () => ({
      onMutationTestReportReady: (_report, { systemUnderTestMetrics: { metrics } }) =>
        process.once('exit', () =>
          process.stdout.write(`mutation score ${metrics.mutationScore.toFixed(1)}\n`),
        ),
    }),
  },
];

export default {
  mutate: ['operator/plan/*.ts', 'sidecar/contract/signer.ts'],
  thresholds: { high: 100, low: 90, break: 90 },
  coverageAnalysis: 'perTest',
  testRunner: 'jest',
  testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  jest: {
    config: {
      ...unit,
      projects: [],
      // Properties would take a minute for each mutant, and by chance find other mutants each time.
      testMatch: [
        `<rootDir>/test/unit/operator/{${planned}}.test.ts`,
        '<rootDir>/test/unit/sidecar/signer.test.ts',
      ],
    },
  },
  concurrency: 2,
  // A busy machine is no killed mutant: endless loops are counted, not timed.
  timeoutMS: 60_000,
  // Jest gives no memory of ES modules back.
  maxTestRunnerReuse: 40,
  // Stryker would rewrite it by an API that TypeScript 7 no longer has; no test needs it.
  ignorePatterns: ['tsconfig.json'],
  // Outside, where neither Jest nor Biome finds a second package of this name.
  tempDirName: join(tmpdir(), 'macp-auth-operator-mutation'),
  cleanTempDir: 'always',
  reporters: ['progress-append-only', 'clear-text', 'json', 'score'],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  warnings: { slow: false },
  plugins: ['@stryker-mutator/jest-runner', './stryker.config.mjs'],
};
