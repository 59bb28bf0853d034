/** How much a benchmark does. */
export interface Effort {
  /** Everything once and briefly: that it works is the point, not what it says. */
  smoke: boolean;
  /** Takes one line of progress. */
  log(line: string): void;
}

/** A table of results; the first column names the row. */
export interface Table {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

/** A group of bars in the plot: one for each thing that was measured, in one unit. */
export interface Chart {
  title: string;
  unit: string;
  bars: readonly { label: string; value: number }[];
}

/** A ratio that has a target. Both figures are of the same run, so that the machine has little say in it. */
export interface Ratio {
  name: string;
  value: number;
  /** What it has to be, and what it is pushed towards. */
  must: number;
  aim: number;
  /** Which side of the targets is the good one. */
  better: 'higher' | 'lower';
  /** What is divided by what. */
  meaning: string;
}

/** A figure that is no ratio, with its limit where it has one. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  atMost?: number;
}

/** What a benchmark found. */
export interface Findings {
  tables: readonly Table[];
  charts: readonly Chart[];
  ratios: readonly Ratio[];
  figures: readonly Figure[];
  /** How it was measured, in sentences for the reader of the report; Markdown. */
  method: readonly string[];
  /** Everything that was measured, for performance.json. */
  data: unknown;
}

/** A benchmark: `npm run bench -- NAME` runs it. */
export interface Benchmark {
  name: string;
  title: string;
  run(effort: Effort): Promise<Findings>;
}
