// dist/start.cjs: starts the bundle with what V8 compiled of it when it was built. Node.js has a cache of its own for that,
// NODE_COMPILE_CACHE, but keeps in it only what is compiled before the program runs: a third of what a start needs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { debuglog } from 'node:util';
import { codeFile, compile } from './compile.ts';

const script = compile(__dirname, readFileSync(join(__dirname, codeFile)));
debuglog('macp-auth-start')('compiled code was %s', script.cachedDataRejected ? 'rejected' : 'accepted');
script.runInThisContext()(require);
