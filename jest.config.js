// Four tiers, each a jest project, so that each runs alone too (npm run test:unit, …).
const tier = (name, extra = {}) => ({
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } } }] },
  extensionsToTreatAsEsm: ['.ts'],
  testEnvironment: 'node',
  ...extra,
});

export default {
  projects: [tier('unit'), tier('integration'), tier('verify'), tier('slow')],
};
