/** Mounted files that can't be used; one line that names the file, the member, the problem and the fix. */
export class FileError extends Error {
  override readonly name = 'FileError';
  constructor(file: string, problem: string, fix: string) {
    super(`${file}: ${problem}; ${fix}`);
  }
}
