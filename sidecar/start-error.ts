/**
 * Something that the person who starts the program has to put right: a variable, a file, a port. Its message
 * is one line that names the thing, the problem and the fix, and never holds key material.
 */
export class StartError extends Error {
  override readonly name = 'StartError';
}
