import type { Algorithm } from '../../../sidecar/contract/jwk.ts';
import { connectionCounts, type Measured, type UnderLoad } from './rounds.ts';
import type { SubjectName } from './subjects.ts';

/** One program with one algorithm: medians of all rounds. */
export interface Row extends Measured {
  alg: Algorithm;
  subject: SubjectName;
}

/** The row of a program and an algorithm. */
export function rowOf(rows: readonly Row[], alg: Algorithm, subject: SubjectName): Row {
  const row = rows.find((candidate) => candidate.alg === alg && candidate.subject === subject);
  if (row === undefined) throw new Error(`${subject} was not measured with ${alg}`);
  return row;
}

/** What a row has of a number of connections. */
export function loadOf(row: Row, connections: (typeof connectionCounts)[number]): UnderLoad {
  const load = row.loads[connectionCounts.indexOf(connections)];
  if (load === undefined) throw new Error(`${connections} connections were not measured`);
  return load;
}
