/** Where `npm run build` puts the bundle, from the root of the repository. */
export const bundleFile = 'dist/operator/operator.cjs';

/**
 * Options of Node.js that the operator is started with, everywhere: an image has the same in its ENTRYPOINT.
 *
 * The young generation is kept small: by itself it grows to 64 MiB as soon as a few hundred issuers are listed, most of it
 * empty, and never shrinks.
 */
export const nodeOptions: readonly string[] = ['--max-semi-space-size=4'];
