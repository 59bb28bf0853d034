import jest from './jest.config.js';

const [unit] = jest.projects;

// The last line of the output: the score as Stryker computes it, below the threshold too.
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
  testRunner: 'jest',
  testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  jest: {
    config: {
      ...unit,
      projects: [],
      testMatch: [
        '<rootDir>/test/unit/operator/{codec,generate,import,planner,revocation,rotation,servers}.test.ts',
        '<rootDir>/test/unit/sidecar/signer.test.ts',
      ],
    },
  },
  coverageAnalysis: 'perTest',
  concurrency: 2,
  timeoutMS: 30_000,
  thresholds: { high: 95, low: 90, break: 90 },
  reporters: ['clear-text', 'json', 'score'],
  plugins: ['@stryker-mutator/jest-runner', './stryker.config.mjs'],
  allowEmpty: false,
  clearTextReporter: { logTests: false, allowColor: false },
  // Its preprocessor of tsconfig.json needs an API that TypeScript 7 no longer has; the tests need no tsconfig.json.
  ignorePatterns: ['tsconfig.json'],
};
