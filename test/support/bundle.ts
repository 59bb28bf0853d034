// Before each file of the tier "bundle": the tests' sidecar is the bundle.
process.env.SIDECAR_PROGRAM = 'bundle';
