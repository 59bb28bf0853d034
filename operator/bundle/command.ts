/** Where `npm run build` puts the bundle, from the root of the repository. */
export const bundleFile = 'dist/operator/operator.cjs';

/**
 * Options of Node.js that the operator is started with, everywhere: an image has the same in its ENTRYPOINT.
 *
 * The young generation is kept small: by itself it grows to 64 MiB as soon as a few hundred issuers are listed, most of it
 * empty, and never shrinks. The old one is collected before it has grown by more than a fifth, in place of up to four
 * times: what is left of a busy minute is mostly garbage.
 */
export const nodeOptions: readonly string[] = ['--max-semi-space-size=4', '--heap-growing-percent=20'];
