// npm run bench [-- [--smoke] [NAME …]]: runs the benchmarks and writes docs/performance.*
import { parseArgs } from 'node:util';
import type { Benchmark } from './benchmark.ts';
import { mintBenchmark } from './mint/benchmark.ts';
import { operatorBenchmark } from './operator/benchmark.ts';
import { plannerBenchmark } from './planner/benchmark.ts';
import { describeMachine } from './report/machine.ts';
import { type Section, write } from './report/report.ts';
import { summary } from './report/summary.ts';

// Each in a folder of its own. One that is added here is in the report too.
const benchmarks: readonly Benchmark[] = [mintBenchmark, operatorBenchmark, plannerBenchmark];

const { values, positionals } = parseArgs({
  options: { smoke: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name));
if (unknown.length > 0) {
  const names = benchmarks.map(({ name }) => name).join(', ');
  process.stderr.write(`bench: no benchmark is called ${unknown.join(', ')}; there are: ${names}\n`);
  process.exit(2);
}

const log = (line: string) => process.stdout.write(`${line}\n`);
const sections: Section[] = [];
const machine = describeMachine();
for (const benchmark of benchmarks) {
  if (positionals.length > 0 && !positionals.includes(benchmark.name)) continue;
  log(`${benchmark.title}`);
  const findings = await benchmark.run({ smoke: values.smoke, log: (line) => log(`  ${line}`) });
  sections.push({ name: benchmark.name, title: benchmark.title, findings });
}
log(summary(sections));
if (values.smoke) log('A smoke run: the figures mean nothing, and docs/performance.* stays as it is.');
else await write(sections, machine);
