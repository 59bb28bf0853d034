import { readFile, writeFile } from 'node:fs/promises';
import type { Figure, Findings, Ratio, Table } from '../benchmark.ts';
import type { Machine } from './machine.ts';
import { plot } from './plot.ts';
import { verdict } from './summary.ts';

/** What one benchmark found, under its name. */
export interface Section {
  name: string;
  title: string;
  findings: Findings;
}

/** performance.json: the ratios of all benchmarks, and all that one benchmark measured under its name. */
interface Performance {
  ratios: Record<string, number>;
  benchmarks: Record<string, { measuredAt: string; machine: Machine; section: Section }>;
}

const docs = new URL('../../../docs/', import.meta.url);
const json = new URL('performance.json', docs);
const page = new URL('performance.md', docs);
const drawing = new URL('performance.svg', docs);
const begin = '<!-- results: written by `npm run bench` -->';
const end = '<!-- end of results -->';

/** Writes the results into docs/. Those of a benchmark that did not run stay as they are. */
export async function write(sections: readonly Section[], machine: Machine): Promise<void> {
  const performance = await earlier();
  const measuredAt = new Date().toISOString();
  for (const section of sections) {
    performance.benchmarks[section.name] = { measuredAt, machine, section };
    for (const { name, value } of section.findings.ratios) performance.ratios[name] = rounded(value);
  }
  await writeFile(json, `${JSON.stringify(performance, withoutNoise, 2)}\n`);
  await writeFile(drawing, plot(all(performance).flatMap(({ section }) => section.findings.charts)));
  const text = await readFile(page, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/performance.md lacks the lines ${begin} and ${end}`);
  const written = `${text.slice(0, from + begin.length)}\n\n${markdown(performance)}\n\n${text.slice(to)}`;
  await writeFile(page, written);
}

async function earlier(): Promise<Performance> {
  try {
    return JSON.parse(await readFile(json, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { ratios: {}, benchmarks: {} };
  }
}

const rounded = (value: number): number => Number(value.toPrecision(4));

// More digits than a measurement has would only make the differences between two runs hard to read.
const withoutNoise = (_name: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? rounded(value) : value;

const all = ({ benchmarks }: Performance) => Object.values(benchmarks);

function markdown(performance: Performance): string {
  const ratios = all(performance).flatMap(({ section }) => section.findings.ratios);
  const figures = all(performance).flatMap(({ section }) => section.findings.figures);
  return [
    tableOf(ratioTable(ratios)),
    ...(figures.length > 0 ? [tableOf(figureTable(figures))] : []),
    '![The figures as bars](performance.svg)',
    ...all(performance).flatMap(({ section: { title, findings }, machine, measuredAt }) => [
      `## ${title}`,
      `Measured ${measuredAt.slice(0, 10)} on ${told(machine)}.`,
      ...findings.method,
      ...findings.tables.flatMap((table) => [`### ${table.title}`, tableOf(table)]),
    ]),
  ].join('\n\n');
}

function told({ processor, cores, memoryGiB, kernel, loadAverage, versions }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return (
    `${processor}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, load average ${loadAverage.toFixed(1)} before; ` +
    programs.join(', ')
  );
}

function ratioTable(ratios: readonly Ratio[]): Table {
  const sign = ({ better }: Ratio) => (better === 'higher' ? '≥' : '≤');
  return {
    title: 'Ratios',
    columns: ['Ratio', 'Of ours to', 'Measured', 'Must', 'Aim', 'Reached'],
    rows: ratios.map((ratio) => [
      `\`${ratio.name}\``,
      ratio.meaning,
      ratio.value.toFixed(2),
      `${sign(ratio)} ${ratio.must}`,
      `${sign(ratio)} ${ratio.aim}`,
      verdict(ratio),
    ]),
  };
}

function figureTable(figures: readonly Figure[]): Table {
  return {
    title: 'Figures',
    columns: ['Figure', 'Measured', 'At most'],
    rows: figures.map(({ name, value, unit, atMost }) => [
      name,
      `${value.toFixed(2)} ${unit}`,
      atMost === undefined ? '' : `${atMost} ${unit}`,
    ]),
  };
}

function tableOf({ columns, rows }: Table): string {
  const widths = columns.map((column, index) =>
    Math.max(3, column.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, index) => (cells[index] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(columns), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
