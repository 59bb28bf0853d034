// Tiers, each a jest project, so that each runs alone too (npm run test:unit, …).
const tier = (name, extra = {}) => ({
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } } }] },
  extensionsToTreatAsEsm: ['.ts'],
  testEnvironment: 'node',
  ...extra,
});

// One control plane and process kubelet for all that need a cluster.
const cluster = {
  globalSetup: '<rootDir>/test/support/globalSetup.ts',
  globalTeardown: '<rootDir>/test/support/globalTeardown.ts',
};

export default {
  // A test that starts processes is slower on a busy machine; what runs away is ended by its own deadline.
  testTimeout: 90_000,
  maxWorkers: 2,
  projects: [
    tier('unit', { setupFiles: ['<rootDir>/test/support/seed.ts'] }),
    // Those of the unit tests that start the sidecar, with the bundle in place of its sources.
    tier('bundle', {
      testMatch: ['<rootDir>/test/unit/sidecar/{audit,boot,contract,drain,grants,leak,reload,tls}.test.ts'],
      setupFiles: ['<rootDir>/test/support/bundle.ts'],
      globalSetup: '<rootDir>/test/support/buildBundle.ts',
    }),
    tier('integration', cluster),
    tier('verify', cluster),
    tier('slow', cluster),
    tier('e2e', {
      globalSetup: '<rootDir>/test/e2e/cluster/globalSetup.ts',
      globalTeardown: '<rootDir>/test/e2e/cluster/globalTeardown.ts',
      // On a cluster that test/e2e/main.ts was given: those that share one, but for the faults, which harm it.
      ...(process.env.MACP_E2E_KUBECONFIG && {
        testMatch: ['<rootDir>/test/e2e/{install,agent,runtime,rotation,namespace,upgrade,quiet}.test.ts'],
      }),
    }),
  ],
};
