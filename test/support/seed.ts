import fc from 'fast-check';

// What `npm test` says about a commit is the same on every machine; a soak looks further (CONTRIBUTING.md).
if (!process.env.SOAK) fc.configureGlobal({ seed: 20_261_124 });
